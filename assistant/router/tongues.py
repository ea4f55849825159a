"""How much the letters of a message speak for each language: naive Bayes over their n-grams.

After Dunning (1994, Statistical identification of language), from one to four letters; learnt from
the examples of the reader, without the names in them. Knows nothing of tables.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.resources import as_file, files
from typing import Any

import numpy as np
import numpy.typing as npt

from assistant.router.spelling import HAN, checksum

__all__ = ["FILE", "evidence", "learnt"]

FILE = "tongues.npz"
_LEAST = 40  # times that an n-gram must be there
_LONGEST = 4
_UNSEEN = 0.5  # times that a language has what it never had
_UNIT = 16  # of a stored number, to a natural logarithm
_DEPENDENT = 4  # n-grams that tell the same once more, about
_HAN, _SIGN = re.compile(f"[{HAN}]"), 3.0  # what each of those says for Chinese
_WORD = re.compile(r"[^\W_]+'?|[?¿¡]")


def evidence(text: str) -> dict[str, float]:
    """For each language the logarithm of how likely the letters of ``text`` are in it, beside what
    they are in all on average: 0 for all where nothing is known of them."""
    codes, table = _table()
    found = [table[key] for gram in _grams(text) if (key := checksum(gram)) in table]
    sums = map(sum, zip(*found, strict=True)) if found else (0 for _ in codes)
    told = {code: n / _UNIT / _DEPENDENT for code, n in zip(codes, sums, strict=True)}
    told["zh"] += _SIGN * len(_HAN.findall(text))  # many are too rare to be learnt
    return told


def learnt(texts: Mapping[str, Iterable[str]]) -> dict[str, npt.NDArray[np.generic]]:
    """What a file holds of the texts of each language."""
    counts = {code: Counter(g for t in found for g in _grams(t)) for code, found in texts.items()}
    every = sum(counts.values(), Counter[str]())
    kept = sorted(gram for gram, number in every.items() if number >= _LEAST)
    logs = np.array(
        [
            [math.log((count[gram] + _UNSEEN) / count.total()) for count in counts.values()]
            for gram in kept
        ]
    )
    logs -= logs.mean(axis=1, keepdims=True)
    return {
        "codes": np.array(list(counts)),
        "keys": np.array([checksum(gram) for gram in kept], np.uint32),
        "logs": np.round(logs * _UNIT).clip(-127, 127).astype(np.int8),
    }


def _grams(text: str) -> Iterator[str]:
    words = _WORD.findall(text.casefold())
    joined = f" {' '.join(words)} " if words else ""
    for size in range(1, _LONGEST + 1):
        for start in range(len(joined) - size + 1):
            yield joined[start : start + size]


@lru_cache(maxsize=1)
def _table() -> tuple[Sequence[str], dict[int, Any]]:
    with (
        as_file(files("assistant.router").joinpath("learned", FILE)) as path,
        np.load(path) as data,
    ):
        rows = zip(data["keys"].tolist(), data["logs"].tolist(), strict=True)
        return [str(code) for code in data["codes"]], dict(rows)
