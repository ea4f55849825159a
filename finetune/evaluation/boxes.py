"""Figures of boxes: average precision as COCO defines it, and how well boxes cover what is there.

Average precision: boxes of a class, surest first, are each given the true box of that class in
their picture which they overlap most (IoU of at least a threshold) and that no surer one has;
precision, made falling, is read at the 101 recalls 0, 0.01 … 1 and averaged; then over classes,
and for mAP over the thresholds 0.5, 0.55 … 0.95 (https://cocodataset.org/#detection-eval; at
most 100 boxes a picture; areas and crowds are not told apart). Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune.data.boxes import Boxed
from finetune.evaluation.intervals import resampled
from finetune.evaluation.predictions import Prediction

__all__ = ["SHOWN", "found_of", "map50", "measure_boxes", "more_map50", "overlaps"]

SHOWN = 0.5
"""How sure a box must be to be shown, and to count for the mean IoU."""
_THRESHOLDS = np.linspace(0.5, 0.95, 10)
_RECALLS = np.linspace(0.0, 1.0, 101)
_AT_MOST = 100
Array = NDArray[np.float64]
Picture = tuple[Sequence[Boxed], Sequence[Boxed]]
"""What is there, and what was found."""


def measure_boxes(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Every figure of one model's boxes; intervals by resampling pictures."""
    n, ranked = len(predictions), _ranked(predictions)
    covered = [_covered(p.objects or (), p.found or ()) for p in predictions]
    sums = np.array([(iou.sum(), len(iou)) for iou in covered]).reshape(-1, 2)
    return {
        "map50": map50(predictions),
        "map": resampled(lambda i: _mean(ranked, _weights(i, n), len(_THRESHOLDS)), n),
        "mean_iou": resampled(lambda i: _ratio(sums[i].sum(0)), n),
        "boxes": int(sums[:, 1].sum()),
        "average_precision_50": {
            one.name: round(one.precision(np.ones(n), 1), 4) for one in ranked
        },
    }


def map50(predictions: Sequence[Prediction]) -> dict[str, float]:
    """mAP@0.5."""
    n, ranked = len(predictions), _ranked(predictions)
    return resampled(lambda i: _mean(ranked, _weights(i, n), 1), n)


def more_map50(ours: Sequence[Prediction], theirs: Sequence[Prediction]) -> dict[str, float]:
    """How much higher the mAP@0.5 of ``ours`` is on the same pictures: a paired bootstrap."""
    n, a, b = len(ours), _ranked(ours), _ranked(theirs)

    def difference(numbers: NDArray[np.intp]) -> float:
        weights = _weights(numbers, n)
        return _mean(a, weights, 1) - _mean(b, weights, 1)

    return resampled(difference, n)


def found_of(predictions: Sequence[Prediction]) -> Array:
    """(n,) F1 of the boxes shown of each picture, at an IoU of 0.5; 1 where there is nothing and
    nothing is shown."""
    return np.array([_f1(p.objects or (), p.found or ()) for p in predictions], np.float64)


def overlaps(a: Sequence[Boxed], b: Sequence[Boxed]) -> Array:
    """(len(a), len(b)) intersections over unions (Jaccard)."""
    x, y = (np.array([one.box for one in side], np.float64).reshape(-1, 4) for side in (a, b))
    low = np.maximum(x[:, None, :2], y[None, :, :2])
    high = np.minimum(x[:, None, 2:], y[None, :, 2:])
    both = np.prod(np.clip(high - low, 0, None), axis=-1)
    areas = [np.prod(side[:, 2:] - side[:, :2], axis=-1) for side in (x, y)]
    either = areas[0][:, None] + areas[1][None] - both
    return np.asarray(np.divide(both, either, out=np.zeros_like(both), where=either > 0))


