"""Who speaks in a conversation as a brain reads it: in which language.

Knows nothing of what is meant.
"""

from collections.abc import Sequence

from langchain_core.messages import BaseMessage, HumanMessage

from assistant.router.language import Language, language, spoken

__all__ = ["tongue_of"]


def tongue_of(messages: Sequence[BaseMessage]) -> Language:
    """The language that the user speaks."""
    said = (m for m in messages if isinstance(m, HumanMessage))
    return language(spoken(str(m.additional_kwargs.get("text", m.text)) for m in said))
