"""Which brain answers: ``router``, ``openai:MODEL[@BASE_URL]``, ``local:MODEL_ID``, or a model.

Knows nothing of conversations. What a kind of brain needs is imported when it is chosen.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_core.tools import BaseTool

from assistant.settings import Settings, openai_key
from tools.errors import SettingsError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

__all__ = ["Brain", "choose_brain"]

_OPENAI = "https://api.openai.com/v1"
_SPEC = re.compile(
    r"openai:(?P<model>.+?)(?:@(?P<url>https?://[^#]+))?(?P<blind>#text)?"
    r"|local:(?P<folder>.+?)(?P<blind_too>#text)?"
)


@dataclass(frozen=True)
class Brain:
    """A language model with the tools bound, and how it is treated."""

    model: Any
    """Streams an answer to a list of messages (a langchain-core runnable)."""
    sees: bool
    """Whether it is sent the pictures of the conversation."""
    timeout: float
    """Seconds of silence after which it is given up."""
    ready: Callable[[], object] = lambda: None
    """Loads what has to be loaded; that time does not count."""


def choose_brain(
    spec: "str | BaseChatModel", settings: Settings, tools: Sequence[BaseTool]
) -> Brain | None:
    """The brain of ``spec``; None for the router, which needs none beside it.

    A spec that ends in ``#text`` is sent no pictures. Raises :class:`SettingsError` for a spec
    that names no brain, :class:`tools.errors.ModelMissing` for a model that is not here.
    """
    if not isinstance(spec, str):
        sees = bool((spec.profile or {}).get("image_inputs"))
        try:
            return Brain(spec.bind_tools(tools), sees, settings.brain_timeout)
        except NotImplementedError as exc:
            raise SettingsError(
                f"{type(spec).__name__} calls no tools, so it can't be the brain: pass a "
                "langchain-core chat model that does."
            ) from exc
    if spec == "router":
        return None
    found = _SPEC.fullmatch(spec)
    if found is None or re.search(r"@(?:localhost|[\w.-]+:\d)", found["model"] or ""):
        raise SettingsError(
            f"There is no brain called {spec!r:.80}: --brain (IMPRINT_BRAIN) takes router, "
            "openai:MODEL, openai:MODEL@http://HOST:PORT/v1 or local:MODEL_ID "
            "(a Hub id or a folder); #text at the end sends it no pictures."
        )
    if found["folder"]:
        return _local(found["folder"], not found["blind_too"], settings, tools)
    return _openai(found["model"], found["url"], not found["blind"], settings, tools)


def _openai(
    model: str, url: str | None, sees: bool, settings: Settings, tools: Sequence[BaseTool]
) -> Brain:
    key = openai_key()
    if key is None and url is None:
        raise SettingsError(
            f"--brain openai:{model} asks OpenAI and needs a key: set OPENAI_API_KEY, or name "
            f"a server of your own as openai:{model}@http://HOST:PORT/v1."
        )
    try:
        from assistant.brains.openai_compatible import OpenAICompatible
    except ImportError as exc:
        raise SettingsError(
            f"--brain openai:{model} needs langchain-openai ({exc}): install it with "
            "pip install 'imprint-assistant[llm]'."
        ) from exc
    chat = OpenAICompatible.at(url or _OPENAI, model, key, settings.brain_timeout)
    return Brain(chat.bind_tools(tools), sees, settings.brain_timeout)


def _local(source: str, sees: bool, settings: Settings, tools: Sequence[BaseTool]) -> Brain:
    from assistant.brains.local import LocalChat

    chat = LocalChat.at(source)
    model = chat.bind_tools(tools)
    return Brain(model, sees and chat.sees, settings.brain_timeout, chat.load)