class _Ranked:
    """The boxes of one class in all pictures, surest first, and which of them are hits."""

    def __init__(self, pictures: Sequence[Picture], name: str) -> None:
        self.name = name
        there = [[one for one in true if one.label == name] for true, _ in pictures]
        self.positives = np.array([len(true) for true in there], np.float64)
        scores, owner, hits = [], [], []
        for number, (true, (_, found)) in enumerate(zip(there, pictures, strict=True)):
            mine = _surest([one for one in found if one.label == name])
            scores += [one.score for one in mine]
            owner += [number] * len(mine)
            hits.append(_hits(overlaps(mine, true), _THRESHOLDS))
        order = np.argsort(-np.array(scores), kind="stable")
        self._owner = np.array(owner, np.intp)[order]
        self._hits = np.concatenate([np.zeros((len(_THRESHOLDS), 0)), *hits], axis=1)[:, order]

    def precision(self, weights: Array, thresholds: int) -> float:
        """Mean average precision over the first ``thresholds``; a picture counts ``weights`` times.

        0 where there is nothing to find.
        """
        positives = float(weights @ self.positives)
        if not positives or not len(self._owner):
            return 0.0
        counted = weights[self._owner]
        right = np.cumsum(self._hits[:thresholds] * counted, axis=1)
        precision = right / np.maximum(np.cumsum(counted), 1e-12)
        falling = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        total = 0.0
        for recall, row in zip(right / positives, falling, strict=True):
            places = np.searchsorted(recall, _RECALLS - 1e-12)
            total += float(row[places[places < len(row)]].sum()) / len(_RECALLS)
        return total / thresholds


def _ranked(predictions: Sequence[Prediction]) -> list[_Ranked]:
    """Of each class that is there."""
    pictures = [(p.objects or (), p.found or ()) for p in predictions]
    names = sorted({one.label for true, _ in pictures for one in true})
    return [_Ranked(pictures, name) for name in names]


def _f1(true: Sequence[Boxed], found: Sequence[Boxed]) -> float:
    shown = [one for one in found if one.score >= SHOWN]
    hits = 0.0
    for name in {one.label for one in true}:
        mine, there = ([x for x in side if x.label == name] for side in (shown, true))
        hits += float(_hits(overlaps(_surest(mine), there), _THRESHOLDS[:1]).sum())
    either = len(true) + len(shown)
    return 2 * hits / either if either else 1.0


def _mean(ranked: Sequence[_Ranked], weights: Array, thresholds: int) -> float:
    """Over the classes that are there."""
    there = [one for one in ranked if weights @ one.positives]
    return float(np.mean([one.precision(weights, thresholds) for one in there])) if there else 0.0


def _surest(found: Sequence[Boxed]) -> list[Boxed]:
    return sorted(found, key=lambda one: -one.score)[:_AT_MOST]


def _hits(overlap: Array, thresholds: Array) -> Array:
    """(T, n) of overlaps (n, m): 1 where a box gets a true one that no earlier box has."""
    hits = np.zeros((len(thresholds), len(overlap)))
    for row, threshold in enumerate(thresholds):
        free = np.ones(overlap.shape[1], bool)
        for number, mine in enumerate(overlap):
            left = np.where(free, mine, -1.0)
            if left.size and left.max() >= threshold - 1e-10:
                free[int(left.argmax())] = False
                hits[row, number] = 1.0
    return hits


def _covered(true: Sequence[Boxed], found: Sequence[Boxed]) -> Array:
    """(m,) IoU of each true box with the shown box of its class that was given to it, else 0."""
    iou = np.zeros(len(true))
    free = np.ones(len(true), bool)
    for one in _surest([x for x in found if x.score >= SHOWN]):
        same = free & np.array([t.label == one.label for t in true], bool)
        mine = np.where(same, overlaps([one], true)[0], 0.0)
        if mine.size and mine.max() > 0:
            place = int(mine.argmax())
            free[place], iou[place] = False, mine[place]
    return iou


def _weights(numbers: NDArray[np.intp], n: int) -> Array:
    return np.bincount(numbers, minlength=n).astype(np.float64)


def _ratio(sums: Array) -> float:
    return float(sums[0] / sums[1]) if sums[1] else 0.0
