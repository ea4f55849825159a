"""The router as a langchain-core chat model: reads the last message, answers with tool calls.

Knows nothing of how sentences are understood (:mod:`assistant.router.deciding`). Deterministic,
offline, well under a millisecond; it words results by joining what the tools said.
"""

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
)
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from assistant.router.actions import Action, Context
from assistant.router.deciding import decide
from tools.artifacts import Change, Recognition

__all__ = ["Router"]

_ASKING = ("What is it?", "Which one is it?")


class Router(BaseChatModel):
    """A chat model without a model."""

    @property
    def _llm_type(self) -> str:
        return "imprint-router"

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[Any, AIMessage]:
        """The router that calls only these tools."""
        return self.bind(tools=[convert_to_openai_tool(t) for t in tools], **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        bound = {t["function"]["name"] for t in kwargs.get("tools", ())}
        message = _answer(messages, bound)
        return ChatResult(generations=[ChatGeneration(message=message)])


def _answer(messages: Sequence[BaseMessage], bound: set[str]) -> AIMessage:
    last = max((i for i, m in enumerate(messages) if isinstance(m, HumanMessage)), default=-1)
    if last < 0:
        return AIMessage("Send me a picture, or say something.")
    results = [m for m in messages[last + 1 :] if isinstance(m, ToolMessage)]
    if results:
        return AIMessage("\n".join(str(m.content) for m in results if m.content))
    human = messages[last]
    text = human.additional_kwargs.get("text", human.text)
    actions = decide(text, _context(messages, last))
    missing = [a for a in actions if a.tool and a.tool not in bound]
    if missing:
        return AIMessage(f"I can't do that here: {missing[0].tool} is switched off.")
    calls = [
        ToolCall(name=a.tool, args=a.args or {}, id=f"call-{last}-{i}", type="tool_call")
        for i, a in enumerate(actions)
        if a.tool
    ]
    return AIMessage(_said(actions), tool_calls=calls)


def _said(actions: Sequence[Action]) -> str:
    return "\n".join(a.text for a in actions if a.text)


def _context(messages: Sequence[BaseMessage], last: int) -> Context:
    """What was said before, read from the messages alone."""
    labels: list[str] = []
    photos = 0
    recognised: Recognition | None = None
    asked = False
    for message in messages[:last]:
        if isinstance(message, SystemMessage):
            labels = message.additional_kwargs.get("labels", [])
        elif isinstance(message, HumanMessage):
            numbers = message.additional_kwargs.get("photos", [])
            photos = max([photos, *numbers])
            recognised = None if numbers else recognised
        elif isinstance(message, ToolMessage):
            for artifact in message.artifact or []:
                if isinstance(artifact, Recognition):
                    recognised = artifact
                elif isinstance(artifact, Change) and artifact.action != "known":
                    recognised = None
        elif isinstance(message, AIMessage) and not message.tool_calls:
            asked = str(message.text).rstrip().endswith(_ASKING)
    turn = tuple(messages[last].additional_kwargs.get("photos", []))
    return Context(tuple(labels), turn, max([photos, *turn]), asked, recognised)
