"""Handlers of what changes memory: teach, correct, reject, rename, merge, forget and the like.

Knows nothing of how a message is taken apart. A handler returns an action, or None so that the
next line of the table is tried.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

from assistant.router.actions import Action, Context
from assistant.router.language import Reading
from assistant.router.names import find_known, name_in, names_in
from assistant.router.reading import Clause
from tools.wording import article, is_plural, join

__all__ = ["CHANGING", "Handler", "label_in", "teach_action"]

_THE_MANY = re.compile(r"(?:the|some|all|two|three|four|five|several|many|more)\b", re.I)
_OF_MANY = re.compile(r" are |\bone of\b", re.I)
Handler = Callable[[Reading, Clause, Context], Action | Sequence[Action] | None]
_POINTED = re.compile(
    r"(?:it|this|that|this one|that one|him|her|them|the label|the last one)", re.I
)
_MANY = re.compile(
    r"(?:these|those|they|both|all|here are|here's some|two|three|four|several|some|others)\b|"
    r"(?:the last|the first) two\b|.*\b(?:under|(?:to|with|among|into|in) (?:the|my|our)) \w+s$",
    re.I,
)


def label_in(
    reading: Reading, clause: Clause, context: Context, key: str = "label", *, typos: bool = True
) -> str | None:
    """The label in a slot; "it" is the one that was talked about last."""
    slot = reading.slots.get(key, "")
    if _POINTED.fullmatch(slot):
        return _discussed(context)
    return name_in(slot, context.labels, typos=typos, tongue=clause.tongue)


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


def _discussed(context: Context) -> str | None:
    found = context.recognised
    if found is not None and found.source == "taught" and found.candidates:
        return found.candidates[0].name
    return context.changed.label if context.changed is not None else None


def _on_teach(reading: Reading, clause: Clause, context: Context) -> Action | None:
    slot = reading.slots["label"]
    described = reading.slots.get("description")
    if described and clause.text.startswith(slot) and not context.turn_photos:
        return None  # "zorb: a round toy" speaks of the picture that comes with it
    several = len(context.turn_photos) > 1 or _THE_MANY.match(slot) is not None
    plural = several and is_plural(slot) and slot.split()[-1].islower()
    plural = (
        plural or _MANY.match(clause.text) is not None or _OF_MANY.search(clause.text) is not None
    )
    label = name_in(slot, context.labels, plural=plural, tongue=clause.tongue)
    if label is None:
        return None
    if clause.marked:
        return Action("classify_image", {"labels": [label]})
    action = teach_action(label, context, described)
    if (
        " and " in clause.text.casefold().split(" are ")[0]
        and clause.photos
        and context.turn_photos
    ):
        # "this one and the first one are zorbs"
        photos = sorted({*clause.photos, *context.turn_photos})
        return Action(action.tool, {**(action.args or {}), "photos": photos})
    return action


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
    if " " not in reading.slots["description"]:
        slots = {"label": reading.slots["label"]}  # "…, silly"
        return _on_teach(Reading(reading.intent, slots), clause, context)
    return _on_teach(reading, clause, context)


def _on_correct(reading: Reading, clause: Clause, context: Context) -> Action | None:
    label = label_in(reading, clause, context)
    if label is None or clause.question:
        return None
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
    if label not in context.labels or not (context.turn_photos or label == _discussed(context)):
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


def _on_forget(reading: Reading, clause: Clause, context: Context) -> Sequence[Action] | None:
    label = label_in(reading, clause, context)
    if clause.question:
        return None
    several = names_in(reading.slots["label"], context.labels, clause.tongue)
    if label not in context.labels and len(several) > 1 and set(several) <= set(context.labels):
        return [Action("forget_label", {"label": n}) for n in several]
    if _POINTED.fullmatch(reading.slots["label"]):
        # "Forget it" means what was just done, not all that was ever taught of it.
        return [Action("forget_pictures", {}) if clause.photos else Action("undo", {})]
    return [Action("forget_label", {"label": label})] if label else None


def _on_forget_all(reading: Reading, clause: Clause, context: Context) -> Action | None:
    if not context.labels:
        return Action("list_labels", {})
    names = join(context.labels)
    say = clause.tongue.said
    return Action(text=say("wipe_ask", names=names), options=(say("wipe_yes"), say("wipe_no")))


def _since(when: str) -> Handler:
    return lambda reading, clause, context: Action("forget_since", {"when": when})


def _order(tool: str) -> Handler:
    """An order without arguments; put as a question it is none."""
    return lambda reading, clause, context: None if clause.question else Action(tool, {})


def _two_names(tool: str, second: str, *, known: int = 0) -> Handler:
    """Two names; ``known`` of them have to be taught labels."""

    def handle(reading: Reading, clause: Clause, context: Context) -> Action | None:
        label = label_in(reading, clause, context)
        other = label_in(reading, clause, context, "other", typos=second == "into")
        if not label or not other or clause.question or label == other:
            return None
        pointed = _POINTED.fullmatch(reading.slots["label"]) and context.recognised
        if second == "new" and pointed and clause.sentence.words[0] != "rename":
            return None  # "change that to blick": the answer was wrong, not the name
        if known and sum(n in context.labels for n in (label, other)) < known:
            return None
        ordered = re.match(r"(?:rename|relabel|change|call|use|give|replace)\b", clause.text, re.I)
        unknown = second == "new" and label not in context.labels
        if unknown and (other in context.labels or not ordered):
            return None
        if second == "new" and other not in context.labels:
            # "call the zorbs florps": one name for one thing
            other = name_in(other, (), plural=_plural(reading.slots["label"], label)) or other
        return Action(tool, {"label": label, second: other})

    return handle


def _plural(typed: str, label: str) -> bool:
    return typed.casefold().split()[-1] == f"{label.split()[-1]}s".casefold()


def _on_merge(reading: Reading, clause: Clause, context: Context) -> Action | None:
    """Two labels become one; a label and a new word for it are an alias."""
    label = label_in(reading, clause, context)
    other = label_in(reading, clause, context, "other")
    if not label or not other or label == other or clause.question:
        return None
    taught = [n in context.labels for n in (label, other)]
    if sum(taught) == 1:
        if re.match(r"(?:merge|combine|join|unite|fold|move|put|add)\b", clause.text, re.I):
            return Action("merge_labels", {"label": label, "into": other})
        name, new = (label, other) if taught[0] else (other, label)
        new = name_in(new, (), plural=_OF_MANY.search(clause.text) is not None) or new
        return Action("alias_label", {"label": name, "alias": new})
    return Action("merge_labels", {"label": label, "into": other})


def _on_alias(reading: Reading, clause: Clause, context: Context) -> Action | None:
    label = label_in(reading, clause, context, typos=False)
    other = label_in(reading, clause, context, "other", typos=False)
    if not label or not other or clause.question or label == other:
        return None
    if label not in context.labels and other in context.labels:
        label, other = other, label
    if label not in context.labels or other in context.labels:
        return None
    if other not in context.labels:
        other = name_in(other, (), plural=_plural(reading.slots["label"], label)) or other
    return Action("alias_label", {"label": label, "alias": other})


def _on_alias_called(reading: Reading, clause: Clause, context: Context) -> Action | None:
    """ "A zorb is called Kugel" in German; "it is called Kugel" says what the picture shows."""
    pointed = _POINTED.fullmatch(reading.slots["label"])
    return None if pointed else _on_alias(reading, clause, context)


def _on_choose(reading: Reading, clause: Clause, context: Context) -> Action | None:
    """ "I'd go with blick", when asked."""
    label = label_in(reading, clause, context)
    return teach_action(label, context) if label and context.asked else None


def _on_split(reading: Reading, clause: Clause, context: Context) -> Action | None:
    label = label_in(reading, clause, context) if "label" in reading.slots else None
    label = label or _discussed(context)
    if label not in context.labels or clause.question:
        return None
    args = {"label": label}
    names = names_in(reading.slots.get("list", ""), context.labels, clause.tongue)
    if re.search(r"\b(?:two|three|parts?|groups?|labels?|half|kinds)\b", clause.text, re.I):
        return Action("split_label", args)
    new = [n for n in names if n != label]
    return Action("split_label", {**args, "new": new[0]} if new else args)


def _on_undo(
    reading: Reading, clause: Clause, context: Context
) -> Action | Sequence[Action] | None:
    if clause.question:
        return None
    named = "label" in reading.slots and not _POINTED.fullmatch(reading.slots["label"])
    if named and label_in(reading, clause, context) is None:
        return None
    if clause.photos and re.match(
        r"(?:forget|unlearn|delete|drop|remove|erase)", clause.text, re.I
    ):
        return Action("forget_pictures", {})  # "forget this", of a picture that is named
    return Action("undo", {})


CHANGING: dict[str, Handler] = {
    "undo": _on_undo,
    "forget_all": _on_forget_all,
    "forget_today": _since("today"),
    "forget_session": _since("session"),
    "forget_picture": _order("forget_pictures"),
    "forget": _on_forget,
    "choose": _on_choose,
    "split": _on_split,
    "alias_say": _on_alias,
    "alias": _on_alias,
    "alias_called": _on_alias_called,
    "rename": _two_names("rename_label", "new"),
    "merge": _on_merge,
    "merge_plural": _two_names("merge_labels", "into", known=2),
    "correct": _on_correct,
    "correct_name": _on_correct_name,
    "reject": _on_reject,
    "reject_no": _on_reject_no,
    "reject_last": _on_reject_last,
    "teach_described": _on_described,
    "teach": _on_teach,
    "teach_bare": _on_teach_bare,
    "teach_here": _on_teach_here,
}
