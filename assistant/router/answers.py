"""What an answer means when the last reply asked something: which one, what, the same or new, sure?

Knows nothing of how messages are kept. The shapes are data (``answers`` in ``*.yaml``); what fits
none of them, or comes with a new picture, is an ordinary message.
"""

from collections.abc import Callable

from assistant.router.actions import Action, Context
from assistant.router.language import Language, Reading
from assistant.router.names import name_in, names_in
from assistant.router.teaching import teach_action
from tools.artifacts import Change, Recognition
from tools.wording import article, capital, join

__all__ = ["agrees", "refuses", "reply_to_question"]

Answer = Callable[[Reading, Context, Language], list[Action] | None]


def reply_to_question(message: str, context: Context, tongue: Language) -> list[Action] | None:
    """What to do about a message that answers the open question; None when it does not."""
    open_question = context.doubt or context.asked or context.wiping
    if context.turn_photos or not open_question or message.strip()[-1:] in ("?", "？"):
        return None
    handlers = _WIPE if context.wiping else _DOUBT if context.doubt is not None else _OPEN
    texts = _bare(message, tongue)
    if context.doubt is not None:  # "same thing, different angle"
        texts += [t.strip() for t in message.split(",")[:-1]]
    for text in texts:
        for reading in tongue.readings(tongue.read(text), "answers"):
            answer = handlers.get(reading.intent)
            actions = answer(reading, context, tongue) if answer is not None else None
            if actions is not None:
                return actions
    return None


def agrees(message: str, tongue: Language) -> bool:
    """Whether a message says yes to what was asked, and asks nothing itself."""
    return message.strip()[-1:] not in ("?", "？") and _answers(message, tongue, "yes")


def refuses(message: str, tongue: Language) -> bool:
    """Whether a message says no to what was asked, and nothing else."""
    button = message.strip().casefold() == tongue.said("neither").casefold()
    return button or _answers(message, tongue, "refused", "neither")


def _answers(message: str, tongue: Language, *intents: str) -> bool:
    readings = (
        r for x in _bare(message, tongue) for r in tongue.readings(tongue.read(x), "answers")
    )
    return any(reading.intent in intents for reading in readings)


def _bare(message: str, tongue: Language) -> list[str]:
    """The message, and without "well," before and "I think" after it; short of "no" and "yes"."""
    sentence = tongue.read(message)
    lead, tail = tongue.block("answer_lead"), tongue.block("tail")
    start, end = 0, len(sentence.words)
    while (
        lead is not None
        and (cut := max((e for e in lead.ends(sentence, start) if e < end), default=start)) > start
    ):
        start = cut
    while (
        tail is not None
        and (cut := next((i for i in range(start + 1, end) if end in tail.ends(sentence, i)), end))
        < end
    ):
        end = cut
    bare = sentence.raw_of((start, end))
    return list(dict.fromkeys((bare, message)))


# --- "A zorb or a blick?" and "What is it?" -----------------------------------------------------


def _torn(context: Context) -> Recognition | None:
    found = context.recognised
    return found if found is not None and found.decision == "ambiguous" else None


def _nth(place: int) -> Answer:
    def handle(reading: Reading, context: Context, tongue: Language) -> list[Action] | None:
        found = context.recognised
        if found is None or len(found.candidates) <= place:
            return None
        # Two names were said: "a zorb or a blick?", or of the vocabulary "it might be a or b".
        if found.decision != "ambiguous" and (found.source == "taught" or found.outside):
            return None
        return [teach_action(found.candidates[place].name, context)]

    return handle


def _on_both(reading: Reading, context: Context, tongue: Language) -> list[Action] | None:
    found = _torn(context)
    if found is None:
        return None
    rivals = join([article(c.name) for c in found.candidates[:2]], "or")
    return [Action(text=tongue.said("one_label", rivals=capital(rivals)))]


def _on_neither(reading: Reading, context: Context, tongue: Language) -> list[Action] | None:
    found = _torn(context)
    if found is None:
        return [Action(text=tongue.said("what_is_it"))]
    return [Action("reject_label", {"label": c.name}) for c in found.candidates[:2]]


def _on_refused(reading: Reading, context: Context, tongue: Language) -> list[Action] | None:
    """ "No" to "a zorb or a blick?"; to "what is it?" it is no answer."""
    return None if _torn(context) is None else _on_neither(reading, context, tongue)


def _on_neither_named(reading: Reading, context: Context, tongue: Language) -> list[Action] | None:
    label = name_in(reading.slots["label"], context.labels, typos=True, tongue=tongue)
    if label is None:
        return None
    found = _torn(context)
    if found is None:
        return [teach_action(label, context)]
    # As a picture of the new label it is no picture of either; the likelier one is told so.
    return [Action("correct_label", {"label": label, "wrong": found.candidates[0].name})]


