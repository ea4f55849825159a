"""How often free answers are right, as in visual question answering (Antol et al. 2015).

Knows nothing of questions or pictures.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["normalised", "vqa_accuracy"]

_AGREEING = 3
"""So many people who said the same make an answer right."""
_ARTICLES = {"a", "an", "the"}
_NUMBERS = {
    word: str(number)
    for number, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
} | {"none": "0"}
_THOUSANDS = re.compile(r"(?<=\d),(?=\d)")
_POINT = re.compile(r"\.(?!\d)")
_APOSTROPHE = re.compile(r"['’`]")
_PUNCTUATION = re.compile(r"[^\w\s.]|_")


def vqa_accuracy(answer: str, references: Sequence[str]) -> float:
    """min(people who said the same / 3, 1), in 0..1; of fewer than three people, all must agree
    with it.

    With ten references it is the formula of the paper; the benchmark's server averages it over all
    sets of nine, which is a little less. With one it is an exact match after :func:`normalised`.
    """
    if not references:
        return 0.0
    said = normalised(answer)
    same = sum(normalised(one) == said for one in references)
    return min(same / min(_AGREEING, len(references)), 1.0)


def normalised(answer: str) -> str:
    """The benchmark's form: lower case, digits for numbers to ten, no articles, no punctuation.

    Apostrophes go on both sides, so its list of contractions (dont, don't) is not needed; a point
    stays before a digit. An answer of nothing but articles stays what it is.
    """
    text = _THOUSANDS.sub("", answer.casefold())
    text = _PUNCTUATION.sub(" ", _APOSTROPHE.sub("", _POINT.sub("", text)))
    words = [_NUMBERS.get(word, word) for word in text.split()]
    kept = [word for word in words if word not in _ARTICLES]
    return " ".join(kept or words)
