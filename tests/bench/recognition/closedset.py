"""The closed-set part: which of the taught labels is it? Accuracy and calibration by shots.

Knows nothing of unknown things (:mod:`tests.bench.recognition.openset`). Rows are dictionaries
of plain values.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy.special import softmax

from tests.bench.recognition import ours
from tests.bench.recognition.features import FeatureSet
from tests.bench.recognition.methods import METHODS
from tests.bench.recognition.metrics import (
    accuracy,
    brier,
    expected_calibration_error,
    log_loss,
)
from tests.bench.recognition.tasks import IMBALANCED, SHOTS, Episode, draw

Row = dict[str, Any]
OURS = "ours"
IMBALANCED_NAME = "imbalanced"


def episodes(source: FeatureSet, seed: int, shots: Sequence[int]) -> Iterator[tuple[str, Episode]]:
    """The episodes of a seed by what the table calls them: 1, 2, … and imbalanced."""
    counts: list[tuple[str, int | tuple[int, ...]]] = [(str(n), n) for n in shots]
    if max(shots) >= max(SHOTS):
        counts.append((IMBALANCED_NAME, IMBALANCED))
    for name, count in counts:
        episode = draw(source, count, seed)
        if episode is not None:
            yield name, episode


def run(source: FeatureSet, seed: int, shots: Sequence[int], methods: Sequence[str]) -> list[Row]:
    """One row per shots and method; all methods see the same episode."""
    rows = []
    for count, episode in episodes(source, seed, shots):
        for name in methods:
            if name != OURS and METHODS[name].needs_text and episode.text is None:
                continue
            started = time.perf_counter()
            if name == OURS:
                logits, hyper = ours.logits(episode), {}
            else:
                logits, hyper = METHODS[name].logits(episode)
            seconds = time.perf_counter() - started
            rows.append(
                {"part": "accuracy", "set": source.name, "seed": seed, "shots": count,
                 "method": name, **quality(logits, episode.targets), "seconds": seconds,
                 "hyper": hyper}
            )  # fmt: skip
    return rows


def ablate(source: FeatureSet, seed: int, shots: Sequence[int]) -> list[Row]:
    """One row per shots and ablation."""
    return [
        {"part": "ablation", "set": source.name, "seed": seed, "shots": count, "method": name,
         **quality(ours.logits(episode, **options), episode.targets)}
        for count, episode in episodes(source, seed, shots)
        for name, options in ours.ABLATIONS.items()
    ]  # fmt: skip


def quality(logits: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """The measures of logits (m, K) with targets (m,)."""
    if not np.isfinite(logits).all():
        raise ValueError("logits hold NaN or infinity")
    probabilities = softmax(logits, axis=1)
    return {
        "accuracy": accuracy(logits, targets),
        "log_loss": log_loss(logits, targets),
        "ece": expected_calibration_error(probabilities, targets),
        "brier": brier(probabilities, targets),
    }
