"""``teach_answer``: what the user answers to a question about a picture, and when it applies.

Knows nothing of models. A remembered answer is text that is given back or shown to a model beside
a picture; nothing ever reads an order in it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from langchain_core.tools import InjectedToolArg, tool

from tools.artifacts import Change, Told
from tools.desk import Desk
from tools.errors import BadCall, MemoryFailed
from tools.images import Photo
from tools.memory import RememberedAnswer
from tools.memory.labels import clean_text
from tools.quality import SAME_PIXELS, SAME_VECTOR, thumbnail_difference
from tools.questions import SAME_QUESTION, likeness
from tools.wording import count

__all__ = [
    "MAX_TEXT",
    "MOST_EXAMPLES",
    "Recollection",
    "recollect",
    "teach_answer",
    "with_examples",
]

MAX_TEXT = 500
"""Characters of a question, or of an answer."""
MOST_EXAMPLES = 4
"""Pairs that a model is shown with a question."""
_SAME_THING = 0.5
_LOOKED_AT = 8  # pictures, the nearest by plain cosine, that are compared closely


@dataclass(frozen=True)
class Recollection:
    """What the user told of pictures that show the same thing, the nearest first."""

    told: tuple[Told, ...] = ()
    question: tuple[Told, ...] = ()
    """Those of ``told`` that answer the very question."""
    same: bool = False
    """The nearest of ``question`` is of this very picture, or of a copy of it."""


@tool(response_format="content_and_artifact", parse_docstring=True)
def teach_answer(
    question: str,
    answer: str,
    photos: list[int] | None = None,
    *,
    desk: Annotated[Desk, InjectedToolArg],
) -> tuple[str, Change]:
    """Remember the answer to a question about a photo, for this one and others like it.

    Args:
        question: The question, as the user put it.
        answer: The user's answer.
        photos: Numbers of the photos; leave out for those of this message, or the last one.
    """
    question, answer = _text("question", question), _text("answer", answer)
    chosen = desk.look(photos)
    for photo in chosen:
        desk.recall.offer(photo)
    new = desk.memory.remember(question, answer, chosen)
    desk.recall.recognizer()
    change = Change(
        "answered" if new else "known",
        question,
        tuple(p.id for p in chosen),
        len(desk.memory.state.answers),
        other=answer,
    )
    if not new:
        return f"I know that already: “{question}” is answered “{answer}” here.", change
    where = "this picture" if len(chosen) == 1 else f"these {count(len(chosen), 'picture')}"
    return (
        f"Remembered: when you ask “{question}” of {where}, or of one just like it, "
        f"the answer is “{answer}”.",
        change,
    )


def recollect(desk: Desk, photo: Photo, question: str) -> Recollection:
    """What was told of pictures like ``photo``, and what of it answers ``question``."""
    answers = desk.memory.state.answers.values()
    if not answers:
        return Recollection()
    asked = {a: likeness(question, a.question, desk.memory.state.names) for a in answers}
    near = _near(desk, photo, dict.fromkeys(a.photo_id for a in answers))
    # Of the nearest picture what fits the question best, and of that what was said last.
    mine = sorted(
        (a for a in answers if a.photo_id in near),
        key=lambda a: (-near[a.photo_id], -asked[a], -a.seq),
    )
    told = {a: Told(a.photo_id, a.question, a.answer, near[a.photo_id]) for a in mine}
    fitting = [a for a in mine if asked[a] >= SAME_QUESTION]
    return Recollection(
        tuple(told.values()),
        tuple(told[a] for a in fitting),
        bool(fitting) and _is_copy(desk, photo, fitting[0], near),
    )


def with_examples(question: str, told: Sequence[Told]) -> str:
    """The question, and before it what was told of pictures like this one."""
    lines = [
        f"Of a picture like this one, “{t.question}” was answered “{t.answer}”."
        for t in told[:MOST_EXAMPLES]
    ]
    return "\n".join([*lines, question])


def _near(desk: Desk, photo: Photo, photo_ids: Iterable[str]) -> dict[str, float]:
    """The pictures that show the same thing as ``photo``, with their cosine in [-1, 1]."""
    vectors = desk.memory.vectors(desk.sight.embedder)
    query, recognizer = desk.sight.vector(photo), desk.recall.recognizer()
    nearest = sorted(photo_ids, key=lambda i: -float(vectors[i] @ query))[:_LOOKED_AT]
    found = {}
    for photo_id in nearest:
        if photo_id == photo.id:
            found[photo_id] = 1.0
        elif recognizer.same_thing(vectors[photo_id], query) >= _SAME_THING:
            found[photo_id] = recognizer.similarity(vectors[photo_id], query)
    return found


def _is_copy(desk: Desk, photo: Photo, answer: RememberedAnswer, near: Mapping[str, float]) -> bool:
    if answer.photo_id == photo.id:
        return True
    if near[answer.photo_id] < SAME_VECTOR:
        return False
    try:
        shown = desk.memory.photos.get(answer.photo_id)
    except MemoryFailed:
        return False  # a lost file is told where it matters
    return thumbnail_difference(photo, shown) <= SAME_PIXELS


def _text(what: str, text: str) -> str:
    text = clean_text(text)
    if not any(c.isalnum() for c in text):
        raise BadCall(f"The {what} is empty: say “when I ask …, the answer is …”.")
    if len(text) > MAX_TEXT:
        raise BadCall(f"The {what} is too long: say it in at most {MAX_TEXT} characters.")
    return text
