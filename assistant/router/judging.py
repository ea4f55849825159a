"""Between what the tables make of a message and what the learned reader does: which is done.

The tables are exact where a line fits, and blind elsewhere; the reader has seen how people say
things, and tells how sure it is. Knows nothing of how either comes to it.
"""

import re
from collections.abc import Sequence
from enum import IntEnum

from assistant.router.actions import Action, Context
from assistant.router.guessing import LIKELY, NAMING, POSSIBLE, SURE, guessed, meant
from assistant.router.language import Language
from assistant.router.learned import Guess
from assistant.router.reading import Clause
from assistant.router.several import holds_one
from tools.memory.labels import name_key

__all__ = ["Fit", "judged"]

_CERTAIN = 0.95
"""From which the reader is followed against what a line says plainly."""
_BROAD = (
    *NAMING,
    "reject_label",
    "answer_question",
    "caption_image",
    "classify_image",
    "find_similar",
    "report_knowledge",
    "undo",
)
"""What lines lead to that hold many words of which they know nothing; the others say it."""
_GOES_ON = re.compile(r"\s+(?:of|von|vom|de|du|des|del)\s+\S", re.I)
"""What a name goes on with that has a second part."""
_UNHEARD = ("cancel_training", "use_adapter", "import_memory")
"""What no example is for."""
_ABOUT_ONE_THING = (
    *NAMING, "reject_label", "find_similar", "classify_image", "answer_question", "caption_image",
)  # fmt: skip
"""What the tables make of one statement about a picture when they take it apart."""
_OF_TAUGHT = ("forget_label", "rename_label", "alias_label", "merge_labels")
_TAKES_BACK = (*_OF_TAUGHT, "undo", "forget_pictures", "forget_since", "")
"""What may be meant by an order to forget what nobody taught; "" asks whether to forget all."""
_LONG_NAME = 3  # words
_FILLED = (*NAMING, *_OF_TAUGHT, "teach_answer")


class Fit(IntEnum):
    """How well the tables know a message."""

    NOT = 0
    PART = 1
    """Lines fit pieces of it, or some of its words."""
    LINE = 2
    """A line fits a whole sentence of it, or each half of one."""


_FROM = {Fit.NOT: POSSIBLE, Fit.PART: LIKELY, Fit.LINE: 0.85}
"""The probability from which the reader is followed; a name it gives is likely at least."""
_CLEARLY = {Fit.NOT: 0.0, Fit.PART: 0.6, Fit.LINE: 0.8}
"""How sure of a name the reader must be to put it in place of a line's."""


def judged(
    message: str,
    found: Sequence[Clause],
    actions: Sequence[Action],
    fit: Fit,
    context: Context,
) -> Sequence[Action]:
    """``actions``, or what the learned reader has in their place.

    ``found`` are the clauses of the message, ``fit`` says how well the tables know it.
    """
    understood = fit is not Fit.NOT
    if not found or context.wiping or (context.doubt is not None and understood):
        return actions  # a question is open that only few words answer
    tongue = found[0].tongue
    guess = guessed(message, tongue, context)
    pointing = any(c.photos for c in found)
    if pointing and (understood or len(found) > 1) and not _of_no_picture(guess):
        return actions
    told = next((a for a in actions if a.tool), None)
    if told is not None and fit is Fit.LINE and told.tool not in (*_BROAD, *_FILLED):
        return actions  # a line says it
    if guess is None or guess.probability < _FROM[Fit.NOT]:
        return actions
    several = [a for a in actions if a.tool] if understood else []
    one = len(several) < 2 or holds_one(message, tongue, context)
    if not (one or _may_be_one(several)):
        return actions  # several things are done: that is for the tables
    clause = found[0]
    if len(found) > 1:
        asking = [c for c in found if c.question]
        whole = Clause(tongue.read(message), bool(asking), tongue)
        clause = asking[0] if guess.intent == "ask" and len(asking) == 1 else whole
    done = meant(guess, clause, context)
    if done is None:
        return actions
    if len(several) > 1:
        better = _is_all_of(guess, done, several, fit, one=one)
    elif done.tool in NAMING and _asked_about(guess, found):
        better = False
    elif told is None:
        better = _beats_words(guess, done, fit, context, tongue)
    else:
        better = _beats(guess, done, told, fit, context)
    return [done] if better else actions


def _of_no_picture(guess: Guess | None) -> bool:
    """Whether "all of them" hardly points at pictures: "which names do you know, all of them"."""
    return guess is not None and guess.intent == "known" and guess.probability >= SURE


def _asked_about(guess: Guess, found: Sequence[Clause]) -> bool:
    """Whether a name was rather asked about than given: "How did you see that it was a zorb?"."""
    sure = guess.probability >= SURE
    asking = [c for c in found if c.marked or (c.question and not sure)]
    named = any(guess.slots["label"] in c.text for c in asking)
    return named or guess.probability < LIKELY


