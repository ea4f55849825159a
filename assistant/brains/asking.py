"""One question to a language model: its words while they are made, then its whole message.

Knows nothing of tools or what is done about the message. Whatever goes wrong, here or in the
model, is a :class:`BrainFailed`; a bug in somebody's model is one too, and is logged.
"""

import json
import logging
import re
import secrets
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import reduce
from operator import add
from threading import Event
from typing import Any

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    InvalidToolCall,
    ToolCall,
)
from langchain_core.messages.tool import invalid_tool_call

from assistant.aside import Aside
from assistant.brains.choosing import Brain
from assistant.turns import Token
from tools.errors import BrainFailed, ImprintError

__all__ = ["ask"]

log = logging.getLogger(__name__)
_BEAT = 0.25  # seconds; how soon a stop is noticed while the model is silent
_LONGEST = 20_000  # characters; a model that goes on is stopped there
_PIECE, _TIMES = 16, 4  # letters at least, and how often they are said one after the other
_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.S)
_READY = AIMessageChunk(content="")
_HALF_A_TAG = re.compile(r"<[/a-z]{0,6}\Z")


def ask(brain: Brain, messages: Sequence[BaseMessage]) -> Generator[Token, None, AIMessage]:
    """Yields what the model says, piece by piece, and returns its message.

    The pieces, joined, are the message's text, unless it calls tools. While the model is silent
    an empty piece comes now and then, so that the turn can be stopped; closing the generator
    closes the request. Raises :class:`BrainFailed`.
    """
    stopped = Event()
    aside: Aside[AIMessage, None] = Aside(_reading(brain, messages, stopped), "brain")
    chunks: list[AIMessage] = []
    text = sent = ""
    heard: float | None = None  # loading a model is no silence
    try:
        for chunk in aside.pieces(min(_BEAT, brain.timeout / 4)):
            if heard is not None and time.monotonic() - heard > brain.timeout:
                raise BrainFailed(f"timed out after {brain.timeout:g} s")
            if chunk is None:
                yield Token("")
                continue
            heard = time.monotonic()
            if chunk is _READY:
                continue
            chunks.append(chunk)
            text += str(chunk.text)
            spoken = _HALF_A_TAG.sub("", _THOUGHT.sub("", text))
            yield Token(spoken[len(sent) :])
            sent = spoken
            if len(text) > _LONGEST:
                break
            if _circling(text):
                raise BrainFailed("it said the same again and again")
    finally:
        stopped.set()
    if aside.future.done():
        _raise(aside.future.exception())
    if not chunks:
        raise BrainFailed("it sent nothing")
    rest = _THOUGHT.sub("", text)[len(sent) :]
    if rest:
        yield Token(rest)
    return _message(reduce(add, chunks), sent + rest)


def _circling(text: str) -> bool:
    """Whether it ends in the same words again and again, as small models do for ever."""
    period = len(text) - _PIECE - text.rfind(text[-_PIECE:], 0, -_PIECE)
    said = text[-period:]
    return period < len(text) and text.endswith(said * _TIMES) and any(map(str.isalpha, said))


def _reading(
    brain: Brain, messages: Sequence[BaseMessage], stopped: Event
) -> Callable[[Callable[[AIMessage], None]], None]:
    def work(put: Callable[[AIMessage], None]) -> None:
        brain.ready()
        put(_READY)
        # Closing the stream closes the request; a silent server's ends with its time limit.
        with closing(brain.model.stream(list(messages))) as stream:
            for chunk in stream:
                if stopped.is_set():
                    return
                put(chunk)

    return work


def _raise(error: BaseException | None) -> None:
    """What the model raised, as a :class:`BrainFailed`."""
    if error is None:
        return
    if isinstance(error, BrainFailed):
        raise error
    if isinstance(error, ImprintError):
        raise BrainFailed(str(error).rstrip(".")) from error
    incident = secrets.token_hex(3)
    log.error("incident %s: the language model failed", incident, exc_info=error)
    raise BrainFailed(f"it failed, incident {incident}; the log says why") from error


def _message(whole: AIMessage, text: str) -> AIMessage:
    """``whole`` with every call either complete or invalid, each with an id of its own.

    langchain-core completes the arguments of a call that breaks off (``{"label": "zo``): that
    would teach half a name, so they are read again, strictly.
    """
    calls: list[ToolCall] = list(whole.tool_calls)
    invalid: list[InvalidToolCall] = list(whole.invalid_tool_calls)
    if isinstance(whole, AIMessageChunk) and whole.tool_call_chunks:
        calls, invalid = [], []
        for chunk in whole.tool_call_chunks:
            name, raw = chunk["name"] or "", chunk["args"] or "{}"
            args = _object(raw)
            if args is None:
                invalid.append(invalid_tool_call(name=name, args=raw, id=chunk["id"]))
            else:
                calls.append(ToolCall(name=name, args=args, id=chunk["id"]))
    for number, call in enumerate([*calls, *invalid]):
        call["id"] = f"{call['id'] or 'call'}-{number}"
    return AIMessage(text, tool_calls=calls, invalid_tool_calls=invalid)


def _object(raw: str) -> dict[str, Any] | None:
    try:
        value = json.loads(raw)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
