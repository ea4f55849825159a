"""Forgetting: a label, an alias, a picture, what was taught lately, everything.

Knows nothing of how the order was put. Nothing is lost for good: each is one change that *undo*
takes back, and the sentence says so.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from langchain_core.tools import InjectedToolArg, tool

from tools.artifacts import Change
from tools.desk import Desk
from tools.errors import ToolError
from tools.memory import Event
from tools.memory.labels import name_key
from tools.undo import summary
from tools.wording import capital, count, join

__all__ = ["forget_everything", "forget_label", "forget_pictures", "forget_since", "session_start"]

_PAUSE = timedelta(hours=2)
"""A session ends when nothing was taught or changed for this long."""
_BACK = "Say “undo” to bring it back."
_NAMED = 4  # kinds of changes


@tool(response_format="content_and_artifact", parse_docstring=True)
def forget_label(label: str, *, desk: Annotated[Desk, InjectedToolArg]) -> tuple[str, Change]:
    """Forget a label and the pictures taught under it; of another name for it only the name.

    Args:
        label: The label's name, or another name of it.
    """
    gone, number = desk.memory.forget(label)
    if name_key(label) != name_key(gone.name):
        left = len(desk.memory.state.of(gone.id))
        text = (
            f"{capital(gone.name)} is no longer also called {label}; its "
            f"{count(left, 'picture')} {'stays' if left == 1 else 'stay'}. {_BACK}"
        )
        return text, Change("forgotten", label, (), left, other=gone.name)
    change = Change("forgotten", gone.name, (), 0)
    had = f" and its {count(number, 'picture')}" if number else ""
    return f"Forgot {gone.name}{had}. {_BACK}", change


@tool(response_format="content_and_artifact", parse_docstring=True)
def forget_pictures(
    photos: list[int] | None = None, *, desk: Annotated[Desk, InjectedToolArg]
) -> tuple[str, Change]:
    """Forget all that was taught of a photo; the label keeps its other pictures.

    Args:
        photos: Numbers of the photos; leave out for those of this message, or the last one.
    """
    chosen = desk.look(photos)
    before = desk.memory.state
    gone = desk.memory.drop([p.id for p in chosen])
    if not gone:
        what = "this picture" if len(chosen) == 1 else "these pictures"
        raise ToolError(f"There is nothing to forget: nobody has taught me anything of {what}.")
    desk.recall.recognizer()
    after = desk.memory.state
    owners = [before.labels[before.owners[i]] for i in gone if i in before.owners]
    labels = list({x.id: x for x in owners}.values())
    kept = [f"{count(len(after.of(x.id)), 'picture')} of {x.name}" for x in labels]
    left = f" I have {join(kept)} left." if labels else ""
    number = "this picture" if len(gone) == 1 else f"these {count(len(gone), 'picture')}"
    names = join([x.name for x in labels])
    count_left = len(after.of(labels[0].id)) if len(labels) == 1 else 0
    change = Change("forgotten", names or number, gone, count_left)
    return f"Forgot {number}.{left} {_BACK}", change


@tool(response_format="content_and_artifact", parse_docstring=True)
def forget_since(
    when: Literal["today", "session"], *, desk: Annotated[Desk, InjectedToolArg]
) -> tuple[str, Change]:
    """Forget what was taught and changed today, or in this session.

    Args:
        when: "today", or "session" for everything since the last long pause.
    """
    moment = datetime.now().astimezone()
    since = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if when == "session":
        since = session_start(desk.memory.events, moment)
    said = "today" if when == "today" else "in this session"
    back = desk.memory.revert(since, said)
    if not back:
        raise ToolError(f"There is nothing to forget: you have taught me nothing {said}.")
    desk.recall.recognizer()
    told = summary(back, desk.memory.events, _NAMED)
    text = f"Forgot what you taught me {said}: {join(told)}. {_BACK}"
    return text, Change("forgotten", f"what you taught me {said}")


@tool(response_format="content_and_artifact")
def forget_everything(*, desk: Annotated[Desk, InjectedToolArg]) -> tuple[str, Change]:
    """Forget every label, picture and answer that was taught. Only when the user is sure."""
    before = desk.memory.clear()
    if not before.labels and not before.answers:
        raise ToolError("There is nothing to forget: nothing has been taught yet.")
    desk.recall.recognizer()
    parts = [count(len(before.labels), "label"), count(len(before.owners), "picture")]
    if before.answers:
        parts.append(count(len(before.answers), "answer"))
    text = f"Forgot everything: {join(parts)}. {_BACK}"
    return text, Change("forgotten", "everything")


def session_start(events: tuple[Event, ...], now: datetime) -> datetime:
    """The first event after the last pause of two hours; ``now`` when that lasts until now."""
    start = now
    for event in reversed(events):
        at = datetime.fromisoformat(event.at)
        if start - at > _PAUSE:
            break
        start = at
    return start.astimezone(UTC)
