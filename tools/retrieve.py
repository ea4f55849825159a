"""``find_similar``, ``compare_images`` and ``explain_answer``: exemplars as answers and as reasons.

Knows nothing of how memory stores them.
"""

from typing import Annotated

from langchain_core.tools import InjectedToolArg, tool

from tools.artifacts import Answer, Comparison, Explanation, Matches, Recognition, Shown, Told
from tools.desk import Desk
from tools.errors import BadCall, ToolError
from tools.finding import described, fits, named, threshold
from tools.wording import article, capital, count, join, percent

__all__ = ["compare_images", "explain_answer", "find_similar"]

_FOUND = 6


@tool(response_format="content_and_artifact", parse_docstring=True)
def find_similar(
    query: str | None = None,
    photos: list[int] | None = None,
    *,
    desk: Annotated[Desk, InjectedToolArg],
) -> tuple[str, Matches]:
    """Show the taught pictures that are like a photo, like a text, or of a label.

    Args:
        query: The name of a taught label, or words to search by. Leave out to search by photo.
        photos: Number of the photo to search by; leave out for this message's, or the last one.
    """
    state = desk.memory.state
    if not state.owners:
        raise ToolError("There is nothing to look through yet: teach me something first.")
    query = " ".join((query or "").split())
    label = named(state, query) if query else None
    if label is not None:
        items = [Shown(e.photo_id, label.name, 1.0) for e in state.of(label.id)]
        text = f"{capital(label.name)}: {count(len(items), 'picture')} you showed me."
        return text, Matches(label.name, tuple(items))
    if query:
        return _by_words(desk, query)
    found = desk.memory.search(desk.sight.embedder, desk.sight.vector(desk.look(photos)[0]), _FOUND)
    items = [
        Shown(m.exemplar.photo_id, state.labels[m.exemplar.label_id].name, m.similarity)
        for m in found
    ]
    names = list(dict.fromkeys(i.label for i in items))
    text = f"The pictures you showed me that are most like this: {join(names)}."
    return text, Matches("", tuple(items))


def _by_words(desk: Desk, query: str) -> tuple[str, Matches]:
    """What fits ``query``: first by what the user said of a label, then by its looks."""
    state = desk.memory.state
    told = [x for x in described(state, query) if state.of(x.id)]
    items = [Shown(e.photo_id, x.name, 1.0) for x in told for e in state.of(x.id)]
    known = {x.id for x in told}
    others = [photo_id for photo_id, owner in state.owners.items() if owner not in known]
    closest = ""
    seen: list[Shown] = []
    if others:
        vectors = desk.memory.vectors(desk.sight.embedder)
        fit = fits(desk.sight, [vectors[i] for i in others], query)
        best = sorted(zip(others, fit, strict=True), key=lambda x: -x[1].z)[:_FOUND]
        owners = [state.labels[state.owners[i]].name for i, _ in best]
        enough = threshold(len(others))
        seen = [
            Shown(i, name, f.cosine)
            for (i, f), name in zip(best, owners, strict=True)
            if f.z > enough
        ]
        closest = f" The closest is {owners[0]}, and not close."
    parts = []
    if told:
        parts.append(f"{join([x.name for x in told])}, by what you told me")
    if seen:
        names = list(dict.fromkeys(x.label for x in seen))
        parts.append(f"{join(names)}, by {'its' if len(names) == 1 else 'their'} looks")
    if not parts:
        return f"Nothing you showed me fits “{query}”.{closest}", Matches(query, ())
    return f"What fits “{query}”: {'; '.join(parts)}.", Matches(query, (*items, *seen))


@tool(response_format="content_and_artifact", parse_docstring=True)
def compare_images(
    photos: list[int] | None = None,
    *,
    desk: Annotated[Desk, InjectedToolArg],
) -> tuple[str, Comparison]:
    """Say whether two photos show the same thing, and how similar they are.

    Args:
        photos: Numbers of the two photos; leave out for the last two.
    """
    chosen = desk.look(photos, least=2)
    if len(chosen) > 2:
        raise BadCall(f"I can compare two pictures at a time, not {len(chosen)}: name two.")
    a, b = (desk.sight.vector(p) for p in chosen)
    recognizer = desk.recall.recognizer()
    probability = (recognizer.same_thing(a, b) + recognizer.same_thing(b, a)) / 2
    similarity = recognizer.similarity(a, b)
    identical = chosen[0].id == chosen[1].id
    known = _both_known(desk, [desk.recall.recognise(p) for p in chosen])
    same = identical or (known[0] == known[1] if known else probability >= 0.5)
    result = Comparison((chosen[0].id, chosen[1].id), same, probability, similarity)
    if identical:
        return "They are the very same picture.", result
    alike = f"they are {'much' if similarity > 0.5 else 'not much'} alike ({similarity:.2f})"
    if known and known[0] == known[1]:
        return f"The same thing: both are {known[0]}; {alike}.", result
    if known:
        first, second = (article(k) for k in known)
        return f"Different things: {first} and {second}; {alike}.", result
    verdict = "probably the same thing" if same else "probably different things"
    sure = percent(probability if same else 1 - probability)
    return f"They show {verdict} ({sure}): {alike}.", result


@tool(response_format="content_and_artifact")
def explain_answer(*, desk: Annotated[Desk, InjectedToolArg]) -> tuple[str, Explanation | Answer]:
    """Show the exemplars and scores behind the last recognition, or what an answer rests on."""
    if desk.focus.answer is not None:
        return _grounds(desk.focus.answer), desk.focus.answer
    found = desk.focus.recognition
    if found is None:
        raise ToolError("I have not recognised anything yet: ask me what something is first.")
    return _reasons(found), Explanation(found)


def _both_known(desk: Desk, found: list[Recognition]) -> list[str]:
    if all(f.decision == "known" for f in found):
        return [f.candidates[0].name for f in found]
    return []


def _grounds(answer: Answer) -> str:
    """What an answer rests on: what the user told, or the picture alone."""
    pairs = list(dict.fromkeys((*answer.told, *answer.examples)))
    told = join([_pair(x, answer.photo_id) for x in pairs])
    if answer.source == "told":
        return f"You answered {told}. I did not look at the picture for it."
    looked = f"I looked at the picture and asked myself “{answer.question}”."
    if answer.examples:
        return f"{looked} Beside it I had your answers: {told}."
    if told:
        return f"{looked} You answered {told}; the two pictures are alike, and not the same."
    return f"{looked} Nothing you told me had a part in it."


def _pair(told: Told, photo_id: str) -> str:
    where = "this picture" if told.photo_id == photo_id else "a picture like this"
    alike = "" if told.photo_id == photo_id else f" ({told.similarity:.2f})"
    return f"“{told.answer}” to “{told.question}” for {where}{alike}"


def _reasons(found: Recognition) -> str:
    scores = join([f"{c.name} {percent(c.probability)}" for c in found.candidates[:3]])
    if found.source != "taught":
        where = "the names you gave" if found.source == "labels" else "the words I came with"
        return f"I compared the picture with {where}: {scores}. Nothing you taught me decided it."
    nearest = join(
        [f"{article(e.label)} (likeness {e.similarity:.2f})" for e in found.evidence], "and"
    )
    near = (
        f"The nearest of what you showed me: {nearest}." if nearest else "I was shown nothing near."
    )
    limit = (
        f"{percent(found.unknown)} that it is none of them; from {percent(found.threshold)} on "
        "I say that I don't know."
    )
    return f"{near} My odds: {scores}, and {limit}"
