"""One handler an intent: what a phrase that fits means here, or that it means nothing.

Knows nothing of how a message is taken apart. A handler returns an action, or None so that the
next shape of the table is tried.
"""

import re
from collections.abc import Callable
from typing import Any

from assistant.router.actions import Action, Context
from assistant.router.names import find_known, name_in, names_in
from assistant.router.reading import Clause, Reading
from tools.wording import article, join

__all__ = ["ABILITIES", "HANDLERS", "TAKE_PHOTOS", "Handler", "teach_action"]

ABILITIES = (
    "I can say what a picture shows, describe it, and answer questions about it; and I learn: "
    "send a picture and say “this is a zorb”."
)

# "how well do you know them?" is about everything, or about what was just recognised
_ALL = re.compile(
    r"|(?:this|that|it|him|her|them|these|those|this one)|(?:all |any )?(?:of )?"
    r"(?:(?:the|these|those|your|my) )?(?:things?|pictures?|photos?|drawings?|labels?|names?|"
    r"everything|everyone|stuff)(?: .*)?|(?:what|everything|all)(?: that)? i .*|recogni[sz].*|"
    r"(?:the|my|your) world|(?:things|them) apart",
    re.I,
)
Handler = Callable[[Reading, Clause, Context], Action | None]


def teach_action(label: str, context: Context, description: str | None = None) -> Action:
    """Teaching what was just recognised as something else is correcting."""
    found = context.recognised
    if not context.turn_photos and found is not None and found.source == "taught":
        best = found.candidates[0].name if found.candidates else ""
        if found.decision == "known" and best.casefold() != label.casefold():
            return Action("correct_label", {"label": label, "wrong": best})
    args = {"label": label}
    if description:
        args["description"] = description.strip()
    return Action("teach_label", args)


def _plain(tool: str) -> Handler:
    return lambda reading, clause, context: Action(tool, {})


def _say(text: str) -> Handler:
    return lambda reading, clause, context: Action(text=text)


def _on_teach(reading: Reading, clause: Clause, context: Context) -> Action | None:
    bare = "description" in reading.slots and clause.text.startswith(reading.slots["label"])
    if bare and not context.turn_photos:
        return None  # "zorb: a round toy" speaks of the picture that comes with it
    plural = re.match(r"(?:these|those|they|both|here are)\b", clause.text, re.I) is not None
    label = name_in(reading.slots["label"], context.labels, plural=plural)
    if label is None:
        return None
    if clause.question:
        return Action("classify_image", {"labels": [label]})
    return teach_action(label, context, reading.slots.get("description"))


def _on_correct(reading: Reading, clause: Clause, context: Context) -> Action | None:
    label = name_in(reading.slots["label"], context.labels)
    if label is None or clause.question:
        return None
    args: dict[str, Any] = {"label": label}
    other = reading.slots.get("other")
    wrong = name_in(other, context.labels) if other else None
    if wrong:
        args["wrong"] = wrong
    elif context.turn_photos:
        return Action("teach_label", args)
    return Action("correct_label", args)


def _on_correct_name(reading: Reading, clause: Clause, context: Context) -> Action | None:
    """ "No, blick": only a short name, and only when there is something to contradict."""
    if len(reading.slots["label"].split()) > 4 or not (context.recognised or context.turn_photos):
        return None
    return _on_correct(reading, clause, context)


def _on_reject(reading: Reading, clause: Clause, context: Context) -> Action | None:
    label = name_in(reading.slots["label"], context.labels)
    if label is None or clause.question:
        return None
    if find_known(label, context.labels) is None:
        return Action(text=f"All right, not {article(label)}. What is it?")
    return Action("reject_label", {"label": label})


def _on_reject_last(reading: Reading, clause: Clause, context: Context) -> Action | None:
    found = context.recognised
    if clause.question:
        return None
    if found is None:
        return Action(
            text="All right. If I got something wrong, tell me what it is, or say “undo”."
        )
    if found.source == "taught" and found.decision != "unknown" and found.candidates:
        return Action("reject_label", {"label": found.candidates[0].name})
    return Action(text="All right. What is it?")


def _on_forget(reading: Reading, clause: Clause, context: Context) -> Action | None:
    label = name_in(reading.slots["label"], context.labels)
    return Action("forget_label", {"label": label}) if label and not clause.question else None


