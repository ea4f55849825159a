"""From a message and what was said before to tool calls or words.

Knows nothing of langchain: takes text and a :class:`Context`, returns :class:`Action` objects.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from assistant.router.actions import Action, Context
from assistant.router.answers import reply_to_question
from assistant.router.handlers import HANDLERS, TAKE_PHOTOS
from assistant.router.language import LONGEST, Language, language, likely
from assistant.router.names import mentioned, name_in, named
from assistant.router.reading import Clause, clauses, halves
from assistant.router.similar import alike
from assistant.router.spelling import tokens_of
from assistant.router.teaching import teach_action
from tools.wording import article, is_plural, join, singular

__all__ = ["decide"]

_DEICTIC = re.compile(
    r"\b(?:it|its|this|that|these|those|they|them|he|she|there|picture|photo|image|drawing|here|"
    r"colou?rs?|how many|see|left|right|above|below|top|bottom|background|shape|object|wearing|"
    r"holding|count|bigger|smaller|largest)\b",
    re.I,
)
_NUMBERED = re.compile(r"(\b(?:photo|picture|image|pic|drawing|number)s?\s*)?#(\d+)", re.I)
_MANY = re.compile(r"\b(?:these|those|they|them|both|all)\b", re.I)
# What begins like this is a sentence and no name.
_TELLS = re.compile(
    r"(?:this|that|these|those|it|i|we|you|he|she|they|there|here|its|let|do|don't|please|can)\b",
    re.I,
)
_NAME_PARTS = 8  # words, or Chinese signs, of a name that stands alone
_ORDERS = re.compile(r"(?:count|read|point|locate|answer)\b", re.I)
_ABOUT_PARTS = re.compile(
    r"(?:how (?:many|big|old|tall|much|long)|what colou?r|which colou?r|where|colou?r)\b|"
    r".*\b(?:doing|wearing|holding|have|has|got|made of)\b",
    re.I,
)


def decide(message: str, context: Context) -> list[Action]:
    """What to do about a message: at least one action."""
    message = message.replace("’", "'").replace("‘", "'").replace("`", "'")
    codes = likely(message, context.language)
    tongues = [language(c) for c in dict.fromkeys((*codes, context.language, "en"))]
    for tongue in tongues:
        answered = reply_to_question(message, context, tongue)
        if answered is None:
            answered = _whole(message, context, tongue)
        if answered is not None:
            return _finished(answered, message, context, tongue)
    message = _NUMBERED.sub(lambda m: f"{m[1] or 'picture '}{m[2]}", message)
    actions: list[Action] = []
    for tongue in tongues:
        found, understood = _taken_apart(message, context, tongue)
        if understood or not actions:
            actions = found
        if understood:
            return _finished(actions, message, context, tongue)
    return _finished(actions, message, context, tongues[0])


def _finished(
    actions: Sequence[Action], message: str, context: Context, tongue: Language
) -> list[Action]:
    """Words beside deeds ("great, …") need no answer of their own, nor do words said twice."""
    actions = _merged(actions)
    if context.turn_photos and actions and not any(a.tool or a.options for a in actions):
        # "Hello!" with a picture: the greeting is no reason not to look.
        actions = [_photo_alone(context)]
    actions = [_with_open(a, message, context, tongue) for a in actions]
    deeds = [a for a in actions if a.tool] or actions[:1]
    deeds = deeds or [Action(text=tongue.said("abilities"))]
    return [replace(a, language=tongue.code) for a in deeds]


def _whole(message: str, context: Context, tongue: Language) -> list[Action] | None:
    for reading in tongue.readings(tongue.read(message.strip()), "whole"):
        clause = Clause(tongue.read(message), False, tongue)
        action = HANDLERS[reading.intent](reading, clause, context)
        if isinstance(action, Action):
            return [action]
    return None


def _taken_apart(message: str, context: Context, tongue: Language) -> tuple[list[Action], bool]:
    """The actions of all clauses, and whether the table knew one of them."""
    found = clauses(message, tongue, context.photo_count, context.turn_photos)
    if not found:
        return ([_photo_alone(context)] if context.turn_photos else []), False
    actions: list[Action] = []
    idle: list[Action] = []
    understood = False
    for clause in _joined(found):
        known = _understood(clause, context) or _loosely(clause, context)
        understood = understood or known is not None
        if known is None:
            known = _unmatched(clause, context, bool(actions))
            if not clause.question:
                # A sentence that says nothing to us matters only when no other does.
                idle += known
                continue
        actions += known
    return actions or idle, understood


def _understood(clause: Clause, context: Context) -> list[Action] | None:
    """What the table makes of a clause, or of its parts."""
    for first, second in halves(clause, "starts"):
        right, left = _understood(second, context), _read(first, context)
        asks = second.question or _ORDERS.match(second.text) is not None
        if right is None and left is not None and asks and _read(clause, context) is None:
            right = _unmatched(second, context, True)
        if right is not None:
            if left is None and first.question:
                left = _unmatched(first, context, False)
            if left is None and first.photos:
                right = [_with_photos(a, first) for a in right]
            return [*(left or ()), *right]
    whole = _read(clause, context)
    if whole is None:
        parts = (_read(second, context) for _, second in halves(clause, "tells"))
        whole = next((p for p in parts if p is not None), None)
    return whole


def _read(clause: Clause, context: Context) -> list[Action] | None:
    """What the first line that fits and makes sense here says; then with typos corrected."""
    for guess in (False, True):
        sentence = clause.sentence
        if guess:
            if len(sentence.words) == 1 and (len(sentence.words[0]) < 6 or context.asked):
                return None  # rather a name
            sentence = clause.tongue.read(clause.text, guess=True)
            if sentence.words == clause.sentence.words:
                return None
        for reading in clause.tongue.readings(sentence):
            done = HANDLERS[reading.intent](reading, clause, context)
            if done is not None:
                found = [done] if isinstance(done, Action) else list(done)
                return [_with_photos(a, clause) for a in found]
    return None


def _loosely(clause: Clause, context: Context) -> list[Action] | None:
    """What a clause says by some of its words alone, beside the names of taught labels."""
    sentence = named(clause.sentence, context.labels)
    for reading in clause.tongue.readings(sentence, "loose"):
        done = HANDLERS[reading.intent](reading, clause, context)
        if done is not None:
            found = [done] if isinstance(done, Action) else list(done)
            return [_with_photos(a, clause) for a in found]
    return None


def _with_photos(action: Action, clause: Clause) -> Action:
    if clause.photos and action.tool in TAKE_PHOTOS:
        return replace(action, args={"photos": list(clause.photos), **(action.args or {})})
    return action


def _with_open(action: Action, message: str, context: Context, tongue: Language) -> Action:
    """Of several photos, the one whose name was asked for is the one that is named."""
    named = action.tool in ("teach_label", "correct_label", "reject_label")
    if not named or not context.open_photos or context.turn_photos or _MANY.search(message):
        return action
    args = action.args or {}
    if len(context.open_photos) > 1 and "photos" not in args:
        which = join([f"photo {n}" for n in context.open_photos], "or")
        label = article(args.get("label", "zorb"))
        first = str(context.open_photos[0])
        return Action(text=tongue.said("which_photo", photos=which, first=first, label=label))
    return replace(action, args={"photos": list(context.open_photos), **args})


def _joined(found: list[Clause]) -> list[Clause]:
    """ "No." and what follows it belong together."""
    if len(found) > 1 and not found[1].question:
        opener = found[0].tongue.block("openers")
        sentence = found[0].sentence
        if opener is not None and len(sentence.words) in opener.ends(sentence, 0):
            text = f"{found[0].text}, {found[1].text}"
            joined = replace(found[1], sentence=found[1].tongue.read(text))
            return [joined, *found[2:]]
    return found


def _merged(actions: Sequence[Action]) -> list[Action]:
    """ "It's not a zorb. It's a blick." is one correction; a call said twice is one call."""
    merged: list[Action] = []
    for action in actions:
        last = merged[-1] if merged else None
        if last and last.tool == "reject_label" and action.tool in ("teach_label", "correct_label"):
            wrong = (last.args or {}).get("label")
            args = {**(action.args or {}), **({"wrong": wrong} if wrong else {})}
            merged[-1] = Action("correct_label", args)
        elif (
            last
            and action.tool == "reject_label"
            and action.args == {"label": (last.args or {}).get("wrong")}
        ):
            continue  # "That's a blick! Not a zorb."
        elif last and last.tool == "forget_label" and action.tool == "undo":
            continue  # "forget zorb, remove it": said twice, not taken back
        elif action not in merged:
            merged.append(action)
    if any(a.tool == "classify_image" and "labels" in (a.args or {}) for a in merged):
        # "Zorb or blick, what do you think?" is one question.
        merged = [a for a in merged if (a.tool, a.args) != ("classify_image", {})]
    if merged and merged[-1].tool in ("teach_label", "correct_label"):
        # "Do you know what this is? It's a zorb": the question was answered.
        merged = [a for a in merged if a.tool != "classify_image"]
    return merged


def _photo_alone(context: Context) -> Action:
    return Action("classify_image" if context.labels else "caption_image", {})


def _unmatched(clause: Clause, context: Context, later: bool) -> list[Action]:
    """A clause that no line of the table fits: a name, a question about the picture, or neither."""
    text, tongue = clause.text, clause.tongue
    has_photo = bool(context.turn_photos or context.photo_count or clause.photos)
    short = len(clause.sentence.words) <= LONGEST
    known = mentioned(text, context.labels) if short else []
    name = name_in(text, context.labels, typos=True, tongue=tongue) if short else None
    ordered = _ORDERS.match(text) is not None
    if name not in context.labels and (_TELLS.match(text) or _remarks(clause)):
        name = None
    if name and not clause.question and not ordered and not later:
        if context.turn_photos:
            if len(context.turn_photos) > 1 and is_plural(name) and name.islower():
                name = singular(name)
            return [_with_photos(Action("teach_label", {"label": name}), clause)]
        if context.asked or (name in context.labels and context.recognised):
            return [_with_photos(teach_action(name, context), clause)]
        if name in context.labels:
            return [Action("find_similar", {"query": name})]
    guessed = alike(clause, context, sure=clause.question and has_photo)
    if guessed is not None:
        return [_with_photos(guessed, clause)]
    if clause.question or ordered:
        about = bool(
            context.turn_photos or clause.photos or later or _DEICTIC.search(text) or known
        )
        if about and not has_photo:
            return [Action(text=tongue.said("send_first"))]
        if known and not ordered and not _ABOUT_PARTS.match(text):
            if not context.turn_photos and not clause.photos and not _DEICTIC.search(text):
                return [Action("find_similar", {"query": known[0]})]
            return [_with_photos(Action("classify_image", {"labels": known[:1]}), clause)]
        if about:
            question = _as_question(text, clause.question)
            return [_with_photos(Action("answer_question", {"question": question}), clause)]
        return [Action(text=tongue.said("cant_answer"))]
    if later:
        return []
    if context.turn_photos or clause.photos:
        return [_with_photos(_photo_alone(context), clause)]
    return [Action(text=tongue.said("not_understood"))]


def _remarks(clause: Clause) -> bool:
    """Whether what stands alone is too long for a name, or what people say of a picture."""
    parts = tokens_of(clause.text)
    return (
        len(clause.text.split()) > 4
        or len(parts) > _NAME_PARTS
        or any(t.fits("remarks", clause.text) for t in (clause.tongue, language("en")))
    )


def _as_question(text: str, asks: bool) -> str:
    text = text[:1].lower() + text[1:]
    return f"{text}?" if asks and not text.endswith("?") else text
