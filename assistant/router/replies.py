"""What an answer means when the last reply asked something: which one, what, the same or new.

Knows nothing of how messages are kept. The shapes are data (``replies.yaml``); what fits none of
them, or comes with a new picture, is an ordinary message.
"""

import re
from collections.abc import Callable

from assistant.router.actions import Action, Context
from assistant.router.handlers import teach_action
from assistant.router.names import name_in
from assistant.router.reading import Clause, Reading, match
from tools.artifacts import Change, Recognition
from tools.wording import article, capital, join

__all__ = ["SAME_OR_NEW", "reply_to_question"]

SAME_OR_NEW = "the same thing or a new one?"
"""How a reply ends that asks whether a new label is another one."""
_LEAD = re.compile(
    r"(?:(?:no+|nope|yes|yeah|yep|yup|well|oh|ah|hm+|um+|ok|okay|sorry|actually|i think|i guess|"
    r"i believe|i(?:'d| would) say|definitely|certainly|clearly)[\s,.!:;]+)+(?=\S)",
    re.I,
)
_TAIL = re.compile(r"[\s,]+(?:please|i think|i guess|i believe|of course|thanks|thank you)$", re.I)

Answer = Callable[[Reading, Context], list[Action] | None]


def reply_to_question(message: str, context: Context) -> list[Action] | None:
    """What to do about a message that answers the open question; None when it does not."""
    if context.turn_photos or not (context.doubt or context.asked) or message.strip()[-1:] == "?":
        return None
    text = message.replace("’", "'").replace("‘", "'").strip().rstrip(".!… ")
    text = _TAIL.sub("", _LEAD.sub("", text))
    handlers = _DOUBT if context.doubt is not None else _OPEN
    for reading in match(Clause(text, False), "replies.yaml"):
        answer = handlers.get(reading.intent)
        actions = answer(reading, context) if answer is not None else None
        if actions is not None:
            return actions
    return None


# --- "A zorb or a blick?" and "What is it?" -----------------------------------------------------


def _torn(context: Context) -> Recognition | None:
    found = context.recognised
    return found if found is not None and found.decision == "ambiguous" else None


def _nth(place: int) -> Answer:
    def handle(reading: Reading, context: Context) -> list[Action] | None:
        found = context.recognised
        if found is None or len(found.candidates) <= place:
            return None
        # Two names were said: "a zorb or a blick?", or of the vocabulary "it might be a or b".
        if found.decision != "ambiguous" and (found.source == "taught" or found.outside):
            return None
        return [teach_action(found.candidates[place].name, context)]

    return handle


def _on_both(reading: Reading, context: Context) -> list[Action] | None:
    found = _torn(context)
    if found is None:
        return None
    rivals = join([article(c.name) for c in found.candidates[:2]], "or")
    return [Action(text=f"A picture has one label here. {capital(rivals)}: which one is it?")]


def _on_neither(reading: Reading, context: Context) -> list[Action] | None:
    found = _torn(context)
    if found is None:
        return [Action(text="All right. What is it?")]
    return [Action("reject_label", {"label": c.name}) for c in found.candidates[:2]]


def _on_refused(reading: Reading, context: Context) -> list[Action] | None:
    """ "No" to "a zorb or a blick?"; to "what is it?" it is no answer."""
    return None if _torn(context) is None else _on_neither(reading, context)


def _on_neither_named(reading: Reading, context: Context) -> list[Action] | None:
    label = name_in(reading.slots["label"], context.labels)
    if label is None:
        return None
    found = _torn(context)
    if found is None:
        return [teach_action(label, context)]
    # As a picture of the new label it is no picture of either; the likelier one is told so.
    return [Action("correct_label", {"label": label, "wrong": found.candidates[0].name})]


def _on_new_named(reading: Reading, context: Context) -> list[Action] | None:
    label = name_in(reading.slots["label"], context.labels)
    return None if label is None else [teach_action(label, context)]


def _on_new(reading: Reading, context: Context) -> list[Action] | None:
    return [Action(text="Something new, then. What is it?")]


# --- "The same thing or a new one?" -------------------------------------------------------------


def _merged(doubt: Change) -> list[Action]:
    return [Action("merge_labels", {"label": doubt.label, "into": doubt.same_as})]


def _kept(doubt: Change) -> list[Action]:
    return [Action(text=f"All right: {doubt.label} and {doubt.same_as} stay two things.")]


def _on_doubt(decided: Callable[[Change], list[Action]]) -> Answer:
    return lambda reading, context: decided(context.doubt) if context.doubt else None


def _on_named(reading: Reading, context: Context) -> list[Action] | None:
    doubt = context.doubt
    label = name_in(reading.slots["label"], context.labels)
    if doubt is None or label is None:
        return None
    if label.casefold() == doubt.same_as.casefold():
        return _merged(doubt)
    return _kept(doubt) if label.casefold() == doubt.label.casefold() else None


def _on_renamed(reading: Reading, context: Context) -> list[Action] | None:
    """ "A new one called gromp", of what was just taught as zorb: gromp is its name."""
    label = name_in(reading.slots["label"], context.labels)
    if context.doubt is None or label is None:
        return None
    if label.casefold() in (context.doubt.label.casefold(), context.doubt.same_as.casefold()):
        return _kept(context.doubt)
    return [Action("rename_label", {"label": context.doubt.label, "new": label})]


def _on_yes(reading: Reading, context: Context) -> list[Action] | None:
    if context.doubt is None:
        return None
    doubt = context.doubt
    return [Action(text=f"{capital(doubt.label)} and {doubt.same_as}: {SAME_OR_NEW}")]


_OPEN: dict[str, Answer] = {
    "first": _nth(0),
    "second": _nth(1),
    "neither_named": _on_neither_named,
    "neither": _on_neither,
    "refused": _on_refused,
    "both": _on_both,
    "new_named": _on_new_named,
    "new": _on_new,
}
_DOUBT: dict[str, Answer] = {
    "both": _on_yes,
    "new_named": _on_renamed,
    "same": _on_doubt(_merged),
    "new": _on_doubt(_kept),
    "neither": _on_doubt(_kept),
    "refused": _on_doubt(_kept),
    "named": _on_named,
}
