"""Questions that are answered by looking at the things of a picture one by one.

Where something is, how many there are, whether it is there, which is left, above or bigger: a small
answerer that sees all of a picture at once is often wrong about these where there are several
things, and knows no taught name. What colour a thing has, its pixels say. Answers are as short as
an answerer's. Knows nothing of conversations.
"""

import re
from collections.abc import Callable

import numpy as np

from tools.colours import COLOURS, spoken_colour
from tools.grounding import Things, has_world, look_at
from tools.images import Photo
from tools.recall import Recall
from tools.sight import Sight
from tools.wording import is_plural, singular

__all__ = ["look_closer"]

_NOT_THERE = -3.0  # what a question takes for granted has to be as likely as this
_THE = r"(?:the |an? |any |some |my )?"
_HERE = r"(?: (?:here|there|(?:in|on) (?:the|this|that) (?:picture|image|photo|drawing)))?"
_SIDES = r"(?:to the )?(?P<side>left|right|above|over|below|under)(?: of)?"
_ANY = {"thing", "things", "object", "objects", "item", "items", "shape", "shapes", "something",
        "anything"}  # fmt: skip
_POINTED = re.compile(r"(?:it|this|that|they|these|this one|the (?:thing|object|shape))")
_GRAY = {"grey": "gray"}


def look_closer(
    sight: Sight, photo: Photo, question: str, recall: Recall | None = None
) -> str | None:
    """A short answer; None where the question is another one, or is better put to an answerer.

    ``recall``: what was taught, which an answerer does not know.
    """
    asked = re.sub(r"\s+", " ", question.strip().rstrip("?. ").casefold())
    for pattern, answer in _QUESTIONS:
        found = pattern.fullmatch(asked)
        if found is None:
            continue
        things = look_at(sight, photo, recall)
        names = [found[key] for key in ("name", "other") if key in pattern.groupindex]
        # One thing alone an answerer sees well, if it knows the name.
        several = has_world(sight) and (len(things) > 1 or answer is _colour)
        closer = len(things) > 0 and (several or any(map(things.is_taught, names)))
        return answer(things, found) if closer else None
    return None


def _where(things: Things, found: re.Match[str]) -> str | None:
    index = _one(things, found["name"])
    if index is None:
        return None
    x, y = things.regions[index].centre
    row = "top" if y < 0.4 else "bottom" if y > 0.6 else ""
    column = "left" if x < 0.4 else "right" if x > 0.6 else ""
    return f"{row} {column}".strip() or "center"


def _colour(things: Things, found: re.Match[str]) -> str | None:
    index = _one(things, found["name"])
    return None if index is None else _colour_of(things, index) or None


def _count(things: Things, found: re.Match[str]) -> str | None:
    colour, noun = _colour_and_noun(things, found["name"])
    chosen = np.array([not colour or _colour_of(things, i) == colour for i in range(len(things))])
    if noun and chosen.any():
        fit = np.where(chosen, things.fit(noun), -np.inf)
        best = int(fit.argmax())
        if things.is_taught(noun):
            chosen = fit >= 0
        else:
            chosen &= things.like(best) & (fit[best] >= _NOT_THERE)
    return str(int(chosen.sum()))


def _exists(things: Things, found: re.Match[str]) -> str | None:
    colour, noun = _colour_and_noun(things, found["name"])
    fit = things.fit(noun) >= 0 if noun else np.ones(len(things), bool)
    right = [
        bool(fit[i]) and (not colour or _colour_of(things, i) == colour) for i in range(len(things))
    ]
    return "yes" if any(right) else "no"


def _compared(things: Things, found: re.Match[str]) -> str | None:
    pair = _two(things, found["name"], found["other"])
    if pair is None:
        return None
    one, other = (things.regions[i].size for i in pair)
    wanted = found["size"] in ("bigger", "larger")
    return found["name"] if (one > other) == wanted else found["other"]


def _beside(things: Things, found: re.Match[str]) -> str | None:
    pair = _two(things, found["name"], found["other"])
    if pair is None:
        return None
    return "yes" if _is_beside(things, *pair, found["side"]) else "no"


def _one(things: Things, name: str) -> int | None:
    """The thing that is spoken of; None when that is unclear, or it is not there."""
    if _POINTED.fullmatch(name):
        return 0 if len(things) == 1 else None
    colour, noun = _colour_and_noun(things, name)
    fit = things.fit(noun) if noun else np.zeros(len(things))
    if colour:
        own = [_colour_of(things, i) == colour for i in range(len(things))]
        fit = np.where(own, fit, -np.inf)
    best = int(fit.argmax())
    least = 0.0 if things.is_taught(noun) else _NOT_THERE
    return best if fit[best] >= least else None


def _two(things: Things, name: str, other: str) -> tuple[int, int] | None:
    """The two different things that two names fit best together."""
    if len(things) < 2:
        return None
    one, two = (things.fit(_colour_and_noun(things, n)[1] or n) for n in (name, other))
    both = one[:, None] + two[None, :]
    np.fill_diagonal(both, -np.inf)
    first, second = np.unravel_index(int(both.argmax()), both.shape)
    return int(first), int(second)


def _is_beside(things: Things, index: int, other: int, side: str) -> bool:
    (x, y), (x2, y2) = things.regions[index].centre, things.regions[other].centre
    match side:
        case "left":
            return x < x2
        case "right":
            return x > x2
        case "above" | "over":
            return y < y2
        case _:
            return y > y2


def _colour_of(things: Things, index: int) -> str:
    return spoken_colour(things.regions[index].pixels)


def _colour_and_noun(things: Things, name: str) -> tuple[str, str]:
    """ "red balls" → ("red", "ball"); "something blue" → ("blue", ""); "things" → ("", "").

    A taught name stays whole, whatever is in it.
    """
    if things.is_taught(name):
        return "", name
    words = [_GRAY.get(w, w) for w in name.split()]
    colours = [w for w in words if w in COLOURS]
    rest = " ".join(w for w in words if w not in COLOURS and w not in _ANY)
    return (colours[0] if len(colours) == 1 else ""), singular(rest) if is_plural(rest) else rest


_Answer = Callable[[Things, re.Match[str]], str | None]
_QUESTIONS: tuple[tuple[re.Pattern[str], _Answer], ...] = tuple(
    (re.compile(pattern), answer)
    for pattern, answer in (
        (rf"where(?:'s| is| are) {_THE}(?P<name>.+?){_HERE}", _where),
        (
            rf"what colou?r (?:is|are|has) (?:the )?(?P<name>(?!(?:the )?background).+?){_HERE}",
            _colour,
        ),
        (rf"how many (?P<name>.+?) (?:are|do you see|can you see|do you count){_HERE}", _count),
        (rf"how many(?P<name>) (?:are|do you see|can you see|do you count){_HERE}", _count),
        (
            rf"which (?:one )?is (?P<size>bigger|larger|smaller), {_THE}(?P<name>.+) or "
            rf"{_THE}(?P<other>.+)",
            _compared,
        ),
        (rf"(?:is|are) the (?P<name>.+?) {_SIDES} the (?P<other>.+)", _beside),
        (
            r"(?:is there|are there|(?:do|can) you see|does (?:the|this) (?:image|picture) "
            rf"(?:contain|show|have)) (?!not |no ){_THE}(?P<name>.+?){_HERE}",
            _exists,
        ),
        (rf"is (?P<name>(?:anything|something) \w+){_HERE}", _exists),
    )
)
