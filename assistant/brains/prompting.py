"""What a language model reads: the last turns of the conversation, and pictures if it sees.

Knows nothing of particular models. Pictures are made anew from our verified photos, small and
without metadata, for this one request; the history keeps their numbers only. A model is sent
the pictures of this message and of the few before it, never others and never a path.
"""

import base64
import io
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from tools.desk import Desk
from tools.errors import ImprintError
from tools.images import Photo

__all__ = ["OWN_RULES", "prompt_for"]

OWN_RULES = "so I answered by my own rules."
"""Ends the first line of a reply in which the router took the model's place."""
_TURNS = 12
_PICTURE_TURNS = 3
_SIDE = 768  # pixels; what hosted models scale pictures down to, and a few hundred tokens


def prompt_for(messages: Sequence[BaseMessage], desk: Desk, *, sees: bool) -> list[BaseMessage]:
    """``messages`` without what is long past, with pictures in the newest if the brain ``sees``."""
    said = [i for i, m in enumerate(messages) if isinstance(m, HumanMessage)]
    first = said[-_TURNS] if len(said) > _TURNS else 0
    guide = [m for m in messages[:first] if isinstance(m, SystemMessage)]
    shown = set(said[-_PICTURE_TURNS:]) if sees else set()
    recent = [
        _with_pictures(m, desk) if i in shown else _without_notice(m)
        for i, m in enumerate(messages[first:], start=first)
    ]
    return [*guide, *recent]


def _without_notice(message: BaseMessage) -> BaseMessage:
    """What the router answered, without why it did: small models say that again as their own."""
    first, _, rest = message.text.partition("\n")
    if not isinstance(message, AIMessage) or not first.endswith(OWN_RULES):
        return message
    return message.model_copy(update={"content": rest})


def _with_pictures(message: BaseMessage, desk: Desk) -> BaseMessage:
    numbers = message.additional_kwargs.get("photos", [])
    if not numbers:
        return message
    content: list[str | dict[Any, Any]] = [{"type": "text", "text": message.text}]
    for number in numbers:
        content.append({"type": "text", "text": f"photo {number}:"})
        content.append(_picture(desk, number))
    return message.model_copy(update={"content": content})


def _picture(desk: Desk, number: int) -> dict[str, Any]:
    try:
        photo = desk.album(number)
    except ImprintError:  # the tools will say what is wrong with it
        return {"type": "text", "text": "(this picture can't be opened)"}
    data = base64.b64encode(_jpeg(photo)).decode()
    return {"type": "image", "base64": data, "mime_type": "image/jpeg"}


def _jpeg(photo: Photo) -> bytes:
    out = io.BytesIO()
    photo.thumbnail(_SIDE).save(out, format="JPEG", quality=88)
    return out.getvalue()
