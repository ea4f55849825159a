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
from tools.memory.labels import name_key
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
    said, label = clean_name(label), _known_name(desk, label)
    chosen = desk.look(photos)
    concerns, same_as = _concerns(desk, chosen, label)
    for photo in chosen:
        desk.recall.offer(photo)
    done = desk.memory.teach(label, chosen, description or "")
    desk.recall.recognizer()  # the index and the recognizer follow now, not at the next question
    change = _change(desk, "taught" if done.added else "known", done, chosen)
    change = replace(change, concerns=concerns, same_as=same_as)
    also = "" if name_key(said) == name_key(label) else f", also called {said}"
    if not done.added:
        these = "this picture" if len(chosen) == 1 else "these pictures"
        more = " I noted what you said about it." if description else ""
        return f"I already know {these} as {done.label.name}{also}.{more}", change
    parts = [f"Learned {done.label.name}{also} ({count(change.count, 'picture')})."]
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
    label = _known_name(desk, label)
    chosen, others = _contradicted(desk, photos, wrong)
    wrongs = {p.id: w for p in chosen if (w := wrong or _said_wrongly(desk, p, label))}
    # A correction has just said which label it is: only the pictures themselves are judged.
    concerns = tuple(c for p in chosen for c in inspect(p))
    for photo in chosen:
        desk.recall.offer(photo)
    done = desk.memory.correct(label, chosen, wrongs)
    desk.recall.recognizer()
    found = [desk.memory.state.find(w) for w in dict.fromkeys(wrongs.values())]
    known_wrong = [x.name for x in found if x is not None and x.id != done.label.id]
    name = done.label.name
    change = _change(desk, "corrected", done, chosen, join(known_wrong, "or"))
    change = replace(change, concerns=concerns)
    text = f"Fixed: {'this is' if len(chosen) == 1 else 'these are'} {article(name)}"
    if known_wrong:
        text += f", not {join([article(w) for w in known_wrong], 'or')}"
    text += f". I now have {count(change.count, 'picture')} of {name}.{_kept(others)}"
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
    chosen, others = _contradicted(desk, photos, label)
    label = label or _said_wrongly(desk, chosen[0], "")
    if not label:
        raise ToolError("I have not called it anything you taught me. What is it?")
    for photo in chosen:
        desk.recall.offer(photo)
    rejected = desk.memory.reject(label, chosen)
    desk.recall.recognizer()
    left = len(desk.memory.state.of(rejected.id))
    change = Change("rejected", rejected.name, tuple(p.id for p in chosen), left)
    return f"All right, this is not {article(rejected.name)}.{_kept(others)} What is it?", change


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


def _known_name(desk: Desk, name: str) -> str:
    """The name of the label that has this name or alias; of none, the name as it is stored."""
    name = clean_name(name)
    found = desk.memory.state.find(name)
    return name if found is None else found.name


def _contradicted(
    desk: Desk, photos: Sequence[int] | None, wrong: str | None
) -> tuple[list[Photo], int]:
    """The photos whose name is contradicted, and how many discussed with them keep theirs.

    Of several photos discussed last, none of them named, a contradiction is of those that were
    called ``wrong`` (or like the one recognised last): what else was said stands.
    """
    chosen = desk.look(photos)
    if photos or desk.turn_photos or len(chosen) == 1:
        return chosen, 0
    calls = {p.id: _called(desk, p) for p in chosen}
    last = desk.focus.recognition
    subject = last.photo_id if last is not None and last.photo_id in calls else chosen[-1].id
    name = _known_name(desk, wrong) if wrong else calls[subject]
    meant = [p for p in chosen if calls[p.id] == name]
    meant = meant or [p for p in chosen if p.id == subject]
    return meant, len(chosen) - len(meant)


def _called(desk: Desk, photo: Photo) -> str:
    """The taught label a photo has, or that it is taken for; empty when for none."""
    owner = desk.memory.state.label_of(photo.id)
    if owner is not None:
        return owner.name
    found = desk.focus.recognition
    if found is None or found.photo_id != photo.id:
        found = desk.recall.recognise(photo)
    if found.source != "taught" or found.decision == "unknown" or not found.candidates:
        return ""
    return found.candidates[0].name


def _kept(others: int) -> str:
    """That the other photos keep their names."""
    if not others:
        return ""
    return f" The other {'picture keeps its name' if others == 1 else 'pictures keep their names'}."


def _said_wrongly(desk: Desk, photo: Photo, right: str) -> str | None:
    """The taught label this photo was given, by recognition or by teaching, if not ``right``."""
    told = desk.memory.state.label_of(photo.id) is not None
    here = {desk.album(n).id for n in desk.turn_photos}
    if not told and (desk.focus.recognition is None or photo.id in here):
        return None  # nobody has called it anything
    name = _called(desk, photo)
    return name if name and name_key(name) != name_key(right) else None
