"""How well one thing finds another: Recall@K and mean average precision, from similarities.

Pictures find texts, texts find pictures, or pictures find pictures of their class; what they were
embedded with is not known here. Items that are equally similar are ranked against the model: the
wrong ones first. An embedder that finds everything alike therefore finds nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from finetune.evaluation.intervals import resampled, wilson

__all__ = ["Figures", "measure_both_ways", "measure_retrieval", "measure_same_class"]

_RANKS = (1, 5, 10)
Figures = dict[str, dict[str, float]]


def measure_retrieval(similarities: NDArray[np.floating], relevant: NDArray[np.bool_]) -> Figures:
    """``recall_at_1``, ``_5``, ``_10`` and ``mean_average_precision`` of queries by items (n, m).

    Recall@K is the share of queries with a relevant item among the K most similar ones (Hodosh et
    al. 2013), with Wilson's interval; it is left out where there are not more than K items, for
    then it is 1 whatever the model. Average precision is the mean, over a query's relevant items,
    of the share of relevant ones down to each; its interval is of resampled queries. Queries
    without a relevant item do not count.
    """
    similarities, relevant = np.asarray(similarities), np.asarray(relevant, bool)
    if similarities.shape != relevant.shape or similarities.ndim != 2:
        raise ValueError(f"similarities {similarities.shape} and relevant {relevant.shape} differ")
    asked = relevant.any(axis=1)
    ranked = _ranked(similarities[asked], relevant[asked])
    n, items = ranked.shape
    found = {
        f"recall_at_{k}": wilson(int(ranked[:, :k].any(axis=1).sum()), n)
        for k in _RANKS
        if k < items
    }
    places = np.arange(1, items + 1)
    precision = np.cumsum(ranked, axis=1) / places
    each = (precision * ranked).sum(axis=1) / ranked.sum(axis=1)
    return found | {"mean_average_precision": resampled(lambda i: float(np.mean(each[i])), n)}


def measure_both_ways(
    similarities: NDArray[np.floating], relevant: NDArray[np.bool_]
) -> dict[str, Figures]:
    """Pictures (rows) and texts (columns), each finding the other."""
    return {
        "picture_to_text": measure_retrieval(similarities, relevant),
        "text_to_picture": measure_retrieval(similarities.T, relevant.T),
    }


def measure_same_class(vectors: NDArray[np.floating], labels: Sequence[str]) -> Figures:
    """Pictures, by their unit vectors (n, d), finding others of their class; never themselves."""
    names = np.asarray(labels)
    others = ~np.eye(len(names), dtype=bool)
    shape = (len(names), max(0, len(names) - 1))
    similarities = (vectors @ vectors.T)[others].reshape(shape)
    relevant = (names[:, None] == names[None, :])[others].reshape(shape)
    return measure_retrieval(similarities, relevant)


def _ranked(similarities: NDArray[np.floating], relevant: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether the items are relevant, most similar first; of equal ones the wrong ones first."""
    order = np.lexsort((relevant, -similarities), axis=1)
    return np.take_along_axis(relevant, order, axis=1)