def _is_all_of(
    guess: Guess, done: Action, several: Sequence[Action], fit: Fit, *, one: bool
) -> bool:
    """Whether what the tables take for several things is one: "A zorb?? That's Nan!"."""
    asked = any("labels" in (a.args or {}) for a in several)  # "zorb or blick, what is it?"
    if one and not asked:
        return guess.probability >= SURE and bool(done.tool)  # "where is Rex, circle him"
    looks = done.tool in ("classify_image", "caption_image") and not asked
    enough = _CERTAIN if done.tool in NAMING or fit is Fit.LINE else SURE
    return (done.tool in NAMING or looks) and guess.probability >= enough


def _beats_words(guess: Guess, done: Action, fit: Fit, context: Context, tongue: Language) -> bool:
    """Whether it is done where the tables would only say something."""
    if done.tool in NAMING and fit is Fit.LINE:  # "hallo", "Smashing!"
        about = context.turn_photos or context.asked or context.recognised is not None
        told = tongue.vocabulary.issuperset(tongue.read(_label(done)).words)
        enough = _CERTAIN if context.turn_photos else SURE
        return bool(about) and not told and guess.probability >= enough
    return guess.probability >= _FROM[fit] and bool(done.tool or fit is Fit.NOT)


def _beats(guess: Guess, done: Action, told: Action, fit: Fit, context: Context) -> bool:
    """Whether it is done in place of what the tables would do."""
    understood, certain = fit is not Fit.NOT, guess.probability >= _CERTAIN
    if told.tool in NAMING and _swallowed(guess, _label(told), context):
        return True
    untaught = told.tool in _OF_TAUGHT and _label(told) not in context.labels
    if untaught and told.tool == done.tool:
        return True  # "chuck all of blick in the bin": a label that nobody taught is none
    other = untaught and done.tool in _TAKES_BACK  # "forget all of it, all": no label
    if guess.probability < (LIKELY if other else _FROM[fit]):
        return False
    if told.tool == "reject_label" and done.tool in NAMING and _label(told) == _label(done):
        return False  # "neither is a zorb"
    if fit is Fit.LINE and (told.tool, done.tool) == ("answer_question", "detect_objects"):
        return False  # "where's the zorb?" wants words
    if told.tool == done.tool == "classify_image":
        return "labels" in (done.args or {}) and "labels" not in (told.args or {})
    if guess.intent == "find_label" and told.tool == done.tool:
        return True  # "pull up | the blick flicks"
    if told.tool == done.tool or {told.tool, done.tool} <= set(NAMING):
        # The tables know more of photos, times and several names; not where a name ends.
        clear = min(guess.surety.values(), default=0.0) >= _CLEARLY[fit]
        more = _label(told).removeprefix(_label(done))  # "Uncle Pip | of the Moon"
        longer = understood and _GOES_ON.match(more) is not None
        return clear and not longer and _names(told) != _names(done)
    if told.tool in _UNHEARD or (done.options and guess.intent == "teach" and understood):
        return False
    if fit is Fit.LINE and told.tool not in _BROAD and not untaught:
        return certain and told.tool in _FILLED
    if fit is Fit.PART and not done.tool and guess.probability >= SURE:
        return True  # "I'll ask | and get back to you"
    if guess.intent == "nothing" and told.tool in NAMING and not context.turn_photos:
        return guess.probability >= LIKELY  # "what a mess this is"
    kept = told.tool in NAMING and done.tool not in (*_OF_TAUGHT, "undo", "reject_label")
    if fit is Fit.LINE and not certain and (kept or not done.tool):
        return False
    if understood and told.tool == "classify_image" and "labels" in (told.args or {}):
        return done.tool not in NAMING  # "a zorb or a blick?", "a zorb, I think"
    return bool(done.tool or done.options) or not understood or told.tool in NAMING


def _swallowed(guess: Guess, label: str, context: Context) -> bool:
    """Whether a line took much of a sentence for a name: "this my boy | Ned | remember him"."""
    name = guess.slots.get("label", "")
    if guess.intent != "teach" or label in context.labels or name == label or name not in label:
        return False
    known = name.casefold() in {x.casefold() for x in context.labels}  # "just zorb | now, right"
    return known or (label.islower() and len(label.split()) > _LONG_NAME)


def _may_be_one(actions: Sequence[Action]) -> bool:
    """Whether all that is done may be one statement of what one picture shows."""
    named = [a for a in actions if a.tool in NAMING]
    return (
        len(named) < 2
        and all(a.tool in _ABOUT_ONE_THING for a in actions)
        and not any("photos" in (a.args or {}) for a in actions)
    )


def _label(action: Action) -> str:
    return str((action.args or {}).get("label", ""))


def _names(action: Action) -> list[str]:
    """What its slots were filled with, of a tool that takes names."""
    if action.tool not in _FILLED:
        return []
    args = action.args or {}
    return [
        name_key(str(args[k])) for k in ("label", "new", "alias", "into", "answer") if k in args
    ]
