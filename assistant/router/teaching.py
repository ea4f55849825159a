"""Handlers of what people say of a picture: it is this, it is not that.

Knows nothing of how a message is taken apart; orders to memory are for
:mod:`assistant.router.ordering`.
"""

import re
from dataclasses import replace
from typing import Any

from assistant.router.actions import Action, Context
from assistant.router.language import Reading
from assistant.router.names import find_known, name_in
from assistant.router.pointing import OF_MANY, POINTED, Handler, discussed, label_in
from assistant.router.reading import Clause
from tools.wording import article, is_plural

__all__ = ["TEACHING", "teach_action"]

_COLOUR = re.compile(
    r"(?:(?:dark|light|bright|pale) )?(?:red|blue|green|yellow|black|white|orange|purple|pink|"
    r"brown|gr[ea]y|one|none|eleven|twelve|a dozen)",
    re.I,
)
_SHOULD = re.compile(r"(?:should|must)(?:'ve| have| be)\b", re.I)  # "should be blick" asks nothing
_SPELT = re.compile(r"\b(?:spell|spelled|spelt|spelling|written|meant)\b", re.I)
_THE_MANY = re.compile(r"(?:the|some|all|two|three|four|five|several|many|more)\b", re.I)
_MANY = re.compile(
    r"(?:these|those|they|both|all|here are|here's some|two|three|four|several|some|others)\b|"
    r"(?:the last|the first) two\b|.*\b(?:under|(?:to|with|among|into|in) (?:the|my|our)) \w+s$",
    re.I,
)


def teach_action(label: str, context: Context, description: str | None = None) -> Action:
    """Teaching what was just recognised or taught as something else is correcting."""
    found = context.recognised
    if not context.turn_photos and found is not None and found.source == "taught":
        best = found.candidates[0].name if found.candidates else ""
        if found.decision == "known" and best.casefold() != label.casefold():
            return Action("correct_label", {"label": label, "wrong": best})
    args = {"label": label}
    if description:
        args["description"] = description.strip()
    return Action("teach_label", args)


def _on_teach(reading: Reading, clause: Clause, context: Context) -> Action | None:
    slot = reading.slots["label"]
    described = reading.slots.get("description")
    if described and POINTED.fullmatch(described):
        described = None  # "zorb = this"
    if described and clause.tongue.denying.issuperset(clause.tongue.read(described).words):
        return None  # "Expected: no"
    if described and clause.text.startswith(slot) and not context.turn_photos:
        return None  # "zorb: a round toy" speaks of the picture that comes with it
    several = len(context.turn_photos) > 1 or _THE_MANY.match(slot) is not None
    plural = several and is_plural(slot) and slot.split()[-1].islower()
    plural = (
        plural or _MANY.match(clause.text) is not None or OF_MANY.search(clause.text) is not None
    )
    label = name_in(slot, context.labels, plural=plural, tongue=clause.tongue)
    if label is None:
        return None
    if clause.marked:
        return Action("classify_image", {"labels": [label]})
    action = teach_action(label, context, described)
    action = replace(action, naming=clause.tongue.fits("naming", clause.text))
    if (
        " and " in clause.text.casefold().split(" are ")[0]
        and clause.photos
        and context.turn_photos
    ):
        # "this one and the first one are zorbs"
        photos = sorted({*clause.photos, *context.turn_photos})
        return replace(action, args={**(action.args or {}), "photos": photos})
    return action


def _on_teach_all(reading: Reading, clause: Clause, context: Context) -> Action | None:
    """ "Everything I sent so far is a zorb"."""
    label = name_in(reading.slots["label"], context.labels, plural=True, tongue=clause.tongue)
    if label is None or clause.question or not context.photo_count:
        return None
    return Action(
        "teach_label", {"label": label, "photos": list(range(1, context.photo_count + 1))}
    )


def _on_teach_bare(reading: Reading, clause: Clause, context: Context) -> Action | None:
    """ "Zorb, a round toy": what follows the comma says what it is."""
    described = re.match(r"(?:an?|my|the|our) ", reading.slots["description"], re.I)
    return _on_described(reading, clause, context) if described else None


def _on_teach_here(reading: Reading, clause: Clause, context: Context) -> Action | None:
    """ "I found a zorb": of the picture that comes with it."""
    return _on_teach(reading, clause, context) if context.turn_photos else None


