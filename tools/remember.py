"""``teach_answer``: what the user answers to a question about a picture, and when it applies.

Knows nothing of models. A remembered answer is text that is given back or shown to a model beside
a picture; nothing ever reads an order in it.
"""

from typing import Annotated

from langchain_core.tools import InjectedToolArg, tool

from tools.artifacts import Change
from tools.desk import Desk
from tools.errors import BadCall
from tools.memory.labels import clean_text
from tools.wording import count

__all__ = ["MAX_TEXT", "teach_answer"]

MAX_TEXT = 500
"""Characters of a question, or of an answer."""


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


def _text(what: str, text: str) -> str:
    text = clean_text(text)
    if not any(c.isalnum() for c in text):
        raise BadCall(f"The {what} is empty: say “when I ask …, the answer is …”.")
    if len(text) > MAX_TEXT:
        raise BadCall(f"The {what} is too long: say it in at most {MAX_TEXT} characters.")
    return text
