"""Figures from predictions, each with the number of pictures behind it and a 95 % interval.

Of classes, of answers to questions, or of captions. Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix

from finetune.data.table import Row
from finetune.evaluation.answers import vqa_accuracy
from finetune.evaluation.boxes import found_of, map50, measure_boxes, more_map50
from finetune.evaluation.captions import cider, measure_captions
from finetune.evaluation.intervals import decimal, percent, resampled, wilson
from finetune.evaluation.predictions import Prediction, same_answer

__all__ = [
    "MAIN",
    "Kind",
    "compare",
    "confusion",
    "decisive",
    "kind_of",
    "measure",
    "scores",
    "told",
]

Kind = Literal["classes", "answers", "captions", "boxes"]
"""What predictions say of a picture."""
MAIN: dict[Kind, str] = {
    "classes": "accuracy",
    "answers": "exact_match",
    "captions": "cider",
    "boxes": "map50",
}
"""The figure that decides, of each kind."""

_BINS = 10
Array = NDArray[np.float64]


def measure(
    predictions: Sequence[Prediction], classes: Sequence[str], kind: Kind | None = None
) -> dict[str, Any]:
    """Every figure of one model. ``kind``: of ``classes`` where there are some, else of answers."""
    n = len(predictions)
    kind = kind or ("classes" if classes else "answers")
    right = sum(p.right for p in predictions)
    seconds = np.array([p.seconds for p in predictions])
    found: dict[str, Any] = {
        "n": n,
        "seconds_per_picture": resampled(lambda i: float(np.mean(seconds[i])), n),
    }
    if n and all(p.likelihood is not None for p in predictions):
        likely = np.array([p.likelihood for p in predictions], np.float64)
        found["log_likelihood"] = resampled(lambda i: float(np.mean(likely[i])), n)
    if kind == "boxes":
        return found | measure_boxes(predictions)
    if kind != "classes":
        found["exact_match"] = wilson(right, n)
        if kind == "captions":
            return found | measure_captions(*_beside(predictions))
        if any(p.response is None for p in predictions):  # chosen among the answers there are
            return found
        agreed = np.array([vqa_accuracy(p.answer, p.references) for p in predictions])
        return found | {"vqa_accuracy": resampled(lambda i: float(np.mean(agreed[i])), n)}
    found["accuracy"] = wilson(right, n)
    if any(p.response is not None for p in predictions):
        said = sum(p.said is not None and same_answer(p.said, p.truth) for p in predictions)
        found["generated_accuracy"] = wilson(said, n)
        found["generated_unreadable"] = wilson(sum(p.said is None for p in predictions), n)
    if n and all(p.by_name is not None for p in predictions):
        found["accuracy_by_name"] = wilson(sum(p.by_name == p.truth for p in predictions), n)
    return found | _of_classes(predictions, classes)


def kind_of(role: str, rows: Sequence[Row]) -> Kind:
    """What a model of ``role`` says of ``rows``; an embedder chooses among captions."""
    if any(row.objects is not None for row in rows):
        return "boxes"
    if any(row.label is not None for row in rows):
        return "classes"
    captions = role != "embedder" and all(row.is_caption for row in rows)
    return "captions" if captions else "answers"


def scores(predictions: Sequence[Prediction], kind: Kind) -> Array:
    """(n,) how right each prediction is, by the figure that decides."""
    if kind == "captions":
        return cider(*_beside(predictions))
    if kind == "boxes":
        return found_of(predictions)
    return np.array([p.right for p in predictions], np.float64)


def decisive(predictions: Sequence[Prediction], kind: Kind) -> dict[str, float]:
    """The figure that decides, alone."""
    if kind == "boxes":
        return map50(predictions)
    each = scores(predictions, kind)
    if kind == "captions":
        return resampled(lambda i: float(np.mean(each[i])), len(each))
    return wilson(int(each.sum()), len(each))


def told(found: dict[str, float], kind: Kind) -> str:
    """The figure that decides, in words: ``86.0 % (79.1–90.9, n=150) right``."""
    if kind == "boxes":
        return f"mAP@0.5 {percent(found)}"
    return f"CIDEr-D {decimal(found)}" if kind == "captions" else f"{percent(found)} right"


def compare(
    ours: Sequence[Prediction], theirs: Sequence[Prediction], kind: Kind = "classes"
) -> dict[str, Any]:
    """How much more of the same pictures ``ours`` has right: paired, with an exact sign test.

    ``gained`` and ``lost`` are pictures on which ours is better and worse; where one is right or
    wrong the test is McNemar's. The predictions are of the same rows in the same order.
    """
    more = scores(ours, kind) - scores(theirs, kind)
    gained, lost = int((more > 0).sum()), int((more < 0).sum())
    p = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    if kind == "boxes":  # precision is not a mean over pictures
        difference = more_map50(ours, theirs)
    else:
        difference = resampled(lambda i: float(np.mean(more[i])), len(more))
    return {"difference": difference, "gained": gained, "lost": lost, "p": round(float(p), 5)}


def confusion(predictions: Sequence[Prediction], classes: Sequence[str]) -> NDArray[np.int64]:
    """(C, C) counts; a row is a true class, a column what was answered."""
    truth, answer = _numbers(predictions, classes)
    found: NDArray[np.int64] = confusion_matrix(truth, answer, labels=range(len(classes)))
    return found


def _beside(predictions: Sequence[Prediction]) -> tuple[list[str], list[tuple[str, ...]]]:
    return [p.answer for p in predictions], [p.references for p in predictions]


def _of_classes(predictions: Sequence[Prediction], classes: Sequence[str]) -> dict[str, Any]:
    n = len(predictions)
    found: dict[str, Any] = {}
    counts = confusion(predictions, classes)
    truth, answer = _numbers(predictions, classes)
    found["balanced_accuracy"] = resampled(lambda i: _balanced(truth[i], answer[i]), n)
    found["macro_f1"] = resampled(lambda i: _macro_f1(truth[i], answer[i], len(classes)), n)
    if all(p.probabilities for p in predictions):
        sure = np.array([p.confidence for p in predictions], np.float64)
        hit = np.array([p.right for p in predictions], np.float64)
        found["calibration_error"] = resampled(lambda i: _calibration(sure[i], hit[i]), n)
    found["classes"] = {
        name: {
            "precision": wilson(int(counts[k, k]), int(counts[:, k].sum())),
            "recall": wilson(int(counts[k, k]), int(counts[k].sum())),
            "f1": resampled(partial(_f1_of, truth, answer, k), n),
        }
        for k, name in enumerate(classes)
    }
    found["confusion"] = {"classes": list(classes), "rows_are_truth": counts.tolist()}
    return found


def _numbers(
    predictions: Sequence[Prediction], classes: Sequence[str]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    number = {name: i for i, name in enumerate(classes)}
    truth = np.array([number[p.truth] for p in predictions], np.intp)
    return truth, np.array([number[p.answer] for p in predictions], np.intp)


def _balanced(truth: NDArray[np.intp], answer: NDArray[np.intp]) -> float:
    """Mean recall over the classes that are there."""
    every = np.bincount(truth)
    hit = np.bincount(truth[truth == answer], minlength=len(every))
    there = every > 0
    return float(np.mean(hit[there] / every[there]))


def _f1(truth: NDArray[np.intp], answer: NDArray[np.intp], k: int) -> float:
    both = int(((truth == k) & (answer == k)).sum())
    either = int((truth == k).sum() + (answer == k).sum())
    return 2 * both / either if either else 0.0


def _f1_of(
    truth: NDArray[np.intp], answer: NDArray[np.intp], k: int, rows: NDArray[np.intp]
) -> float:
    return _f1(truth[rows], answer[rows], k)


def _macro_f1(truth: NDArray[np.intp], answer: NDArray[np.intp], classes: int) -> float:
    there = [k for k in range(classes) if (truth == k).any() or (answer == k).any()]
    return float(np.mean([_f1(truth, answer, k) for k in there]))


def _calibration(sure: Array, hit: Array) -> float:
    """Expected calibration error in ten bins (Guo et al. 2017)."""
    bins = np.minimum((sure * _BINS).astype(np.intp), _BINS - 1)
    total = 0.0
    for k in range(_BINS):
        inside = bins == k
        if inside.any():
            total += float(inside.sum()) * abs(float(hit[inside].mean() - sure[inside].mean()))
    return total / len(sure)
