"""What is measured: rates, areas and errors of arrays, and means with their intervals.

Knows nothing of pictures, methods or sets. Scores of *known* are higher for what is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from scipy.stats import t as student

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]


def accuracy(logits: Floats, targets: Ints) -> float:
    """Share of rows (m, K) whose largest column is the target (m,)."""
    return float(np.mean(logits.argmax(axis=1) == targets))


def log_loss(logits: Floats, targets: Ints) -> float:
    """Mean −log softmax(logits)[target] in nats; logits (m, K), targets (m,)."""
    picked = log_softmax(logits, axis=1)[np.arange(len(targets)), targets]
    return float(-np.maximum(picked, -50.0).mean())


def brier(probabilities: Floats, targets: Ints) -> float:
    """Mean squared distance to one-hot (Brier 1950), in [0, 2]; (m, K), (m,)."""
    truth = np.eye(probabilities.shape[1])[targets]
    return float(np.mean(np.sum((probabilities - truth) ** 2, axis=1)))


def expected_calibration_error(probabilities: Floats, targets: Ints, bins: int = 15) -> float:
    """Σ_b |b|/m · |accuracy_b − confidence_b| over equal bins of the top probability (m, K).

    Guo et al., ICML 2017, eq. 3.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == targets
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gap = np.bincount(bin_of, right - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(targets))


def oscr(known: Floats, right: NDArray[np.bool_], unknown: Floats) -> float:
    """Area under correct-classification rate over false-positive rate, in [0, 1].

    Dhamija et al., NeurIPS 2018: ``known`` (n,) scores, ``right`` (n,) whether the label was
    right, ``unknown`` (m,) scores. As a rank sum: the share of pairs in which a rightly labelled
    known outscores an unknown, ties by half.
    """
    ranked = np.sort(unknown)
    below = np.searchsorted(ranked, known, "left") + np.searchsorted(ranked, known, "right")
    return float(np.sum(below[right]) / (2 * len(known) * len(unknown)))


def auroc(known: Floats, unknown: Floats) -> float:
    """Probability that a known (n,) outscores an unknown (m,), ties by half."""
    return oscr(known, np.ones(len(known), bool), unknown)


def fpr95(known: Floats, unknown: Floats) -> float:
    """Share of unknown (m,) accepted at the highest threshold that accepts 95 % of known (n,)."""
    threshold = np.sort(known)[::-1][int(np.ceil(0.95 * len(known))) - 1]
    return float(np.mean(unknown >= threshold))


@dataclass(frozen=True)
class Estimate:
    """A mean with the half width of its 95 % interval (0 for a single value) and its count."""

    mean: float
    half: float
    n: int

    def text(self, scale: float = 100.0, digits: int = 1) -> str:
        """``71.3 ±0.4``; ``scale`` 100 gives per cent."""
        return f"{self.mean * scale:.{digits}f} ±{self.half * scale:.{digits}f}"


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and Student's 95 % interval over seeds; non-finite values are a bug and raise."""
    x = np.asarray(values, dtype=float)
    if not len(x) or not np.isfinite(x).all():
        raise ValueError(f"cannot average {values}")
    if len(x) == 1:
        return Estimate(float(x[0]), 0.0, 1)
    half = student.ppf(0.975, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x))
    return Estimate(float(x.mean()), float(half), len(x))
