"""What a picture shows and what it does not: teach, correct, reject.

Knows nothing of how the order was put. Each tool says what it did and what it did not, and what
the taught pictures lack (:mod:`tools.quality`), which never keeps one out.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from langchain_core.tools import InjectedToolArg, tool

from tools.artifacts import Change, Concern
from tools.desk import Desk
from tools.errors import ToolError
from tools.images import Photo
from tools.memory import clean_name
from tools.memory.changes import Taught
from tools.quality import compare, inspect, same_thing_as, warning
from tools.wording import article, count, join

__all__ = [
    "correct_label",
    "reject_label",
    "teach_label",
]


@tool(response_format="content_and_artifact", parse_docstring=True)
def teach_label(
    label: str,
    description: str | None = None,
    photos: list[int] | None = None,
    *,
    desk: Annotated[Desk, InjectedToolArg],
) -> tuple[str, Change]:
    """Remember that a photo shows what the user calls ``label``.

    Args:
        label: The user's name for the thing, without article.
        description: What the user said about it, if anything.
        photos: Numbers of the photos; leave out for those of this message, or the last one.
    """
    label = clean_name(label)
    chosen = desk.look(photos)
    concerns, same_as = _concerns(desk, chosen, label)
    for photo in chosen:
        desk.recall.offer(photo)
    done = desk.memory.teach(label, chosen, description or "")
    desk.recall.recognizer()  # the index and the recognizer follow now, not at the next question
    change = _change(desk, "taught" if done.added else "known", done, chosen)
    change = replace(change, concerns=concerns, same_as=same_as)
    if not done.added:
        these = "this picture" if len(chosen) == 1 else "these pictures"
        more = " I noted what you said about it." if description else ""
        return f"I already know {these} as {done.label.name}.{more}", change
    parts = [f"Learned {done.label.name} ({count(change.count, 'picture')})."]
    if done.moved_from:
        before = join([x.name for x in done.moved_from])
        parts.append(f"I had it as {before} before; now it counts as {done.label.name} only.")
    parts.append(warning(concerns, done.label.name, len(done.added), same_as))
    return " ".join(p for p in parts if p), change


@tool(response_format="content_and_artifact", parse_docstring=True)
def correct_label(
    label: str,
    wrong: str | None = None,
    photos: list[int] | None = None,
    *,
    desk: Annotated[Desk, InjectedToolArg],
) -> tuple[str, Change]:
    """The photo just discussed is ``label``, not what was said: learn it, and what it is not.

    Args:
        label: What it really is.
        wrong: What it was wrongly called; leave out for what was recognised last.
        photos: Numbers of the photos; leave out for those of this message, or the last one.
    """
    label = clean_name(label)
    chosen = desk.look(photos)
    wrong = wrong or _said_wrongly(desk, chosen, label)
    # A correction has just said which label it is: only the pictures themselves are judged.
    concerns = tuple(c for p in chosen for c in inspect(p))
    for photo in chosen:
        desk.recall.offer(photo)
    done = desk.memory.correct(label, chosen, wrong)
    desk.recall.recognizer()
    known_wrong = desk.memory.state.find(wrong) if wrong else None
    name = done.label.name
    change = _change(desk, "corrected", done, chosen, known_wrong.name if known_wrong else "")
    change = replace(change, concerns=concerns)
    text = f"Fixed: {'this is' if len(chosen) == 1 else 'these are'} {article(name)}"
    if known_wrong is not None and known_wrong.id != done.label.id:
        text += f", not {article(known_wrong.name)}"
    text += f". I now have {count(change.count, 'picture')} of {name}."
    return f"{text} {warning(concerns, name, len(chosen))}".rstrip(), change


@tool(response_format="content_and_artifact", parse_docstring=True)
def reject_label(
    label: str | None = None,
    photos: list[int] | None = None,
    *,
    desk: Annotated[Desk, InjectedToolArg],
) -> tuple[str, Change]:
    """The photo just discussed is not ``label``; what it is was not said.

    Args:
        label: What it is not; leave out for what was recognised last.
        photos: Numbers of the photos; leave out for those of this message, or the last one.
    """
    chosen = desk.look(photos)
    label = label or _said_wrongly(desk, chosen, "")
    if not label:
        raise ToolError("I have not called it anything you taught me. What is it?")
    for photo in chosen:
        desk.recall.offer(photo)
    rejected = desk.memory.reject(label, chosen)
    desk.recall.recognizer()
    left = len(desk.memory.state.of(rejected.id))
    change = Change("rejected", rejected.name, tuple(p.id for p in chosen), left)
    return f"All right, this is not {article(rejected.name)}. What is it?", change


def _change(desk: Desk, action: str, done: Taught, photos: list[Photo], other: str = "") -> Change:
    number = len(desk.memory.state.of(done.label.id))
    ids = tuple(p.id for p in photos)
    if not other and done.moved_from:
        other = done.moved_from[0].name
    kind = {"taught": "taught", "known": "known"}.get(action, "corrected")
    return Change(kind, done.label.name, ids, number, other=other)  # type: ignore[arg-type]


def _concerns(desk: Desk, photos: Sequence[Photo], label: str) -> tuple[tuple[Concern, ...], str]:
    """What the pictures lack, before they are taught, and the label they may belong to instead.

    Nothing of pictures that the label has already. Only of a new label it is asked whether it is
    the same thing as another: of one that has pictures, that has been answered.
    """
    state = desk.memory.state
    known = state.find(label)
    new = [p for p in photos if known is None or state.label_of(p.id) != known]
    if not new:
        return (), ""
    against = compare(desk, new, label)
    concerns = (*against, *(c for p in new for c in inspect(p)))
    asks = known is None and not any(state.label_of(p.id) for p in new)
    return concerns, same_thing_as(against, label, len(new)) if asks else ""


def _said_wrongly(desk: Desk, photos: list[Photo], right: str) -> str | None:
    """The taught label these photos were given, by recognition or by teaching, if not ``right``."""
    state = desk.memory.state
    owner = state.label_of(photos[0].id)
    if owner is not None:
        return owner.name if owner.name.casefold() != right.casefold() else None
    found = desk.focus.recognition
    if found is None or found.photo_id != photos[0].id or found.source != "taught":
        return None
    if found.decision == "unknown" or not found.candidates:
        return None
    name = found.candidates[0].name
    return name if name.casefold() != right.casefold() else None
