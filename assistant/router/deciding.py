"""From the clauses of a message, and what was said before, to tool calls or words.

Knows nothing of langchain: takes text and a :class:`Context`, returns :class:`Action` objects.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from assistant.router.names import find_known, name_in, names_in
from assistant.router.reading import Clause, Reading, is_question, match, split
from tools.artifacts import Recognition
from tools.wording import article, join

__all__ = ["Action", "Context", "decide"]

_CAN = (
    "I can say what a picture shows, describe it, and answer questions about it; and I learn: "
    "send a picture and say “this is a zorb”."
)
_DEICTIC = re.compile(
    r"\b(?:it|its|this|that|these|those|they|them|he|she|there|picture|photo|image|drawing|here|"
    r"colou?rs?|how many|see|left|right|above|below|top|bottom|background|shape|object|wearing|"
    r"holding|count|bigger|smaller|largest)\b",
    re.I,
)
_ORDERS = re.compile(r"(?:count|read|point|locate|answer)\b", re.I)


@dataclass(frozen=True)
class Context:
    """What the router knows beside the words of the message."""

    labels: tuple[str, ...] = ()
    turn_photos: tuple[int, ...] = ()
    photo_count: int = 0
    asked: bool = False
    """The last reply asked what something is."""
    recognised: Recognition | None = None
    """The recognition that is still open for agreement or contradiction."""


@dataclass(frozen=True)
class Action:
    """A tool to call, or (without a tool) something to say."""

    tool: str = ""
    args: dict[str, Any] | None = None
    text: str = ""


def decide(message: str, context: Context) -> list[Action]:
    """What to do about a message: at least one action."""
    clauses = split(message, photo_count=context.photo_count, turn_photos=context.turn_photos)
    if not clauses:
        return [_photo_alone(context)] if context.turn_photos else [Action(text=_CAN)]
    clauses = _joined(clauses)
    actions: list[Action] = []
    for clause in clauses:
        actions += _decide_clause(clause, context, bool(actions))
    actions = _merged(actions)
    if context.turn_photos and actions and not any(a.tool for a in actions):
        # "Hello!" with a picture: the greeting is no reason not to look.
        return [_photo_alone(context)]
    # Words beside deeds ("great, …") need no answer of their own.
    deeds = [a for a in actions if a.tool]
    return deeds or actions[:1] or [Action(text=_CAN)]


def _decide_clause(clause: Clause, context: Context, later: bool) -> list[Action]:
    for reading in match(clause):
        action = _HANDLERS[reading.intent](reading, clause, context)
        if action is not None:
            return [_with_photos(action, clause)]
    return [_with_photos(a, clause) for a in _unmatched(clause, context, later)]


def _with_photos(action: Action, clause: Clause) -> Action:
    if clause.photos and action.tool in _TAKE_PHOTOS:
        return replace(action, args={**(action.args or {}), "photos": list(clause.photos)})
    return action


def _joined(clauses: list[Clause]) -> list[Clause]:
    """ "No." and what follows it belong together."""
    if len(clauses) > 1 and re.fullmatch(r"no+|nope|wrong|sorry|actually", clauses[0].text, re.I):
        second = clauses[1]
        if not is_question(second):
            text = f"{clauses[0].text}, {second.text}"
            return [replace(second, text=text), *clauses[2:]]
    return clauses


def _merged(actions: list[Action]) -> list[Action]:
    """ "It's not a zorb. It's a blick." is one correction; a call said twice is one call."""
    merged: list[Action] = []
    for action in actions:
        last = merged[-1] if merged else None
        if last and last.tool == "reject_label" and action.tool in ("teach_label", "correct_label"):
            wrong = (last.args or {}).get("label")
            args = {**(action.args or {}), **({"wrong": wrong} if wrong else {})}
            merged[-1] = Action("correct_label", args)
        elif action not in merged:
            merged.append(action)
    return merged


def _photo_alone(context: Context) -> Action:
    return Action("classify_image" if context.labels else "caption_image", {})


def _unmatched(clause: Clause, context: Context, later: bool) -> list[Action]:
    text, asks = clause.text, is_question(clause)
    has_photo = bool(context.turn_photos or context.photo_count or clause.photos)
    known = find_known(text, context.labels)
    if asks and known:
        return [Action("classify_image", {"labels": [known]})]
    if asks or _ORDERS.match(text):
        about = bool(
            context.turn_photos
            or clause.photos
            or later
            or _DEICTIC.search(text)
            or any(re.search(rf"\b{re.escape(n)}", text, re.I) for n in context.labels)
        )
        if has_photo and about:
            return [Action("answer_question", {"question": _as_question(text, asks)})]
        if about and not has_photo:
            return [Action(text="Send me the picture first, and ask again.")]
        return [Action(text=f"I can't answer that: I only know pictures. {_CAN}")]
    name = name_in(text, context.labels)
    if name and len(text.split()) <= 4 and not later:
        if context.turn_photos:
            return [Action("teach_label", {"label": name})]
        if context.asked or (known and context.recognised):
            return [_teach(name, context)]
    if context.turn_photos:
        return [] if later else [_photo_alone(context)]
    return [] if later else [Action(text=f"I did not understand that. {_CAN}")]


def _as_question(text: str, asks: bool) -> str:
    text = text[:1].lower() + text[1:]
    return f"{text}?" if asks else text


def _teach(label: str, context: Context, description: str | None = None) -> Action:
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


# --- one handler an intent: an action, or None to try the next shape ------------------------------

Handler = Callable[[Reading, Clause, Context], Action | None]


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
    return _teach(label, context, reading.slots.get("description"))


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


def _on_find_label(reading: Reading, clause: Clause, context: Context) -> Action | None:
    label = name_in(reading.slots["label"], context.labels)
    return Action("find_similar", {"query": label}) if label in context.labels else None


def _on_same(reading: Reading, clause: Clause, context: Context) -> Action | None:
    enough = len(context.turn_photos) + (context.photo_count > 1) > 0
    return Action("compare_images", {}) if enough else None


_HANDLERS: dict[str, Handler] = {
    "undo": _plain("undo"),
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
    "compare_order": _on_same,
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
    "hello": _say(f"Hello! {_CAN}"),
    "thanks": _say("You're welcome. Show me more whenever you like."),
    "help": _say(
        f"{_CAN} Say “no, it's a blick” when I am wrong, “what do you know?” to see what I "
        "learned, “why?” for my reasons, “rename”, “merge” or “forget” a label, and “undo” to "
        "take the last change back."
    ),
}
_TAKE_PHOTOS = {
    "classify_image",
    "caption_image",
    "answer_question",
    "find_similar",
    "compare_images",
    "teach_label",
    "correct_label",
    "reject_label",
}
