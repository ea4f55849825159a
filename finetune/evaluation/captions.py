"""How close captions are to what people wrote of the same pictures: BLEU, METEOR and CIDEr-D.

A caption is compared with every reference of its picture. Words are lower-case and without
punctuation (a Chinese or Japanese character is a word); BLEU has sacrebleu's own tokens and says
which. Knows nothing of pictures.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import snowballstemmer
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU

from finetune.evaluation.intervals import figure, resampled

__all__ = ["cider", "measure_captions", "meteor"]

References = Sequence[Sequence[str]]
"""Of each picture, what people wrote of it."""
Words = tuple[str, ...]
Vector = dict[Words, float]

_CHARACTER = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORDS = re.compile(rf"[{_CHARACTER}]|[^\W_{_CHARACTER}]+(?:['’][^\W_]+)?")
_ORDERS = (1, 2, 3, 4)
_SIGMA = 6.0
_ALPHA, _BETA, _GAMMA = 0.9, 3.0, 0.5
_ALIGNMENTS = 64  # kept while words are aligned; a caption rarely has ten


def measure_captions(captions: Sequence[str], references: References) -> dict[str, Any]:
    """``bleu``, ``meteor`` (0..1) and ``cider`` (0..10), with intervals of resampled pictures.

    ``bleu_signature``: how sacrebleu computed it.
    """
    precise = np.array([_best_meteor(c, r) for c, r in zip(captions, references, strict=True)])
    agreed = cider(captions, references)
    count = len(captions)
    return {
        **_bleu(captions, references),
        "meteor": resampled(lambda i: float(np.mean(precise[i])), count),
        "cider": resampled(lambda i: float(np.mean(agreed[i])), count),
    }


def meteor(caption: str, reference: str) -> float:
    """METEOR with the parameters of Banerjee & Lavie (2005), in 0..1.

    Words match when they or their Porter stems are the same; WordNet's synonyms are left out, so
    figures are lower than with them. Among the alignments with the most matches, the one with the
    fewest chunks counts. An equal caption of m words has 1 - 0.5 / m³.
    """
    said, meant = _stems(caption), _stems(reference)
    matches, chunks = _aligned(said, meant)
    if not matches:
        return 0.0
    precision, recall = matches / len(said), matches / len(meant)
    mean = precision * recall / (_ALPHA * precision + (1 - _ALPHA) * recall)
    return mean * (1 - _GAMMA * (chunks / matches) ** _BETA)


def cider(captions: Sequence[str], references: References) -> NDArray[np.float64]:
    """(n,) CIDEr-D of each picture's caption (Vedantam, Zitnick & Parikh 2015, equation 4), 0..10.

    The mean over runs of one to four words, and over the references, of the clipped cosine of
    their TF-IDF vectors, with a Gaussian penalty for another length. A run of words in the
    references of every picture weighs nothing: of a single picture, or where all captions are the
    same, everything is 0. Only a caption of four words or more can reach 10. Words are not
    stemmed, as in the authors' code.
    """
    meant = [[_counts(_words(text)) for text in texts] for texts in references]
    pictures = Counter(run for texts in meant for run in {r for counts in texts for r in counts})
    logarithm = math.log(max(1, len(meant)))

    def weighed(counts: Counter[Words]) -> tuple[Vector, list[float], int]:
        vector = {r: k * (logarithm - math.log(max(1, pictures[r]))) for r, k in counts.items()}
        squares = [sum(w * w for r, w in vector.items() if len(r) == n) for n in _ORDERS]
        return vector, squares, sum(k for r, k in counts.items() if len(r) == 1)

    def score(caption: str, texts: Sequence[Counter[Words]]) -> float:
        own, own_squares, length = weighed(_counts(_words(caption)))
        total = 0.0
        for counts in texts:
            other, squares, other_length = weighed(counts)
            penalty = math.exp(-((length - other_length) ** 2) / (2 * _SIGMA**2))
            for n, mine, theirs in zip(_ORDERS, own_squares, squares, strict=True):
                if mine and theirs:
                    shared = (r for r in own if len(r) == n and r in other)
                    product = sum(min(own[r], other[r]) * other[r] for r in shared)
                    total += penalty * product / math.sqrt(mine * theirs)
        return 10 * total / (len(_ORDERS) * max(1, len(texts)))

    return np.array([score(c, texts) for c, texts in zip(captions, meant, strict=True)])


def _bleu(captions: Sequence[str], references: References) -> dict[str, Any]:
    """Of the whole corpus (Papineni et al. 2002; Post 2018); n-gram orders that no caption is long
    enough for do not count."""
    bleu = BLEU(lowercase=True, effective_order=True)
    if not captions:
        return {"bleu": figure(0.0, 0, 0.0, 1.0), "bleu_signature": ""}
    each = [bleu.sentence_score(c, list(r)) for c, r in zip(captions, references, strict=True)]
    correct, total = np.array([s.counts for s in each]), np.array([s.totals for s in each])
    lengths = np.array([(s.sys_len, s.ref_len) for s in each])

    def together(rows: NDArray[np.intp]) -> float:
        own, theirs = (int(x) for x in lengths[rows].sum(0))
        several = correct[rows].sum(0).tolist(), total[rows].sum(0).tolist()
        return (
            bleu.compute_bleu(
                *several, own, theirs, smooth_method="exp", effective_order=True
            ).score
            / 100
        )

    signature = str(bleu.get_signature())
    return {"bleu": resampled(together, len(captions)), "bleu_signature": signature}


def _best_meteor(caption: str, references: Sequence[str]) -> float:
    return max((meteor(caption, one) for one in references), default=0.0)


def _aligned(said: Words, meant: Words) -> tuple[int, int]:
    """The most words that can be matched one to one, and the fewest chunks that they make.

    A chunk is a run of words that are neighbours, in this order, on both sides. Word by word, the
    best alignments are kept for each set of reference words in use and the last one matched.
    """
    # (reference words in use, the one matched to the last word or -1) → (matches, -chunks)
    best: dict[tuple[int, int], tuple[int, int]] = {(0, -1): (0, 0)}
    for word in said:
        after: dict[tuple[int, int], tuple[int, int]] = {}
        for (used, last), (matches, chunks) in best.items():
            steps = [((used, -1), (matches, chunks))]
            for place, other in enumerate(meant):
                if other == word and not used >> place & 1:
                    joined = last >= 0 and place == last + 1
                    steps.append(((used | 1 << place, place), (matches + 1, chunks - (not joined))))
            for state, found in steps:
                after[state] = max(found, after.get(state, found))
        # Words that can be matched but are not may be needed later: the most matched go on.
        best = dict(sorted(after.items(), key=lambda one: one[1], reverse=True)[:_ALIGNMENTS])
    matches, chunks = max(best.values())
    return matches, -chunks


def _counts(words: Words) -> Counter[Words]:
    """How often each run of one to four words is there."""
    return Counter(words[i : i + n] for n in _ORDERS for i in range(len(words) - n + 1))


def _words(text: str) -> Words:
    return tuple(_WORDS.findall(text.casefold()))


def _stems(text: str) -> Words:
    return tuple(_stemmer().stemWords(list(_words(text))))


@cache
def _stemmer() -> Any:
    return snowballstemmer.stemmer("porter")