def _on_described(reading: Reading, clause: Clause, context: Context) -> Action | None:
    """A description begins with an article or comes after a colon; "…, right?" is none."""
    if clause.question or len(reading.slots["label"].split()) > 3:
        return None
    if clause.tongue.fits("naming", reading.slots["description"]):
        return None  # "…, but at home its name is Rex": the name comes after the comma
    sentence = clause.tongue.read(reading.slots["description"])
    said = sentence.words
    if clause.tongue.fits("doubts", reading.slots["description"]):
        label = label_in(reading, clause, context)
        return Action("classify_image", {"labels": [label]}) if label else None
    aside = clause.tongue.block("no_description")
    if said and (
        said[0] in clause.tongue.reasons or (aside and aside.ends(sentence, 0))
    ):  # "…, if you please" describes nothing
        slots = {"label": reading.slots["label"]}
        return _on_teach(Reading(reading.intent, slots), clause, context)
    if said and (said[0] in clause.tongue.asking or said[0].isdecimal()):
        return None  # "…, how many eyes has it got" asks; "…, 3 is a blick" speaks of another
    if POINTED.fullmatch(reading.slots["description"]) or " " not in reading.slots["description"]:
        slots = {"label": reading.slots["label"]}  # "…, silly"
        return _on_teach(Reading(reading.intent, slots), clause, context)
    return _on_teach(reading, clause, context)


def _on_correct(reading: Reading, clause: Clause, context: Context) -> Action | None:
    # Who spells a name out, or says what was meant, has typed it as it should be.
    label = label_in(reading, clause, context, typos=_SPELT.search(clause.text) is None)
    asks = clause.marked or (clause.question and _SHOULD.match(clause.text) is None)
    if label is None or asks:
        return None
    if label == discussed(context):  # nobody corrects a name to itself: a letter off is another
        label = label_in(reading, clause, context, typos=False) or label
    args: dict[str, Any] = {"label": label}
    wrong = label_in(reading, clause, context, "other") if "other" in reading.slots else None
    if "other" in reading.slots and wrong is None:
        return None
    nothing = context.recognised is None and context.changed is None
    if wrong and wrong != label and (find_known(wrong, context.labels) or not nothing):
        args["wrong"] = wrong
    elif context.turn_photos:
        return Action("teach_label", args)
    return Action("correct_label", args)


def _on_correct_name(reading: Reading, clause: Clause, context: Context) -> Action | None:
    """ "No, blick": only a short name, and only when there is something to contradict."""
    something = context.recognised or context.turn_photos or context.changed
    if len(reading.slots["label"].split()) > 4 or not something:
        return None
    return _on_correct(reading, clause, context)


def _on_correct_answer(reading: Reading, clause: Clause, context: Context) -> Action | None:
    """ "No, three", after "how many are there?": what is no name is the right answer."""
    answer = reading.slots["answer"].strip(" .!")
    fits = not clause.question and not context.turn_photos and len(answer.split()) <= 4
    counted = clause.tongue.counts.get(answer.casefold()) or answer.isdecimal()
    if not context.answered or not fits or not (counted or _COLOUR.fullmatch(answer)):
        return None
    return Action("teach_answer", {"question": context.answered, "answer": answer})


def _on_reject(reading: Reading, clause: Clause, context: Context) -> Action | None:
    label = label_in(reading, clause, context)
    if label is None or clause.question:
        return None
    if find_known(label, context.labels) is None:
        return Action(text=clause.tongue.said("not_it", label=article(label)))
    return Action("reject_label", {"label": label})


def _on_reject_no(reading: Reading, clause: Clause, context: Context) -> Action | None:
    """ "No zorb": only of what it was just called; "no, blick" says what it is."""
    label = name_in(reading.slots["label"], context.labels, typos=True)
    if label not in context.labels or not (context.turn_photos or label == discussed(context)):
        return None
    return _on_reject(reading, clause, context)


def _on_reject_last(reading: Reading, clause: Clause, context: Context) -> Action | None:
    found = context.recognised
    if clause.question:
        return None
    if found is None:
        return Action(text=clause.tongue.said("no_of_nothing"))
    if found.source == "taught" and found.decision != "unknown" and found.candidates:
        return Action("reject_label", {"label": found.candidates[0].name})
    return Action(text=clause.tongue.said("what_is_it"))


def _on_choose(reading: Reading, clause: Clause, context: Context) -> Action | None:
    """ "I'd go with blick", when asked."""
    label = label_in(reading, clause, context)
    return teach_action(label, context) if label and context.asked else None


TEACHING: dict[str, Handler] = {
    "choose": _on_choose,
    "correct": _on_correct,
    "correct_answer": _on_correct_answer,
    "correct_name": _on_correct_name,
    "reject": _on_reject,
    "reject_no": _on_reject_no,
    "reject_last": _on_reject_last,
    "teach_described": _on_described,
    "teach": _on_teach,
    "teach_all": _on_teach_all,
    "teach_bare": _on_teach_bare,
    "teach_here": _on_teach_here,
}
