"""Taught pictures by words: by what the user said of their label, else by what they look like.

Knows nothing of sentences. Words and pictures are compared in the embedder's own space. How well
a text fits a picture is only known beside other texts: z is its cosine with the picture, less the
mean of the vocabulary's names, over their standard deviation. Of a text that has nothing to do
with n pictures the largest z exceeds the ``threshold`` with probability ``FALSE_FINDS`` if z is
normal (Šidák, JASA 62, 1967); what does not exceed it is not said to fit.

Measured with the pocket embedder (``python -m tests.bench.memory DATA``), on drawings of a style
that it was not trained on, with their names: of 6 pictures taught the right one is found for 86 %,
a wrong one for 0.6 %, and 10 % of the names of things that were not taught find something; of 20
82, 3 and 18 %; of 60 70, 5 and 20 %: twice to four times ``FALSE_FINDS``, as names are no normal
numbers. Of symbols and people, which it never learned, 8 % are found, 12 % wrongly. Of drawn
shapes, 6 taught, "a red circle" is found for 84 %, "red and round" for 46 %, "something red" for
15 %; where there is none, something else that is red or round is said to fit for 82, 51 and 8 %.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from tools.memory import Label, State
from tools.questions import content_words
from tools.sight import Sight
from tools.vocabulary import shipped_vocabulary

__all__ = ["FALSE_FINDS", "Fit", "described", "fits", "named", "threshold"]

FALSE_FINDS = 0.05
"""Share of texts that fit no picture of the memory, and are said to fit one."""
_FEWEST = 100  # names of which a mean and a spread can be taken
_SAMPLED = 200  # names that are enough for it: a large text tower takes seconds for all
_ENDING = 2  # letters that a word may have and another not: eye and eyes, round and rounded


def named(state: State, query: str) -> Label | None:
    """The label that the query names, be it in the plural."""
    endings = [e for e in ("", "s", "es") if query.casefold().endswith(e)]
    forms = [query[: len(query) - len(e)] for e in endings]
    return next((found for f in forms if f and (found := state.find(f)) is not None), None)


def described(state: State, query: str) -> list[Label]:
    """The labels in whose names and description every word of the query occurs."""
    wanted = content_words(query)
    if not wanted:
        return []
    found = []
    for label in state.labels.values():
        words = content_words(" ".join((*label.names, label.description)))
        if all(any(_same_word(w, x) for x in words) for w in wanted):
            found.append(label)
    return found


def _same_word(a: str, b: str) -> bool:
    short, long = sorted((a, b), key=len)
    return long.startswith(short) and len(long) - len(short) <= (_ENDING if len(short) > 2 else 0)


@dataclass(frozen=True)
class Fit:
    """How well a text fits a picture: their cosine in [-1, 1], and z (see above)."""

    cosine: float
    z: float


def fits(sight: Sight, vectors: Sequence[NDArray[np.float32]], query: str) -> list[Fit]:
    """How well the query fits each picture (d,)."""
    own = [name for name, _ in sight.vocabulary]
    names = own if len(own) >= _FEWEST else [name for name, _ in shipped_vocabulary()]
    names = names[:: max(1, len(names) // _SAMPLED)]
    pictures = np.stack(vectors).astype(np.float64).T
    others = sight.words(names) @ pictures
    cosines = sight.words([query])[0] @ pictures
    z = (cosines - others.mean(axis=0)) / np.maximum(others.std(axis=0), 1e-6)
    return [Fit(float(a), float(b)) for a, b in zip(cosines, z, strict=True)]


def threshold(pictures: int) -> float:
    """The z that one of n pictures must exceed to be said to fit."""
    return -NormalDist().inv_cdf(1.0 - (1.0 - FALSE_FINDS) ** (1.0 / pictures))
