"""Messages that hold several wishes: where they are cut, and with what the next wish is said.

Knows nothing of what becomes of a wish.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from assistant.router.actions import Action, Context
from assistant.router.guessing import LONGEST, ORDERS, SURE, before, of_speaker
from assistant.router.language import Language
from assistant.router.learned import Guess, reader
from tools.artifacts import Change

__all__ = ["after", "holds_one", "unjoined", "wishes"]

_TALK = ("nothing", "help", "dont_know", "off_topic")
_CLEARLY = 0.7  # how likely each word of a name must belong to it beside another wish
_NAME = ("teach", "is_it")
"""What a name alone may mean."""
_OF_NAMES = {*ORDERS, "report"}
"""What may be said of several names at once."""
_MAY_BEGIN = 0.3  # how likely a further wish must begin at a place that is looked at
_UNLIKELY = 0.1  # up to which none begins there
_BESIDE = 2  # words that may stand beside a name which is all that is said
_READ, _SEVERAL = 0.6, 0.0  # what being read well counts beside that, and when it is enough
_CHANGE = (
    "teach_label", "correct_label", "rename_label", "merge_labels", "alias_label", "forget_label",
)  # fmt: skip


def wishes(text: str, tongue: Language, context: Context) -> list[str]:
    """A message cut where a further wish begins; whole where it holds but one, or is too long.

    A cut counts for the more the better its parts can be read, and for the less the better the
    whole can; talk is no wish, and is left with the wish that it stands beside.
    """
    if len(text) > LONGEST or not _may_hold_more(text, tongue):
        return [text]
    network, came = reader(tongue), before(context)
    cuts = [c for c in network.cuts(text, context.labels, came) if c[1] > _MAY_BEGIN]
    if not cuts:
        return [text]
    places = [0, *(place for place, _ in cuts), len(text)]
    parts: list[str] = []
    guesses: list[Guess] = []
    for start, end in pairwise(places):
        part = unjoined(text[start:end].strip(), tongue)
        guess = network.read(part, context.labels, came)
        words = tongue.read(text[start:end]).words
        wish = guess is not None and _is_wish(guess, words, guesses, context, tongue)
        if parts and not (wish and guesses):
            parts[-1] += text[start:end]
        else:
            parts.append(text[start:end])
        if guess is not None and wish:
            guesses.append(guess)
    whole = network.read(text, context.labels, came)
    if len(guesses) < 2 or whole is None or _of_one_picture(guesses, context):
        called = [tongue.fits("naming", part) for part in parts]
        kind_first = len(guesses) == len(parts) > 1 and called[-1] and not any(called[:-1])
        return [p.strip() for p in parts] if kind_first else [text]
    sure = _odds(max(share for _, share in cuts))
    sure += _READ * (_odds(min(g.probability for g in guesses)) - _odds(whole.probability))
    return [p.strip() for p in parts] if sure > _SEVERAL else [text]


def _of_one_picture(guesses: Sequence[Guess], context: Context) -> bool:
    """Whether all that is said of the one picture at hand is its name, or a question what it is
    after what only seemed to be one: "and now, my dear Watson: what is this?"."""
    *seeming, last = [guess.intent for guess in guesses]
    of_one = len(context.turn_photos) <= 1 and not context.open_photos
    return of_one and set(seeming) == {"teach"} and last in ("teach", "classify")


def holds_one(text: str, tongue: Language, context: Context) -> bool:
    """Whether no place in a message is likely to begin a further wish."""
    if not _may_hold_more(text, tongue):
        return True
    cuts = reader(tongue).cuts(text[:LONGEST], context.labels, before(context))
    return all(share <= _UNLIKELY for _, share in cuts)


def _may_hold_more(text: str, tongue: Language) -> bool:
    """Whether there is a mark or an "and" in it: most messages need not be looked at further."""
    sentence = tongue.read(text)
    marked = any(map(str.strip, sentence.marks[:-1]))
    return marked or not tongue.joints or not tongue.joints.isdisjoint(sentence.words)


def _is_wish(
    guess: Guess,
    words: Sequence[str],
    earlier: Sequence[Guess],
    context: Context,
    tongue: Language,
) -> bool:
    """Whether a part of a message is a wish, beside those ``earlier`` in it."""
    if guess.intent in _TALK or words[0] in tongue.reasons or of_speaker(guess, tongue):
        return False  # "before I forget: …"
    if earlier and (guess.intent, guess.slots) == (earlier[-1].intent, earlier[-1].slots):
        return False  # the same once more
    bare = len(words) <= len(guess.slots.get("label", "").split()) + _BESIDE
    if bare and guess.intent in _NAME and earlier and earlier[-1].intent in _OF_NAMES:
        return False  # "… and the coffee mug"
    about = context.turn_photos or context.asked or context.recognised or context.changed
    clear = guess.probability >= SURE and min(guess.surety.values(), default=0.0) >= _CLEARLY
    return guess.intent != "teach" or bool(about and clear)


def _odds(share: float) -> float:
    """The logarithm of the odds."""
    share = min(max(share, 1e-4), 1 - 1e-4)
    return math.log(share / (1 - share))


def unjoined(part: str, tongue: Language) -> str:
    """Without the words that join it to what came before."""
    sentence = tongue.read(part)
    begin = next((i for i, w in enumerate(sentence.words) if w not in tongue.joints), 0)
    return part[sentence.spans[begin][0] :] if begin else part


def after(context: Context, actions: Sequence[Action]) -> Context:
    """What the next wish of a message is said with, when these are done."""
    labels, changed = list(context.labels), context.changed
    for action in actions:
        args = action.args or {}
        new = args.get("new") or args.get("alias") or args.get("into") or args.get("label")
        if action.tool in _CHANGE and new:
            if action.tool in ("rename_label", "merge_labels", "forget_label"):
                labels = [x for x in labels if x != args["label"]]
            if action.tool == "forget_label":
                continue
            labels += [new] if new not in labels else []
            changed = Change("taught", new, (), 0)
    recognised = context.recognised if changed is context.changed else None
    return replace(
        context, labels=tuple(labels), changed=changed, recognised=recognised, asked=False,
        doubt=None, wiping=False,
    )  # fmt: skip
