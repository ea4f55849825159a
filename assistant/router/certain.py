"""What the learned reader is so sure of that no line of the tables has to be looked at.

Knows nothing of how the tables are read. What only they know is left to them: pictures that are
pointed at, several wishes or names, what is told beside a name.
"""

import re
from collections.abc import Sequence

from assistant.router.actions import Action, Context
from assistant.router.guessing import SURE, guessed, meant
from assistant.router.language import Language
from assistant.router.learned import Guess
from assistant.router.reading import Clause
from assistant.router.several import holds_one

__all__ = ["certain"]

_LIKELY = 0.65
"""How likely what a message means must be."""
_CLEARLY = 0.8
"""How likely each word of what fills a slot must belong to it."""
_OF_TABLES = ("compare", "detect", "export_memory", "forget", "forget_today", "merge", "train")
"""Of which or since when it is meant: that has more to it than the reader has slots for."""
_SAID = ("dont_know", "forget_all", "off_topic")
"""What words are the answer to."""
_TOLD_MORE = re.compile(r"\s*(?:[:;,(=–—：；，（]|-+\s)")
"""What stands after a name of which more is told: "zorb: a round blue toy"."""


def certain(
    message: str, found: Sequence[Clause], context: Context, *, sole: bool
) -> Action | None:
    """What to do about a message that can hardly mean anything else; None for any other one.

    ``found`` are its clauses; ``sole``: whether no other language has as many of its words.
    """
    if context.wiping or context.doubt is not None:
        return None  # a question is open that only few words answer
    if not found:
        return None
    tongue = found[0].tongue
    guess = guessed(message, tongue, context)
    if guess is None or guess.probability < _LIKELY or guess.intent in _OF_TABLES:
        return None
    if guess.probability < SURE and not holds_one(message, tongue, context):
        return None
    if guess.intent != "undo" and any(c.photos for c in found):
        return None  # "take back that last one" is said of no picture
    if min(guess.surety.values(), default=1.0) < _CLEARLY or _says_more(guess, message, tongue):
        return None
    asking = [c for c in found if c.question]
    whole = Clause(tongue.read(message), bool(asking), tongue)
    clause = found[0] if len(found) == 1 else whole
    if guess.intent == "ask" and len(asking) == 1:
        clause = asking[0]
    action = meant(guess, clause, context)
    if action is None or action.tool == "correct_label":
        return None  # what is corrected to what, the tables know better
    if not action.tool and (guess.intent not in _SAID or guess.probability < SURE):
        return None
    name = str((action.args or {}).get("label", ""))
    new = action.tool == "teach_label" and name not in context.labels
    if new and not (sole and not tongue.vocabulary.issuperset(tongue.read(name).words)):
        return None  # "hallo", "c'est l'okapi"
    return action


def _says_more(guess: Guess, message: str, tongue: Language) -> bool:
    """Whether a message has more names, or more to say of one, than the reader has slots for."""
    label = guess.slots.get("label")
    if guess.intent == "report" and label is None:
        return True  # "how well do you know it?"
    if guess.intent == "ask":
        return tongue.code != "en"  # which of them have words that the answerer knows
    if guess.intent in ("is_it", "report"):
        return re.search(rf"\b(?:{tongue.between})\b|还是|[,，、/]", message, re.I) is not None
    if guess.intent == "teach" and label is not None:
        rest = message[message.rfind(label) + len(label) :]
        return _TOLD_MORE.match(rest) is not None
    return False
