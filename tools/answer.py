"""``answer_question``: a question about a photo, answered by looking at it.

Knows nothing of which answerer runs.
"""

import re
from typing import Annotated

from langchain_core.tools import InjectedToolArg, tool

from tools.artifacts import Answer
from tools.desk import Desk
from tools.errors import BadCall
from tools.images import Photo
from tools.outside import outside_note
from tools.wording import sentence

__all__ = ["answer_question"]

_LONGEST = 500


@tool(response_format="content_and_artifact", parse_docstring=True)
def answer_question(
    question: str,
    photos: list[int] | None = None,
    *,
    desk: Annotated[Desk, InjectedToolArg],
) -> tuple[str, list[Answer]]:
    """Answer a question about what is in a photo (colours, counts, positions, yes or no).

    Args:
        question: The question, as the user put it.
        photos: Numbers of the photos; leave out for those of this message, or the last one.
    """
    question = " ".join(question.split())
    if not question:
        raise BadCall("The question is empty: ask something about the picture.")
    if len(question) > _LONGEST:
        raise BadCall(f"The question is too long: ask in at most {_LONGEST} characters.")
    chosen = desk.look(photos)
    answers = [_answer(desk, photo, question) for photo in chosen]
    texts = [_worded(a, p) for a, p in zip(answers, chosen, strict=True)]
    if len(texts) > 1:
        numbers = desk.numbers(photos)
        texts = [f"Photo {n}: {t}" for n, t in zip(numbers, texts, strict=True)]
    return "\n".join(texts), answers


def _answer(desk: Desk, photo: Photo, question: str) -> Answer:
    text = desk.models.answerer.answer(
        photo, _in_known_words(desk, question), on_token=desk.on_token, stop=desk.stop
    )
    return Answer(photo.id, question, text, desk.sight.outside(photo))


def _in_known_words(desk: Desk, question: str) -> str:
    """The question with taught names replaced: the answerer has never heard of a zorb."""
    for label in desk.memory.state.labels.values():
        if not desk.sight.knows_word(label.name):
            question = re.sub(
                rf"\b{re.escape(label.name)}(?:s|es)?\b", "object", question, flags=re.IGNORECASE
            )
    return question


def _worded(answer: Answer, photo: Photo) -> str:
    parts = [sentence(answer.text) or "I have no answer to that."]
    if answer.outside:
        parts.append(outside_note())
    return " ".join([*parts, *photo.notes])
