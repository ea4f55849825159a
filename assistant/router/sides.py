"""Pictures told apart in one breath: "the left one is Noor and the right one Samir".

Knows nothing of what a clause means; the words are data (``sides`` in ``*.yaml``).
"""

from collections.abc import Sequence
from itertools import pairwise

from assistant.router.language import Language
from assistant.router.names import name_in
from assistant.router.spelling import Sentence

__all__ = ["sided"]

_PLACES = {"first": 0, "second": 1, "third": 2, "last": -1}


def sided(sentence: Sentence, tongue: Language, group: Sequence[int]) -> list[tuple[int, Sentence]]:
    """For each picture what is said of it, "this is …"; none if it is not such a sentence.

    ``group`` are the numbers of the pictures; what the last of them is called may be asked or
    unknown.
    """
    if len(group) < 2 or tongue.block("sides", "first") is None:
        return []
    found: list[tuple[int, int, int]] = []  # which picture, from where to where it is pointed at
    place = 0
    while place < len(sentence.words):
        side, end = _side(sentence, place, tongue)
        if not end and not found:
            return []
        if end and _PLACES[side] < len(group):
            found.append((group[_PLACES[side]], place, end))
        place = end or place + 1
    if len({number for number, _, _ in found}) < max(2, len(found)):
        return []
    made = []
    for (number, _, start), (_, end, _) in pairwise([*found, (0, len(sentence.words), 0)]):
        content = _content(sentence, start, end, tongue)
        last = end == len(sentence.words)
        name = name_in(content.text, (), tongue=tongue) if content.words else None
        if name is not None:
            content = tongue.read(f"{tongue.said('this_is')} {content.text}")
        elif not content.words or not last:
            return []
        made.append((number, content))
    return made


def _side(sentence: Sentence, place: int, tongue: Language) -> tuple[str, int]:
    ends = {}
    for side in _PLACES:
        block = tongue.block("sides", side)
        ends[side] = max(block.ends(sentence, place), default=0) if block is not None else 0
    best = max(ends, key=lambda side: ends[side])
    return best, ends[best]


def _content(sentence: Sentence, start: int, end: int, tongue: Language) -> Sentence:
    """What is said of a picture, without "is" before and "and" after it."""
    glue = tongue.block("sides", "glue")
    if glue is not None:
        start = max((e for e in glue.ends(sentence, start) if e <= end), default=start)
    while end > start and sentence.words[end - 1] in tongue.joints:
        end -= 1
    return sentence.part(start, end)
