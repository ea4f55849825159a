"""A transformers chat model on this machine as a langchain-core chat model.

Knows nothing of torch (:mod:`tools.models.chat` runs it). Calls are read from the text in the
forms that templates ask for: ``<tool_call>{…}</tool_call>`` (Hermes, Qwen, SmolLM), or a message
that is nothing but the JSON of one call or a list of them (Llama, Mistral).
"""

import base64
import io
import json
import re
from collections.abc import Iterator
from hashlib import sha256
from threading import Event, Lock
from typing import Any, Self

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from PIL import Image
from pydantic import PrivateAttr

from assistant.aside import Aside
from assistant.bound import ToolModel
from tools.config import ModelChoice
from tools.models.sources import Located, locate

__all__ = ["LocalChat", "read_calls"]

_TAGGED = re.compile(r"<tool_call>\s*(.*?)\s*(?:</tool_call>|\Z)", re.S)
# What may be a call, while it is being written: shown only once it turns out to be none.
_NO_WORDS = re.compile(r"\A\s*[\[{].*|\s*<tool_call>.*|\s*<[a-z_]{0,9}\Z|\s+\Z", re.S)


class LocalChat(ToolModel):
    """The chat model of a folder or a Hub id that is on this machine; loaded at first use."""

    sees: bool
    """Whether pictures can be put into a message."""
    _located: Located = PrivateAttr()
    _chat: Any = PrivateAttr(default=None)
    _lock: Any = PrivateAttr(default_factory=Lock)

    @classmethod
    def at(cls, source: str) -> Self:
        """Look it up; raises :class:`tools.errors.ModelMissing`, with the command to fetch it."""
        located = locate(ModelChoice(source), must_see=False)
        chat = cls(sees="vision_config" in located.config)
        chat._located = located
        return chat

    def load(self) -> Any:
        """The model itself. Raises :class:`tools.errors.ModelFailed`."""
        with self._lock:
            if self._chat is None:
                from tools.models.chat import load_chat

                self._chat = load_chat(self._located)
            return self._chat

    @property
    def _llm_type(self) -> str:
        return "imprint-local"

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        said, tools, stopped = [_plain(m) for m in messages], kwargs.get("tools", ()), Event()
        chat = self.load()
        aside: Aside[str, str] = Aside(
            lambda put: chat.reply(said, tools, on_token=put, stop=stopped), "local brain"
        )
        text = shown = ""
        try:
            for piece in aside.pieces():
                text += piece or ""
                words = _NO_WORDS.sub("", text)
                yield _chunk(words[len(shown) :])
                shown = words
        finally:
            stopped.set()
        words, calls = read_calls(aside.future.result())
        yield _chunk(words[len(shown) :])
        for index, (name, arguments) in enumerate(calls):
            call = tool_call_chunk(name=name, args=arguments, id=f"c{index}", index=index)
            message = AIMessageChunk(content="", tool_call_chunks=[call])
            yield ChatGenerationChunk(message=message)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        chunks = list(self._stream(messages, stop, run_manager, **kwargs))
        whole = chunks[0]
        for chunk in chunks[1:]:
            whole += chunk
        return ChatResult(generations=[ChatGeneration(message=whole.message)])


def read_calls(text: str) -> tuple[str, list[tuple[str, str]]]:
    """The words of a message, and the name and arguments (JSON, or what was to be) of its calls."""
    tagged = _TAGGED.findall(text)
    if tagged:
        return _TAGGED.sub("", text).rstrip(), [_call(raw) for raw in tagged]
    if text.lstrip()[:1] in ("{", "["):
        try:
            value = json.loads(text)
        except ValueError:
            return text, []
        found = value if isinstance(value, list) else [value]
        if found and all(isinstance(x, dict) and "name" in x for x in found):
            return "", [_call(json.dumps(x)) for x in found]
    return text, []


def _call(raw: str) -> tuple[str, str]:
    try:
        call = json.loads(raw)
        arguments = call.get("arguments", call.get("parameters", {}))
        # As a string, which is what OpenAI does, they are JSON already.
        return str(call["name"]), arguments if isinstance(arguments, str) else json.dumps(arguments)
    except (ValueError, LookupError, AttributeError):
        return "", raw


def _chunk(text: str) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=AIMessageChunk(content=text))


def _plain(message: BaseMessage) -> dict[str, Any]:
    """A message as transformers' templates take it."""
    match message:
        case SystemMessage():
            return {"role": "system", "content": message.text}
        case ToolMessage():
            answered = _id(message.tool_call_id)
            name = message.name or ""
            return {"role": "tool", "name": name, "content": message.text, "tool_call_id": answered}
        case AIMessage(tool_calls=[_, *_] as calls):
            asked = [
                {
                    "type": "function",
                    "id": _id(c["id"]),
                    "function": {"name": c["name"], "arguments": c["args"]},
                }
                for c in calls
            ]
            return {"role": "assistant", "content": message.text, "tool_calls": asked}
        case HumanMessage(content=list(parts)):
            return {"role": "user", "content": [_part(p) for p in parts]}
        case HumanMessage():
            return {"role": "user", "content": message.text}
    return {"role": "assistant", "content": message.text}


def _id(call_id: str | None) -> str:
    """An id as Mistral's templates insist on: nine letters and digits."""
    return sha256(str(call_id).encode()).hexdigest()[:9]


def _part(part: Any) -> dict[str, Any]:
    if part["type"] == "image":  # made by us, from a verified photo
        data = io.BytesIO(base64.b64decode(part["base64"]))
        return {"type": "image", "image": Image.open(data, formats=["JPEG"]).convert("RGB")}
    return {"type": "text", "text": part["text"]}
