"""From a message and what was said before to tool calls or words.

Knows nothing of langchain: takes text and a :class:`Context`, returns :class:`Action` objects.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from assistant.router.actions import Action, Context
from assistant.router.answers import agrees, refuses, reply_to_question
from assistant.router.certain import certain
from assistant.router.guessing import SURE, guessed, photo_alone, with_photos
from assistant.router.handlers import HANDLERS
from assistant.router.judging import Fit, judged
from assistant.router.language import LONGEST, Language, language, likely, unheaded
from assistant.router.merging import merged
from assistant.router.names import named
from assistant.router.reading import Clause, clauses, halves, noted, pieces
from assistant.router.references import Pictures
from assistant.router.several import after, unjoined, wishes
from assistant.router.unmatched import ORDERS, unmatched
from tools.wording import article, join

__all__ = ["decide"]

_NUMBERED = re.compile(r"(\b(?:photo|picture|image|pic|drawing|number)s?\s*)?#(\d+)", re.I)
_NO = re.compile(r"[,.!，。！]")  # what a no may end with that more is said after
_MANY = re.compile(r"\b(?:these|those|they|them|both|all)\b", re.I)


def decide(message: str, context: Context) -> list[Action]:
    """What to do about a message: at least one action."""
    message = message.replace("’", "'").replace("‘", "'").replace("`", "'")
    message = unheaded(message)
    codes = likely(message, context.language)
    tongues = [language(c) for c in dict.fromkeys((*codes, context.language, "en"))]
    message = noted(message, tongues[0])
    if context.offered and not context.turn_photos:
        tongue = next((x for x in tongues if refuses(_NO.split(message, maxsplit=1)[0], x)), None)
        if tongue is not None:
            return _refused(message, context, tongue)
        tongue = next((x for x in tongues if agrees(message, x)), None)
        if tongue is not None:
            done = decide(context.offered, replace(context, offered=""))
            return [replace(a, language=tongue.code) for a in done]
    actions, tongue, exact = _decided(message, tongues, context, len(codes))
    parts = [message] if context.wiping else wishes(message, tongues[0], context)
    deeds = [a for a in actions if a.tool]
    pictures = {tuple((a.args or {}).get("photos", ())) for a in deeds}
    placed = exact and len(pictures) == len(deeds) >= len(parts)
    listed = exact and any(len((a.args or {}).get("labels", ())) > 1 for a in deeds)
    if len(parts) > 1 and not (placed or listed):  # of pictures and lists the tables know more
        several = _one_by_one(parts, tongues, context, len(codes))
        if any(a.tool for a in several):
            done = _finished(several, message, context, tongue)
            # "Show me zorb, then forget everything": what is asked first is asked behind the deed.
            asked = [a for a in several if a.options and not a.tool][-1:]
            return [*done, *(replace(a, language=tongue.code) for a in asked)]
    return _finished(actions, message, context, tongue)


def _decided(
    message: str, tongues: Sequence[Language], context: Context, likeliest: int
) -> tuple[Sequence[Action], Language, bool]:
    """What to do about what holds one wish, or what the tables can take apart; in which language,
    and whether lines of the tables fit it.

    The first ``likeliest`` of the languages come before the others, which are tried when none of
    those has a line.
    """
    for tongue in tongues:
        answered = reply_to_question(message, context, tongue)
        if answered is None:
            answered = _whole(message, context, tongue)
        if answered is not None:
            return answered, tongue, True
    message = _NUMBERED.sub(lambda m: f"{m[1] or 'picture '}{m[2]}", message)
    pictures = Pictures(context.turn_photos, context.photo_count, context.shown)
    first = found = clauses(message, tongues[0], pictures)
    sure = certain(message, found, context, sole=likeliest == 1)
    if sure is not None:
        return [sure], tongues[0], False
    actions: Sequence[Action] = []
    for place, tongue in enumerate(tongues, 1):
        found = clauses(message, tongue, pictures) if place > 1 else first
        done, fit = _taken_apart(found, context)
        if fit is not Fit.NOT:
            return judged(message, found, done, fit, context), tongue, fit is Fit.LINE
        if not actions:
            first, actions = found, done
        guess = guessed(message, tongue, context) if place == likeliest < len(tongues) else None
        if guess is not None and guess.probability >= SURE:
            break  # it is said in that language, though by no line of it
    return judged(message, first, actions, Fit.NOT, context), tongues[0], False


def _one_by_one(
    parts: Sequence[str], tongues: Sequence[Language], context: Context, likeliest: int
) -> Sequence[Action]:
    """What to do about a message that holds several wishes."""
    found: list[Action] = []
    for part in parts:
        actions, *_ = _decided(unjoined(part, tongues[0]), tongues, context, likeliest)
        found += actions
        context = after(context, actions)
    return found


def _finished(
    actions: Sequence[Action], message: str, context: Context, tongue: Language
) -> list[Action]:
    """Words beside deeds ("great, …") need no answer of their own, nor do words said twice."""
    actions = merged(actions, context)
    if context.turn_photos and actions and not any(a.tool or a.options for a in actions):
        # "Hello!" with a picture: the greeting is no reason not to look.
        actions = [photo_alone(context)]
    if context.turn_photos and actions and actions[0].tool == "explain_answer":
        # "Why is it a zorb?" with a new picture: of that one nothing was answered yet.
        actions = [Action("classify_image", {}), *actions]
    actions = [_with_open(a, message, context, tongue) for a in actions]
    deeds = [a for a in actions if a.tool] or actions[:1]
    if len(deeds) > 1:
        deeds = [a for a in deeds if not _is_talk(a, context)] or deeds
    deeds = deeds or [Action(text=tongue.said("abilities"))]
    return [replace(a, language=tongue.code) for a in deeds]


def _whole(message: str, context: Context, tongue: Language) -> list[Action] | None:
    for reading in tongue.readings(tongue.read(message.strip()), "whole"):
        clause = Clause(tongue.read(message), False, tongue)
        action = HANDLERS[reading.intent](reading, clause, context)
        if isinstance(action, Action):
            return [action]
    return None


def _taken_apart(found: list[Clause], context: Context) -> tuple[list[Action], Fit]:
    """The actions of all clauses, and how well the tables know them."""
    if not found:
        return ([photo_alone(context)] if context.turn_photos else []), Fit.NOT
    actions: list[Action] = []
    idle: list[Action] = []
    fit = Fit.NOT
    for clause in _joined(found):
        known = _understood(clause, context)
        if known is not None:
            fit = Fit.LINE
        else:
            known = _of_pieces(clause, context) or _loosely(clause, context)
            if known is not None:
                fit = max(fit, Fit.PART)
        if known is None:
            known = unmatched(clause, context, bool(actions), alone=len(found) == 1)
            if not clause.question:
                # A sentence that says nothing to us matters only when no other does.
                idle += known
                continue
        actions += known
    if not any(a.tool for a in actions) and any(map(_names, idle)):
        return idle, fit  # "Zorb. Remember it."
    return actions or idle, fit


def _understood(clause: Clause, context: Context) -> list[Action] | None:
    """What the table makes of a clause, or of its two halves."""
    for first, second in halves(clause, "starts"):
        right, left = _understood(second, context), _read(first, context)
        asks = second.question or ORDERS.match(second.text) is not None
        if right is None and left is not None and asks and _read(clause, context) is None:
            right = unmatched(second, context, True)
        if right is not None:
            if left is None and first.question:
                left = unmatched(first, context, False)
            if left is None and first.photos:
                right = [with_photos(a, first) for a in right]
            return [*(left or ()), *right]
    whole = _read(clause, context)
    if whole is None:
        parts = (_read(second, context) for _, second in halves(clause, "tells"))
        whole = next((p for p in parts if p is not None), None)
    return whole


def _of_pieces(clause: Clause, context: Context) -> list[Action] | None:
    """What some of the pieces of a clause say, when the others are only talk."""
    if len(clause.sentence.words) > LONGEST:
        return None
    parts = pieces(clause, joined=False)
    for place in range(1, len(parts) - 1):  # "this, my dear, | is a zorb"
        text = " ".join(p.text for n, p in enumerate(parts) if n != place)
        found = _read(replace(clause, sentence=clause.tongue.read(text)), context)
        if found is not None and any(a.tool for a in found):
            return found
    for joined in (False, True):
        if joined and clause.question:
            return None  # "what is he wearing and holding": one question
        actions: list[Action] = []
        for piece in pieces(clause, joined=joined):
            known = _read(piece, context) or _loosely(piece, context) or ()
            # Of one picture one name: what comes after "this is Rex" says more of him, unless that
            # is what gives the name.
            actions += [
                a for a in known if not _names(a) or a.naming or not any(map(_names, actions))
            ]
        if any(_is_talk(a, context) for a in actions):
            continue
        if any(a.tool for a in actions):
            doubted = clause.tongue.fits("doubts", clause.text)
            if any(_names(a) or a.tool == "reject_label" for a in actions):
                actions = [a for a in actions if (a.tool, a.args) != ("classify_image", {})]
            return [_asked(a) if doubted else a for a in actions if a.tool]
    return None


def _is_talk(action: Action, context: Context) -> bool:
    """Whether what would be a name is too long for a piece of a clause: "rather blurred, sorry"."""
    label = str((action.args or {}).get("label", ""))
    talk = label.islower() and len(label.split()) > 3
    return _names(action) and talk and label not in context.labels


def _names(action: Action) -> bool:
    return action.tool in ("teach_label", "correct_label")


def _refused(message: str, context: Context, tongue: Language) -> list[Action]:
    """What to do about a no to what was offered: what is wanted instead, or nothing."""
    rest, offered = "".join(_NO.split(message, maxsplit=1)[1:]), context.offered.casefold()
    if rest.strip() and not refuses(message, tongue):
        actions = decide(rest, replace(context, offered=""))
        named = [(a.args or {})["label"].casefold() for a in actions if _names(a)]
        if all(a.tool for a in actions) and not any(name in offered for name in named):
            return actions  # but not by "No. Emily is my daughter."
    return [Action(text=tongue.asks("refused") or "", language=tongue.code)]


def _asked(action: Action) -> Action:
    """What would be taught by somebody who is sure, as a question."""
    if not _names(action):
        return action
    args = {k: v for k, v in (action.args or {}).items() if k == "photos"}
    return Action("classify_image", {"labels": [(action.args or {})["label"]], **args})


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
                return [with_photos(a, clause) for a in found]
    return None


def _loosely(clause: Clause, context: Context) -> list[Action] | None:
    """What a clause says by some of its words alone, beside the names of taught labels."""
    sentence = named(clause.sentence, context.labels)
    for reading in clause.tongue.readings(sentence, "loose"):
        done = HANDLERS[reading.intent](reading, clause, context)
        if done is not None:
            found = [done] if isinstance(done, Action) else list(done)
            return [with_photos(a, clause) for a in found]
    return None


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
    """ "No." and what follows it belong together; so do a statement and "is it?" after it."""
    if len(found) > 1 and found[-1].question and found[-1].tongue.fits("checks", found[-1].text):
        found = [replace(c, marked=True) for c in found[:-1]]
    if len(found) > 1 and not found[1].question:
        opener = found[0].tongue.block("openers")
        sentence = found[0].sentence
        if opener is not None and len(sentence.words) in opener.ends(sentence, 0):
            text = f"{found[0].text}, {found[1].text}"
            joined = replace(found[1], sentence=found[1].tongue.read(text))
            return [joined, *found[2:]]
    return found
