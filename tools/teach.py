"""Everything that changes what is known: teach, correct, reject, rename, merge, forget, undo.

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
from tools.memory import Event, State, clean_name
from tools.memory.memory import Taught
from tools.quality import compare, inspect, same_thing_as, warning
from tools.wording import article, capital, count, join

__all__ = [
    "correct_label",
    "forget_label",
    "merge_labels",
    "reject_label",
    "rename_label",
    "teach_label",
    "undo",
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


@tool(response_format="content_and_artifact", parse_docstring=True)
def rename_label(
    label: str, new: str, *, desk: Annotated[Desk, InjectedToolArg]
) -> tuple[str, Change]:
    """Give a taught label another name.

    Args:
        label: Its name now.
        new: Its new name.
    """
    before, after = desk.memory.rename(label, new)
    number = len(desk.memory.state.of(after.id))
    change = Change("renamed", after.name, (), number, other=before.name)
    if before.name == after.name:
        return f"It is called {after.name} already.", change
    return f"{capital(before.name)} is now called {after.name}.", change


@tool(response_format="content_and_artifact", parse_docstring=True)
def merge_labels(
    label: str, into: str, *, desk: Annotated[Desk, InjectedToolArg]
) -> tuple[str, Change]:
    """Two labels are the same thing: move the pictures of one to the other.

    Args:
        label: The label that goes away.
        into: The label that stays.
    """
    source, target = desk.memory.merge(label, into)
    number = len(desk.memory.state.of(target.id))
    change = Change("merged", target.name, (), number, other=source.name)
    return (
        f"{capital(source.name)} is part of {target.name} now, which has "
        f"{count(number, 'picture')}. Say “undo” to part them again.",
        change,
    )


@tool(response_format="content_and_artifact", parse_docstring=True)
def forget_label(label: str, *, desk: Annotated[Desk, InjectedToolArg]) -> tuple[str, Change]:
    """Forget a label and the pictures taught under it.

    Args:
        label: The label's name.
    """
    gone, number = desk.memory.forget(label)
    change = Change("forgotten", gone.name, (), 0)
    had = f" and its {count(number, 'picture')}" if number else ""
    return f"Forgot {gone.name}{had}. Say “undo” to bring it back.", change


@tool(response_format="content_and_artifact")
def undo(*, desk: Annotated[Desk, InjectedToolArg]) -> tuple[str, Change]:
    """Take back the last change of memory; can be repeated."""
    event, before = desk.memory.undo()
    name, other, text = _undone(event, before, desk.memory.state)
    label = desk.memory.state.find(name)
    number = len(desk.memory.state.of(label.id)) if label else 0
    return text, Change("undone", name, (), number, other=other)


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


def _undone(event: Event, before: State, after: State) -> tuple[str, str, str]:
    """The label, the other label and the sentence of a change that was taken back."""
    data = event.data
    label_id = data["label_id"]
    label = after.labels.get(label_id) or before.labels.get(label_id)
    name = label.name if label else str(data.get("name", "it"))
    left = count(len(after.of(label_id)), "picture")
    still = f"{capital(name)} has {left} now." if label_id in after.labels else ""
    match event.kind:
        case "taught" | "corrected":
            gone = count(len(data["photo_ids"]), "picture")
            text = f"Undone: {gone} of {name} taken back. " + (still or f"I don't know {name} now.")
        case "rejected":
            text = f"Undone: I no longer hold that it is not {article(name)}. {still}"
        case "renamed":
            text = f"Undone: {data['new']} is called {data['old']} again."
            return str(data["old"]), str(data["new"]), text
        case "merged":
            into = before.labels.get(data["into_id"])
            other = into.name if into else ""
            text = f"Undone: {name} and {other} are two labels again. {still}"
            return name, other, text.strip()
        case _:
            text = f"Undone: {name} is back, with {left}."
    return name, "", text.strip()