def _on_forget_it(reading: Reading, context: Context, tongue: Language) -> list[Action] | None:
    """Asked what something is, "forget it" is no order to forget."""
    return [Action(text=tongue.said("dont_know"))]


def _on_new_named(reading: Reading, context: Context, tongue: Language) -> list[Action] | None:
    label = name_in(reading.slots["label"], context.labels, typos=True, tongue=tongue)
    return None if label is None else [teach_action(label, context)]


def _on_new(reading: Reading, context: Context, tongue: Language) -> list[Action] | None:
    return [Action(text=tongue.said("new_then"))]


# --- "The same thing or a new one?" -------------------------------------------------------------


def _merged(doubt: Change, tongue: Language) -> list[Action]:
    return [Action("merge_labels", {"label": doubt.label, "into": doubt.same_as})]


def _kept(doubt: Change, tongue: Language) -> list[Action]:
    return [Action(text=tongue.said("two_things", label=doubt.label, other=doubt.same_as))]


def _on_doubt(decided: Callable[[Change, Language], list[Action]]) -> Answer:
    return lambda reading, context, tongue: (
        decided(context.doubt, tongue) if context.doubt else None
    )


def _on_named(reading: Reading, context: Context, tongue: Language) -> list[Action] | None:
    doubt = context.doubt
    label = name_in(reading.slots["label"], context.labels, typos=True, tongue=tongue)
    if doubt is None or label is None:
        return None
    if label.casefold() == doubt.same_as.casefold():
        return _merged(doubt, tongue)
    return _kept(doubt, tongue) if label.casefold() == doubt.label.casefold() else None


def _on_renamed(reading: Reading, context: Context, tongue: Language) -> list[Action] | None:
    """ "A new one called gromp", of what was just taught as zorb: gromp is its name."""
    label = name_in(reading.slots["label"], context.labels, typos=True, tongue=tongue)
    if context.doubt is None or label is None:
        return None
    if label.casefold() in (context.doubt.label.casefold(), context.doubt.same_as.casefold()):
        return _kept(context.doubt, tongue)
    return [Action("rename_label", {"label": context.doubt.label, "new": label})]


def _on_yes(reading: Reading, context: Context, tongue: Language) -> list[Action] | None:
    if context.doubt is None:
        return None
    doubt = context.doubt
    said = tongue.said("same_or_new", label=capital(doubt.label), other=doubt.same_as)
    return [Action(text=said)]


def _on_same(reading: Reading, context: Context, tongue: Language) -> list[Action] | None:
    """ "It's still blick": only when it is the label that was asked about."""
    if "label" in reading.slots and context.doubt is not None:
        label = name_in(reading.slots["label"], context.labels, typos=True, tongue=tongue)
        if label != context.doubt.same_as:
            return None
    return _on_doubt(_merged)(reading, context, tongue)


# --- "Shall I really forget everything?" --------------------------------------------------------


def _on_wipe(reading: Reading, context: Context, tongue: Language) -> list[Action] | None:
    return [Action("forget_everything", {})]


def _on_except(reading: Reading, context: Context, tongue: Language) -> list[Action] | None:
    """ "Everything except the zorbs", asked whether to forget everything."""
    kept = names_in(reading.slots["list"], context.labels, tongue)
    if not kept or not set(kept) <= set(context.labels):
        return _on_no_wipe(reading, context, tongue)
    return [Action("forget_label", {"label": n}) for n in context.labels if n not in kept]


def _on_no_wipe(reading: Reading, context: Context, tongue: Language) -> list[Action] | None:
    return [Action(text=tongue.said("wipe_kept"))]


def _on_only(reading: Reading, context: Context, tongue: Language) -> list[Action] | None:
    """ "Only the zorbs", asked whether to forget everything."""
    label = name_in(reading.slots["label"], context.labels, typos=True, tongue=tongue)
    return [Action("forget_label", {"label": label})] if label in context.labels else None


_OPEN: dict[str, Answer] = {
    "first": _nth(0),
    "second": _nth(1),
    "neither_named": _on_neither_named,
    "neither": _on_neither,
    "refused": _on_refused,
    "forget_it": _on_forget_it,
    "both": _on_both,
    "yes": _on_both,
    "new_named": _on_new_named,
    "new": _on_new,
}
_DOUBT: dict[str, Answer] = {
    "both": _on_yes,
    "yes": _on_yes,
    "new_named": _on_renamed,
    "same": _on_same,
    "new": _on_doubt(_kept),
    "neither": _on_doubt(_kept),
    "refused": _on_doubt(_kept),
    "named": _on_named,
}
_WIPE: dict[str, Answer] = {
    "only": _on_only,
    "except": _on_except,
    "yes": _on_wipe,
    "refused": _on_no_wipe,
}
