"""Turns and events as chat messages: pure functions from what the server knows to what is shown.

Knows nothing of handlers, models or disk. The chat's value is always made anew from the
server's transcript; nothing is ever read back from it but an index, and :class:`View` says which
turn an index means. Text is shown as text: no markdown, and HTML escaped.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from html import escape
from typing import Any, Literal

import gradio as gr
from gradio.components.chatbot import MetadataDict

from assistant.turns import Step, ToolStarted, Turn
from assistant.ui.cards import Pack, Picture, card, photo_strip
from assistant.ui.titles import title_of
from tools.artifacts import Recognition
from tools.wording import capital, percent

__all__ = ["Progress", "View", "chat_view", "plain", "unplain"]

_STOPPED = "Stopped."
_DETAIL = 600


@dataclass
class Progress:
    """A turn that is being worked on. ``numbers`` are its photos, as far as they are open."""

    text: str
    numbers: tuple[int, ...] = ()
    steps: list[Step] = field(default_factory=list)
    running: ToolStarted | None = None
    tokens: str = ""
    waiting: str = ""
    """What it waits for, in words; empty when it does not."""


@dataclass(frozen=True)
class View:
    """Messages to show and, for each, the index of its turn (the unfinished one counts too)."""

    messages: tuple[gr.ChatMessage, ...]
    turns: tuple[int, ...]

    def turn_at(self, index: Any) -> int | None:
        """The turn of a rendered message; None when a client names one that is not there."""
        if isinstance(index, list | tuple):
            index = index[0] if index else None
        if isinstance(index, bool) or not isinstance(index, int):
            return None
        return self.turns[index] if 0 <= index < len(self.turns) else None


def plain(text: str) -> str:
    """``text`` for a place that would render HTML: shown as it is written."""
    return escape(text, quote=False)


def unplain(text: str) -> str:
    """What the user sees of :func:`plain` text, as an edited message comes back."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def chat_view(
    turns: Sequence[Turn],
    album: Sequence[str],
    picture: Picture,
    *,
    pack: Pack = lambda file: "",
    progress: Progress | None = None,
    problem: str = "",
    suggestions: Sequence[str] = (),
) -> View:
    """The whole chat.

    ``album`` has the photo ids by number - 1. ``problem`` is a failure that belongs to no turn.
    ``suggestions`` are offered as buttons beside the last turn's own options.
    """
    messages: list[gr.ChatMessage] = []
    owners: list[int] = []
    for index, turn in enumerate(turns):
        last = index == len(turns) - 1 and progress is None and not problem
        options = [*turn.options, *suggestions] if last else []
        made = _answer(turn, picture, pack, options)
        if turn.text or turn.photos or turn.problems:
            made = [*_said(turn.text, turn.photos, album, picture), *map(_step, turn.steps), *made]
        messages += made
        owners += [index] * len(made)
    if progress is not None:
        made = [
            *_said(progress.text, progress.numbers, album, picture),
            *_unfinished(progress),
        ]
        messages += made
        owners += [len(turns)] * len(made)
    if problem:
        messages.append(gr.ChatMessage(role="assistant", content=plain(problem)))
        owners.append(max(len(turns) - 1, 0))
    return View(tuple(messages), tuple(owners))


def _said(
    text: str, numbers: Sequence[int], album: Sequence[str], picture: Picture
) -> list[gr.ChatMessage]:
    shown = [(n, album[n - 1]) for n in numbers if 1 <= n <= len(album)]
    content: list[Any] = [_html(photo_strip(shown, picture))] if shown else []
    if text:
        content.append(plain(text))
    return [gr.ChatMessage(role="user", content=content or [" "])]


def _answer(
    turn: Turn, picture: Picture, pack: Pack, options: Sequence[str]
) -> list[gr.ChatMessage]:
    text = "\n".join(x for x in (turn.reply, _STOPPED if turn.stopped else "") if x)
    cards = [card(a, picture, pack) for s in turn.steps for a in s.artifacts]
    content: list[Any] = [plain(text)] if text else []
    content += [_html(c) for c in cards if c]
    return [
        gr.ChatMessage(
            role="assistant",
            content=content or ["Done."],
            options=[{"value": o, "label": capital(o)} for o in dict.fromkeys(options)],
        )
    ]


def _unfinished(progress: Progress) -> list[gr.ChatMessage]:
    messages = [_step(step) for step in progress.steps]
    doing = progress.running and title_of(progress.running.name, progress.running.args, done=False)
    if title := ". ".join(x for x in (doing, progress.waiting) if x):
        messages.append(_thought(title, "", status="pending"))
    if progress.tokens:
        messages.append(gr.ChatMessage(role="assistant", content=plain(progress.tokens)))
    return messages


def _step(step: Step) -> gr.ChatMessage:
    call = step.call
    title = title_of(call.name, call.args, done=not call.asked)
    if call.asked:
        title = f"{title}: you are asked first"
    elif not call.ok:
        title = f"{title}: it did not work"
    args = ", ".join(f"{k}={v!r}" for k, v in call.args.items())
    lines = [f"{call.name}({args})"]
    for artifact in step.artifacts:
        if isinstance(artifact, Recognition):
            shares = [f"{c.name} {percent(c.probability)}" for c in artifact.candidates[:4]]
            if artifact.source == "taught":
                shares.append(f"something else {percent(artifact.unknown)}")
            lines.append(", ".join(shares))
    if not call.ok and step.sentence:
        lines.append(step.sentence)
    return _thought(title, "\n".join(lines), status="done", duration=call.seconds)


def _thought(
    title: str, body: str, *, status: Literal["pending", "done"], duration: float | None = None
) -> gr.ChatMessage:
    body = body if len(body) <= _DETAIL else f"{body[:_DETAIL]}…"
    metadata: MetadataDict = {"title": plain(title), "status": status}
    if duration is not None:
        metadata["duration"] = duration
    return gr.ChatMessage(role="assistant", content=plain(body), metadata=metadata)


@lru_cache(maxsize=2048)  # a long chat is made anew at every update, and a component costs 0.1 ms
def _html(inner: str) -> gr.HTML:
    return gr.HTML(inner, padding=False)
