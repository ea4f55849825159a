"""``answer_question``: a question about a photo, answered by looking, and by what the user told.

Knows nothing of which answerer runs. What the user answered for the very picture or a copy of it
is given back; of a picture that shows the same thing it is said beside what the model sees, and
shown to models that take examples.
"""

import re
from collections.abc import Sequence
from typing import Annotated

from langchain_core.tools import InjectedToolArg, tool

from tools.adapted import answered
from tools.artifacts import Answer, Artifact
from tools.classify import recognise, worded
from tools.desk import Desk
from tools.errors import BadCall
from tools.images import Photo
from tools.looking import look_closer
from tools.memory.labels import name_key
from tools.outside import outside_note
from tools.questions import HAVING, content_words, unread
from tools.remember import MAX_TEXT, MOST_EXAMPLES, recollect, with_examples
from tools.wording import capital, join, sentence

__all__ = ["answer_question"]


@tool(response_format="content_and_artifact", parse_docstring=True)
def answer_question(
    question: str,
    photos: list[int] | None = None,
    *,
    desk: Annotated[Desk, InjectedToolArg],
) -> tuple[str, list[Artifact]]:
    """Answer a question about what is in a photo (colours, counts, positions, yes or no).

    Args:
        question: The question, as the user put it.
        photos: Numbers of the photos; leave out for those of this message, or the last one.
    """
    question = " ".join(question.split())
    if not question:
        raise BadCall("The question is empty: ask something about the picture.")
    if len(question) > MAX_TEXT:
        raise BadCall(f"The question is too long: ask in at most {MAX_TEXT} characters.")
    chosen = desk.look(photos)
    found = [_answer(desk, photo, question) for photo in chosen]
    texts = [text for text, _ in found]
    if len(texts) > 1:
        numbers = desk.numbers(photos)
        texts = [f"Photo {n}: {t}" for n, t in zip(numbers, texts, strict=True)]
    said = "\n".join(x for x in (*texts, desk.models.adapters.news()) if x)
    return said, [artifact for _, artifact in found]


def _answer(desk: Desk, photo: Photo, question: str) -> tuple[str, Artifact]:
    """The answer in words and as it is kept; of a question in words unknown, what is seen."""
    known = recollect(desk, photo, question)
    if known.same:
        told = known.question[:1]
        return _worded(Answer(photo.id, question, told[0].answer, source="told", told=told), photo)
    adapted = answered(desk, photo, question)
    if adapted is not None:
        text, adapter = adapted
        outside = desk.sight.outside(photo)
        told = known.question[:1]
        return _worded(Answer(photo.id, question, text, outside, told=told, adapter=adapter), photo)
    looked = look_closer(desk.sight, photo, question, desk.recall)
    if looked is not None:
        outside = desk.sight.outside(photo)
        return _worded(Answer(photo.id, question, looked, outside, told=known.question[:1]), photo)
    asked = _in_known_words(desk, question)
    model = desk.models.answerer
    left = unread(asked, model.words) if model.words else ()
    nothing_read = set(content_words(asked)) <= set(left) and HAVING.isdisjoint(left)
    if left and nothing_read and not known.question:
        seen = recognise(desk, photo)
        return f"{_why(left)}. {worded(seen, [], photo)}", seen
    shown = known.told if model.takes_examples else ()
    text = model.answer(photo, with_examples(asked, shown), on_token=desk.on_token, stop=desk.stop)
    answer = Answer(
        photo.id,
        question,
        text,
        desk.sight.outside(photo),
        told=known.question[:1],
        examples=shown[:MOST_EXAMPLES],
        unread=left,
    )
    return _worded(answer, photo)


def _in_known_words(desk: Desk, question: str) -> str:
    """The question with taught names replaced: the answerer has never heard of a zorb."""
    for name in sorted(desk.memory.state.names, key=len, reverse=True):
        if not desk.sight.knows_word(name):
            question = re.sub(
                rf"\b{re.escape(name)}(?:s|es)?\b", "object", question, flags=re.IGNORECASE
            )
    return question


def _worded(answer: Answer, photo: Photo) -> tuple[str, Answer]:
    parts = [_said(answer)]
    if answer.outside:
        parts.append(outside_note())
    return " ".join([*parts, *photo.notes]), answer


def _said(answer: Answer) -> str:
    """The answer; what the user told is said to be theirs."""
    seen = sentence(answer.text) or "I have no answer to that."
    if answer.unread:
        seen = f"{_why(answer.unread)}; my guess: {seen[:1].lower()}{seen[1:]}"
    if not answer.told:
        return seen
    told = answer.told[0]
    where = "this picture" if told.photo_id == answer.photo_id else "a picture like this"
    if answer.source == "told" or name_key(told.answer) == name_key(answer.text.rstrip(".")):
        return f"{capital(told.answer.rstrip('.'))}, as you told me for {where}."
    return f"{seen} For {where} you told me: {sentence(told.answer)}"


def _why(unread: Sequence[str]) -> str:
    if HAVING.intersection(unread):
        return "I know whole things, not what they have"
    words = join([f"“{word}”" for word in unread[:2]])
    return f"I don't know the {'word' if len(unread) == 1 else 'words'} {words}"
