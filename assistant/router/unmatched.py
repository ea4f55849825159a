"""What no line of the table fits: a name, an answer, a question about the picture, or neither.

Knows nothing of how a message is taken apart.
"""

import re

from assistant.router.actions import Action, Context
from assistant.router.guessing import (
    LIKELY,
    NAMING,
    as_question,
    asked_first,
    guessed,
    meant,
    photo_alone,
    with_photos,
)
from assistant.router.language import LONGEST, language
from assistant.router.names import mentioned, name_in, proper_name
from assistant.router.reading import Clause, pieces
from assistant.router.spelling import tokens_of
from assistant.router.teaching import teach_action
from tools.wording import is_plural, singular

__all__ = ["ORDERS", "unmatched"]

_DEICTIC = re.compile(
    r"\b(?:it|its|this|that|these|those|they|them|he|she|there|picture|photo|image|drawing|here|"
    r"colou?rs?|how many|see|left|right|above|below|top|bottom|background|shape|object|wearing|"
    r"holding|count|bigger|smaller|largest)\b",
    re.I,
)
# What begins like this is a sentence and no name.
_TELLS = re.compile(
    r"(?:this|that|these|those|it|i|we|you|he|she|they|there|here|its|let|do|don't|please|can)\b",
    re.I,
)
_NAME_PARTS = 8  # words, or Chinese signs, of a name that stands alone
ORDERS = re.compile(r"(?:count|read|point|locate|answer)\b", re.I)
"""What begins like this asks without a question mark."""
_ABOUT_PARTS = re.compile(
    r"(?:how (?:many|big|old|tall|much|long)|what colou?r|which colou?r|where|colou?r)\b|"
    r".*\b(?:doing|wearing|holding|have|has|got|made of|sitting|standing|lying|"
    r"hid(?:es|ing)|corner)\b",
    re.I,
)


def unmatched(
    clause: Clause, context: Context, later: bool, *, alone: bool = False
) -> list[Action]:
    """A clause that no line of the table fits: a name, a question about the picture, or neither.

    ``later``: something was understood before it; ``alone``: it is the whole message, which is read
    once all is taken apart.
    """
    text, tongue = clause.text, clause.tongue
    has_photo = bool(context.turn_photos or context.photo_count or clause.photos)
    short = len(clause.sentence.words) <= LONGEST
    known = mentioned(text, context.labels) if short else []
    name = name_in(text, context.labels, typos=True, tongue=tongue) if short else None
    ordered = ORDERS.match(text) is not None
    if name not in context.labels and (_TELLS.match(text) or _remarks(clause)):
        name = None
    if name and not clause.question and not ordered and not later:
        if context.turn_photos:
            if len(context.turn_photos) > 1 and is_plural(name) and name.islower():
                name = singular(name)
            return [with_photos(Action("teach_label", {"label": name}), clause)]
        if context.asked or (name in context.labels and context.recognised):
            return [with_photos(teach_action(name, context), clause)]
        if name in context.labels:
            return [Action("find_similar", {"query": name})]
    if context.asked and not clause.question and short and (told := _answer(clause, context)):
        return [with_photos(told, clause)]
    guess = None if alone else guessed(text, tongue, context)
    if guess is not None and guess.probability > LIKELY and guess.intent != "ask":
        done = meant(guess, clause, context)
        if done is not None and not (done.tool in NAMING and clause.question):
            return [done]
    if not clause.question and not later and (context.turn_photos or context.asked):
        name = proper_name(clause.sentence, tongue)
        if name is not None and name not in context.labels:
            return [asked_first(Action("teach_label", {"label": name}), tongue)]
    if clause.question or ordered:
        about = bool(
            context.turn_photos or clause.photos or later or _DEICTIC.search(text) or known
        )
        if about and not has_photo:
            return [Action(text=tongue.said("send_first"))]
        if known and not ordered and not _ABOUT_PARTS.match(text):
            if not context.turn_photos and not clause.photos and not _DEICTIC.search(text):
                return [Action("find_similar", {"query": known[0]})]
            return [with_photos(Action("classify_image", {"labels": known[:1]}), clause)]
        if about:
            question = as_question(text, clause.question)
            return [with_photos(Action("answer_question", {"question": question}), clause)]
        return [Action(text=tongue.said("cant_answer"))]
    if later:
        return []
    if context.turn_photos or clause.photos:
        return [with_photos(photo_alone(context), clause)]
    return [Action(text=tongue.said("not_understood"))]


def _answer(clause: Clause, context: Context) -> Action | None:
    """What "what is it?" is told among other words: a name that was said before, or a noun last."""
    if clause.tongue.fits("doubts", clause.text) or clause.tongue.fits("denials", clause.text):
        return None
    guesses = [c.name for c in context.recognised.candidates] if context.recognised else []
    names = mentioned(clause.text, list(dict.fromkeys((*context.labels, *guesses))))
    if len(names) == 1:
        return teach_action(names[0], context)
    for piece in reversed(pieces(clause, joined=False)):
        if not names and piece.sentence.words[0] in ("a", "an"):
            name = name_in(piece.text, context.labels, tongue=clause.tongue)
            return teach_action(name, context) if name else None
    return None


def _remarks(clause: Clause) -> bool:
    """Whether what stands alone is too long for a name, or what people say of a picture."""
    parts = tokens_of(clause.text)
    return (
        len(clause.text.split()) > 4
        or len(parts) > _NAME_PARTS
        or any(t.fits("remarks", clause.text) for t in (clause.tongue, language("en")))
    )
