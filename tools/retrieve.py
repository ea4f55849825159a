"""``find_similar``, ``compare_images`` and ``explain_answer``: exemplars as answers and as reasons.

Knows nothing of how memory stores them.
"""

from typing import Annotated

from langchain_core.tools import InjectedToolArg, tool

from tools.artifacts import Comparison, Explanation, Matches, Recognition, Shown
from tools.desk import Desk
from tools.errors import BadCall, ToolError
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
    if not any(e.positive for e in state.exemplars.values()):
        raise ToolError("There is nothing to look through yet: teach me something first.")
    query = " ".join((query or "").split())
    label = state.find(query) if query else None
    if label is not None:
        items = [Shown(e.photo_id, label.name, 1.0) for e in state.of(label.id)]
        text = f"{capital(label.name)}: {count(len(items), 'picture')} you showed me."
        return text, Matches(label.name, tuple(items))
    vector = desk.sight.words([query])[0] if query else desk.sight.vector(desk.look(photos)[0])
    found = desk.memory.search(desk.sight.embedder, vector, _FOUND)
    items = [
        Shown(m.exemplar.photo_id, state.labels[m.exemplar.label_id].name, m.similarity)
        for m in found
    ]
    names = list(dict.fromkeys(i.label for i in items))
    like = f"“{query}”" if query else "this"
    text = f"The pictures you showed me that are most like {like}: {join(names)}."
    return text, Matches(query, tuple(items))


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
def explain_answer(*, desk: Annotated[Desk, InjectedToolArg]) -> tuple[str, Explanation]:
    """Show the exemplars and scores behind the last recognition."""
    found = desk.focus.recognition
    if found is None:
        raise ToolError("I have not recognised anything yet: ask me what something is first.")
    return _reasons(found), Explanation(found)


def _both_known(desk: Desk, found: list[Recognition]) -> list[str]:
    if all(f.decision == "known" for f in found):
        return [f.candidates[0].name for f in found]
    return []


def _reasons(found: Recognition) -> str:
    scores = join([f"{c.name} {percent(c.probability)}" for c in found.candidates[:3]])
    if found.source != "taught":
        where = "the names you gave" if found.source == "labels" else "the words I came with"
        return f"I compared the picture with {where}: {scores}. Nothing you taught me decided it."
    nearest = join([f"{article(e.label)} ({e.similarity:.2f})" for e in found.evidence], "and")
    near = (
        f"The nearest of what you showed me: {nearest}." if nearest else "I was shown nothing near."
    )
    limit = (
        f"That it is none of them: {percent(found.unknown)}; above {percent(found.threshold)} "
        "I say that I don't know."
    )
    return f"{near} The labels: {scores}. {limit}"
