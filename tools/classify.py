"""``classify_image``: what a photo shows, by memory first, then by the words the embedder knows.

Knows nothing of how the question was put.
"""

from dataclasses import replace
from typing import Annotated

from langchain_core.tools import InjectedToolArg, tool

from tools.adapted import voted
from tools.artifacts import Candidate, Recognition
from tools.desk import Desk
from tools.errors import ToolError
from tools.images import Photo
from tools.outside import outside_note
from tools.sight import SURE
from tools.wording import article, capital, join, number, percent

__all__ = ["classify_image", "recognise", "worded"]


@tool(response_format="content_and_artifact", parse_docstring=True)
def classify_image(
    labels: list[str] | None = None,
    photos: list[int] | None = None,
    *,
    desk: Annotated[Desk, InjectedToolArg],
) -> tuple[str, list[Recognition]]:
    """Say what a photo shows: by the taught labels first, with "I don't know", else by name.

    Args:
        labels: Names to choose between; one name asks whether the photo is that. Leave out to
            ask what it is.
        photos: Numbers of the photos; leave out for those of this message, or the last one.
    """
    state = desk.memory.state
    given = [n.strip() for n in labels or [] if n.strip()]
    # A label goes by its name, whichever of its names was said.
    found = [(n, state.find(n)) for n in given]
    names = list(dict.fromkeys(n if label is None else label.name for n, label in found))
    chosen = desk.look(photos)
    untaught = len(names) == 1 and state.find(names[0]) is None
    if untaught and not desk.sight.knows_word(names[0]):
        raise ToolError(
            f"Nobody has shown me {article(names[0])} yet: "
            f"send a picture of one and say “this is {article(names[0])}”."
        )
    results = [recognise(desk, photo, names) for photo in chosen]
    lines = [worded(r, names, p) for r, p in zip(results, chosen, strict=True)]
    if len(lines) > 1:
        numbers = desk.numbers(photos)
        lines = [f"Photo {n}: {line}" for n, line in zip(numbers, lines, strict=True)]
    return "\n".join(x for x in (*lines, desk.models.adapters.news()) if x), results


def recognise(desk: Desk, photo: Photo, names: list[str] | None = None) -> Recognition:
    """The recognition of one photo, among ``names`` if there are any."""
    state = desk.memory.state
    taught = [x for x in (state.find(n) for n in names or []) if x is not None]
    other = [n for n in names or [] if state.find(n) is None]
    exemplars = any(e.positive for e in state.exemplars.values())
    if exemplars and (taught or not names):
        # One taught name is checked against all labels: "is it a zorb?" of a blick is no.
        among = {x.id for x in taught} if len(taught) > 1 and not other else None
        found = voted(desk, photo, desk.recall.recognise(photo, among))
        if not other or (
            found.decision == "known" and found.candidates[0].name in [x.name for x in taught]
        ):
            return _with_hint(desk, photo, found) if not names else found
    vector = desk.sight.vector(photo)
    if other:
        # A single name alone would always get 100 %: the vocabulary stands beside it.
        rivals = [c.name for c in desk.sight.name(vector, 5)] if len(other) == 1 else []
        known = {n.casefold() for n in other}
        pool = other + [r for r in rivals if r.casefold() not in known]
        ranked = desk.sight.zero_shot(vector, pool)
    else:
        ranked = desk.sight.name(vector)
    sure = bool(ranked) and (bool(other) or ranked[0].probability >= SURE)
    return Recognition(
        photo_id=photo.id,
        decision="known" if sure else "unknown",
        candidates=tuple(ranked[:5]),
        source="labels" if other else "vocabulary",
        unknown=1.0 - ranked[0].probability if ranked else 1.0,
        threshold=1.0 - SURE,
        outside=desk.sight.outside(photo),
    )


def _with_hint(desk: Desk, photo: Photo, found: Recognition) -> Recognition:
    """An unknown photo may still have a name in the vocabulary."""
    if found.decision != "unknown" or found.outside:
        return found
    named = desk.sight.name(desk.sight.vector(photo), 1)
    taught = {c.name.casefold() for c in found.candidates}
    if named and named[0].probability >= SURE and named[0].name.casefold() not in taught:
        return replace(found, hint=named[0].name)
    return found


def worded(found: Recognition, names: list[str], photo: Photo) -> str:
    """A recognition in words; of one name that was asked about, yes or no."""
    text = _yes_no(found, names[0]) if len(names) == 1 else _named(found)
    if found.outside and (found.source != "taught" or found.decision == "unknown"):
        text = f"{text} {outside_note()}"
    return " ".join([text, *photo.notes])


def _named(found: Recognition) -> str:
    first = found.candidates[0] if found.candidates else Candidate("", 0.0)
    if found.source == "taught":
        if found.decision == "known":
            return f"{capital(first.name)}, {percent(first.probability)}. {_reason(found)}"
        if found.decision == "ambiguous":
            rivals = join([article(c.name) for c in found.candidates[:2]], "or")
            return f"{capital(rivals)}? I can't tell them apart here."
        close = f" The closest is {first.name}, and not close." if first.name else ""
        hint = f" It looks a bit like {article(found.hint)} to me." if found.hint else ""
        return f"I don't know this.{close}{hint} What is it?"
    if found.decision == "known" and not found.outside:
        return f"It looks like {article(first.name)} ({percent(first.probability)})."
    if found.outside or not first.name:
        return "I don't know what this is."
    guesses = join([article(c.name) for c in found.candidates[:2]], "or")
    return f"I don't know this. It might be {guesses}. What is it?"


def _reason(found: Recognition) -> str:
    """What the name rests on: the taught pictures, and the vote of an adapter."""
    if found.alone:
        return (
            f"So says {found.adapter}, trained on your pictures; by the pictures alone it would be "
            f"{article(found.alone)}."
        )
    if not found.adapter:
        return _evidence(found)
    agrees = found.vote == found.candidates[0].name
    said = "says so too" if agrees else f"would rather say {article(found.vote)}"
    return f"{_evidence(found)} {capital(found.adapter)} {said}."


def _evidence(found: Recognition) -> str:
    shown = [e for e in found.evidence if e.label == found.candidates[0].name]
    if len(shown) < 2:
        return "It looks like the one you showed me."
    return f"It looks most like these {number(len(shown))} you showed me."


def _yes_no(found: Recognition, asked: str) -> str:
    if found.outside and found.source != "taught":
        return f"I can't say whether it is {article(asked)}."
    first = found.candidates[0] if found.candidates else Candidate("", 0.0)
    share = next(
        (c.probability for c in found.candidates if c.name.casefold() == asked.casefold()), 0.0
    )
    if found.source != "taught":
        if first.name.casefold() == asked.casefold():
            return f"Yes, it looks like {article(first.name)} ({percent(share)})."
        return f"I don't think so: it looks more like {article(first.name)}."
    if found.decision == "known" and first.name.casefold() == asked.casefold():
        return f"Yes: {first.name}, {percent(share)}. {_reason(found)}"
    if found.decision == "ambiguous":
        rivals = [c.name for c in found.candidates[:2]]
        return f"I can't tell: it could be {join([article(r) for r in rivals], 'or')}."
    if found.decision == "known":
        return f"No, I think it is {article(first.name)} ({percent(first.probability)})."
    return f"I don't think it is {article(asked)}: nothing you showed me is close. What is it?"
