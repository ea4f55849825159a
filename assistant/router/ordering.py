"""Handlers of orders to memory: forget, undo, rename, merge, alias and split.

Knows nothing of how a message is taken apart; what a picture shows is said to
:mod:`assistant.router.teaching`.
"""

import re
from collections.abc import Sequence

from assistant.router.actions import Action, Context
from assistant.router.language import Reading
from assistant.router.names import mentioned, name_in, named, names_in
from assistant.router.pointing import OF_MANY, POINTED, Handler, discussed, label_in
from assistant.router.reading import Clause
from tools.wording import join

__all__ = ["ORDERING"]

_STUFF = re.compile(
    r"\s+(?:stuff|things?|business|nonsense|rubbish|labels?|names?|pictures?|photos?|now|already|"
    r"again|too|completely)$",
    re.I,
)
_FEW = 3  # words in which the name of a label is the order's, whatever stands beside it
_NOT_THIS = re.compile(r"(?:please )?(?:ignore|skip|disregard|don't|do not)\b", re.I)


def _on_forget(reading: Reading, clause: Clause, context: Context) -> Sequence[Action] | None:
    label = label_in(reading, clause, context)
    if clause.question:
        return None
    if label not in context.labels:  # "that gromp stuff", "the gromps now"
        label = name_in(_STUFF.sub("", reading.slots["label"]), context.labels) or label
    if label and label not in context.labels and len(label.split()) <= _FEW:
        about = mentioned(label, context.labels)
        label = about[0] if len(about) == 1 else label  # "zorb no more"
    several = names_in(reading.slots["label"], context.labels, clause.tongue)
    if label not in context.labels and len(several) > 1 and set(several) <= set(context.labels):
        return [Action("forget_label", {"label": n}) for n in several]
    if POINTED.fullmatch(reading.slots["label"]):
        # "Forget it" means what was just done, not all that was ever taught of it.
        return [Action("forget_pictures", {}) if clause.photos else Action("undo", {})]
    if context.turn_photos and label not in context.labels:
        # "Delete the background", of the picture that comes with it: nobody taught me that.
        return [Action(text=clause.tongue.said("not_understood"))]
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
        pointed = POINTED.fullmatch(reading.slots["label"]) and context.recognised
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
        new = name_in(new, (), plural=OF_MANY.search(clause.text) is not None) or new
        return Action("alias_label", {"label": name, "alias": new})
    return Action("merge_labels", {"label": label, "into": other})


def _on_alias(reading: Reading, clause: Clause, context: Context) -> Action | None:
    label = label_in(reading, clause, context, typos=False)
    other = label_in(reading, clause, context, "other", typos=False)
    if not label or not other or clause.question or label == other:
        return None
    if label not in context.labels and other in context.labels:
        label, other = other, label
    if label in context.labels and other in context.labels:
        return Action("merge_labels", {"label": other, "into": label})
    if label not in context.labels:
        return None
    if other not in context.labels:
        other = name_in(other, (), plural=_plural(reading.slots["label"], label)) or other
    return Action("alias_label", {"label": label, "alias": other})


def _on_alias_called(reading: Reading, clause: Clause, context: Context) -> Action | None:
    """ "A zorb is called Kugel" in German; "it is called Kugel" says what the picture shows."""
    pointed = POINTED.fullmatch(reading.slots["label"])
    return None if pointed else _on_alias(reading, clause, context)


def _on_split(reading: Reading, clause: Clause, context: Context) -> Action | None:
    label = label_in(reading, clause, context) if "label" in reading.slots else None
    label = label or discussed(context)
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
    if context.turn_photos and _NOT_THIS.match(clause.text):
        return Action(text=clause.tongue.said("agree"))  # "ignore this one", of the new picture
    of_label = "label" in reading.slots and not POINTED.fullmatch(reading.slots["label"])
    if of_label and label_in(reading, clause, context) is None:
        return None
    if clause.photos and re.match(
        r"(?:forget|unlearn|delete|drop|remove|erase)", clause.text, re.I
    ):
        return Action("forget_pictures", {})  # "forget this", of a picture that is named
    times = _times(clause, context)
    return Action("undo", {"times": times} if times > 1 else {})


def _times(clause: Clause, context: Context) -> int:
    """How often: "three times", "the last two", "undo undo"; a number in a name is none."""
    sentence = named(clause.sentence, context.labels)
    inside = {i for start, ends in sentence.names.items() for i in range(start, max(ends))}
    words = [w for i, w in enumerate(sentence.words) if i not in inside]
    counts = [int(w) if w.isdecimal() else clause.tongue.counts.get(w, 1) for w in words]
    return max([*counts, words.count("undo")])


ORDERING: dict[str, Handler] = {
    "undo": _on_undo,
    "forget_all": _on_forget_all,
    "forget_today": _since("today"),
    "forget_session": _since("session"),
    "forget_picture": _order("forget_pictures"),
    "forget": _on_forget,
    "split": _on_split,
    "alias_say": _on_alias,
    "alias": _on_alias,
    "alias_called": _on_alias_called,
    "rename": _two_names("rename_label", "new"),
    "merge": _on_merge,
    "merge_plural": _two_names("merge_labels", "into", known=2),
}
