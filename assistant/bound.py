"""What our own chat models have in common: the tools that are bound to them.

Knows nothing of what a model does with them.
"""

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

__all__ = ["ToolModel"]


class ToolModel(BaseChatModel):
    """A chat model that gets its tools as OpenAI's protocol describes them."""

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[Any, AIMessage]:
        """The model that is told of these tools and calls only them."""
        return self.bind(tools=[convert_to_openai_tool(t) for t in tools], **kwargs)