def _on_forget_all(reading: Reading, clause: Clause, context: Context) -> Action | None:
    if not context.labels:
        return Action("list_labels", {})
    names = join(context.labels)
    return Action(
        text=f"That would lose everything you taught me: {names}. I only forget one label at a "
        f"time: say “forget {context.labels[-1]}”, for instance."
    )


def _two_names(tool: str, second: str) -> Handler:
    def handle(reading: Reading, clause: Clause, context: Context) -> Action | None:
        label = name_in(reading.slots["label"], context.labels)
        other = name_in(reading.slots["other"], context.labels)
        if not label or not other or clause.question:
            return None
        return Action(tool, {"label": label, second: other})

    return handle


def _on_among(reading: Reading, clause: Clause, context: Context) -> Action | None:
    slots = " or ".join(reading.slots[k] for k in ("list", "other") if k in reading.slots)
    names = names_in(slots, context.labels)
    nouns = re.search(r"\ban?\b", slots, re.I) or not clause.question
    if len(names) > 1 and (nouns or any(n in context.labels for n in names)):
        return Action("classify_image", {"labels": names})
    return None  # "is it red or blue?" is a question about the picture


def _on_is_it(reading: Reading, clause: Clause, context: Context) -> Action | None:
    slot = reading.slots["label"]
    label = name_in(slot, context.labels)
    named = re.match(r"(?:an?|the|called|named)\s", slot, re.I) or slot[:1] in "\"“'"
    many = re.match(r"(?:are )?(?:these|those|they)\b", clause.text, re.I)
    if label and (find_known(label, context.labels) or (named and len(slot.split()) <= 3) or many):
        return Action("classify_image", {"labels": [label]})
    return None


def _on_find(reading: Reading, clause: Clause, context: Context) -> Action | None:
    query = reading.slots["query"].strip()
    if re.fullmatch(r"(?:similar|more|other)?\s*(?:pictures?|ones?|photos?|similar|more)", query):
        return Action("find_similar", {})
    known = name_in(query, context.labels)
    is_label = known in context.labels
    return Action("find_similar", {"query": known if is_label and known else query})


def _on_report(reading: Reading, clause: Clause, context: Context) -> Action | None:
    slot = reading.slots.get("label", "")
    if _ALL.fullmatch(slot):
        found = context.recognised
        pointed = re.fullmatch(r"(?:it|that|this(?: one)?|him|her)", slot, re.I) and not re.search(
            r"\bat\b|\bdoing\b", clause.text
        )
        if pointed and found is not None and found.source == "taught" and found.label:
            return Action("report_knowledge", {"label": found.label})
        return Action("report_knowledge", {})
    label = name_in(slot, context.labels, plural=True)
    return Action("report_knowledge", {"label": label} if label else {})


def _on_find_label(reading: Reading, clause: Clause, context: Context) -> Action | None:
    label = name_in(reading.slots["label"], context.labels)
    return Action("find_similar", {"query": label}) if label in context.labels else None


HANDLERS: dict[str, Handler] = {
    "undo": _plain("undo"),
    "report": _on_report,
    "known": _plain("list_labels"),
    "why": _plain("explain_answer"),
    "forget_all": _on_forget_all,
    "forget": _on_forget,
    "rename": _two_names("rename_label", "new"),
    "merge": _two_names("merge_labels", "into"),
    "correct": _on_correct,
    "correct_name": _on_correct_name,
    "reject": _on_reject,
    "reject_last": _on_reject_last,
    "compare": _plain("compare_images"),
    "among": _on_among,
    "is_it": _on_is_it,
    "classify": _plain("classify_image"),
    "caption": _plain("caption_image"),
    "find_label": _on_find_label,
    "find_like": _plain("find_similar"),
    "find": _on_find,
    "teach": _on_teach,
    "agree": _say("Good."),
    "unsure": _say("All right. Tell me when you know."),
    "hello": _say(f"Hello! {ABILITIES}"),
    "thanks": _say("You're welcome. Show me more whenever you like."),
    "help": _say(
        f"{ABILITIES} Say “no, it's a blick” when I am wrong, “what do you know?” to see what I "
        "learned, “how well do you know it?” to have it tested, “why?” for my reasons, “rename”, "
        "“merge” or “forget” a label, and “undo” to take the last change back."
    ),
}
TAKE_PHOTOS = {
    "classify_image",
    "caption_image",
    "answer_question",
    "find_similar",
    "compare_images",
    "teach_label",
    "correct_label",
    "reject_label",
}
