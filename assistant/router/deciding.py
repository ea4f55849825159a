"""From the clauses of a message, and what was said before, to tool calls or words.

Knows nothing of langchain: takes text and a :class:`Context`, returns :class:`Action` objects.
"""

import re
from dataclasses import replace

from assistant.router.actions import Action, Context
from assistant.router.handlers import ABILITIES, HANDLERS, TAKE_PHOTOS, teach_action
from assistant.router.names import find_known, name_in
from assistant.router.reading import Clause, is_question, match, split
from assistant.router.replies import reply_to_question
from tools.wording import article, join

__all__ = ["decide"]

_DEICTIC = re.compile(
    r"\b(?:it|its|this|that|these|those|they|them|he|she|there|picture|photo|image|drawing|here|"
    r"colou?rs?|how many|see|left|right|above|below|top|bottom|background|shape|object|wearing|"
    r"holding|count|bigger|smaller|largest)\b",
    re.I,
)
_MANY = re.compile(r"\b(?:these|those|they|them|both|all)\b", re.I)
_ORDERS = re.compile(r"(?:count|read|point|locate|answer)\b", re.I)


def decide(message: str, context: Context) -> list[Action]:
    """What to do about a message: at least one action."""
    answered = reply_to_question(message, context)
    if answered is not None:
        return _deeds_first([_with_open(a, message, context) for a in answered])
    clauses = split(message, photo_count=context.photo_count, turn_photos=context.turn_photos)
    if not clauses:
        return [_photo_alone(context)] if context.turn_photos else [Action(text=ABILITIES)]
    clauses = _joined(clauses)
    actions: list[Action] = []
    for clause in clauses:
        actions += _decide_clause(clause, context, bool(actions))
    actions = _merged(actions)
    if context.turn_photos and actions and not any(a.tool for a in actions):
        # "Hello!" with a picture: the greeting is no reason not to look.
        return [_photo_alone(context)]
    return _deeds_first([_with_open(a, message, context) for a in actions])


def _deeds_first(actions: list[Action]) -> list[Action]:
    """Words beside deeds ("great, …") need no answer of their own, nor do words said twice."""
    return [a for a in actions if a.tool] or actions[:1] or [Action(text=ABILITIES)]


def _decide_clause(clause: Clause, context: Context, later: bool) -> list[Action]:
    for reading in match(clause):
        action = HANDLERS[reading.intent](reading, clause, context)
        if action is not None:
            return [_with_photos(action, clause)]
    return [_with_photos(a, clause) for a in _unmatched(clause, context, later)]


def _with_photos(action: Action, clause: Clause) -> Action:
    if clause.photos and action.tool in TAKE_PHOTOS:
        return replace(action, args={**(action.args or {}), "photos": list(clause.photos)})
    return action


def _with_open(action: Action, message: str, context: Context) -> Action:
    """Of several photos, the one whose name was asked for is the one that is named."""
    named = action.tool in ("teach_label", "correct_label", "reject_label")
    if not named or not context.open_photos or context.turn_photos or _MANY.search(message):
        return action
    args = action.args or {}
    if len(context.open_photos) > 1 and "photos" not in args:
        which = join([f"photo {n}" for n in context.open_photos], "or")
        label = args.get("label", "zorb")
        return Action(
            text=f"Which one do you mean, {which}? Say “photo {context.open_photos[0]} is "
            f"{article(label)}”, or “they are all {article(label)}”."
        )
    return replace(action, args={"photos": list(context.open_photos), **args})


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
        return [Action(text=f"I can't answer that: I only know pictures. {ABILITIES}")]
    name = name_in(text, context.labels)
    if name and len(text.split()) <= 4 and not later:
        if context.turn_photos:
            return [Action("teach_label", {"label": name})]
        if context.asked or (known and context.recognised):
            return [teach_action(name, context)]
    if context.turn_photos:
        return [] if later else [_photo_alone(context)]
    return [] if later else [Action(text=f"I did not understand that. {ABILITIES}")]


def _as_question(text: str, asks: bool) -> str:
    text = text[:1].lower() + text[1:]
    return f"{text}?" if asks else text
