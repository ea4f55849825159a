"""What must hold whatever the accuracy: names cost nothing, and one at a time equals all at once.

Knows nothing of the baselines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tests.bench.recognition import ours
from tests.bench.recognition.closedset import quality
from tests.bench.recognition.features import FeatureSet
from tests.bench.recognition.tasks import Episode, draw, generator
from tools.recognizer import Recognizer


def names(source: FeatureSet, seed: int, shots: Sequence[int]) -> list[dict[str, Any]]:
    """One row per shots and kind of name: the labels' own, none, other words, made-up words."""
    rows: list[dict[str, Any]] = []
    if source.text is None:
        return rows
    for count in shots:
        episode = draw(source, count, seed)
        if episode is None:
            continue
        texts: dict[str, Any] = {"meaningful names": episode.text, "no names": None}
        texts |= nonsense(source, episode, generator(source, seed, count, 1))
        for kind, text in texts.items():
            found = ours.teach(episode, text=text).posteriors(episode.queries)
            rows.append(
                {"part": "names", "set": source.name, "seed": seed, "shots": str(count),
                 "method": kind, **quality(np.log(np.maximum(found, 1e-30)), episode.targets)}
            )  # fmt: skip
    return rows


def nonsense(source: FeatureSet, episode: Episode, rng: np.random.Generator) -> dict[str, Any]:
    """Text (K, d) that says nothing, by its kind: names of other things, and made-up words."""
    assert source.text is not None and episode.classes is not None
    others = np.delete(source.text, episode.classes, axis=0)
    pools = {k: np.concatenate([others, v]) if "other" in k else v
             for k, v in source.other_names.items()}  # fmt: skip
    return {
        kind: pool[rng.choice(len(pool), episode.labels, replace=False)]
        for kind, pool in pools.items()
        if len(pool) >= episode.labels
    }


def incremental(source: FeatureSet, seed: int, shots: Sequence[int]) -> list[dict[str, Any]]:
    """One row per shots: the largest difference of a probability, labels taught one at a time."""
    rows = []
    for count in shots:
        episode = draw(source, count, seed, max_classes=20, max_queries=200)
        if episode is None:
            continue
        whole = ours.teach(episode, text=episode.text)
        one = one_by_one(episode)
        gap = np.abs(_answers(whole, episode) - _answers(one, episode))
        rows.append(
            {"part": "incremental", "set": source.name, "seed": seed, "shots": str(count),
             "method": "ours", "difference": float(gap.max())}
        )  # fmt: skip
    return rows


def _answers(recognizer: Recognizer, episode: Episode) -> np.ndarray:
    """(m, K + 1) probabilities among the labels, and of *unknown*."""
    unknown = [r.unknown for r in ours.rankings(recognizer, episode.queries)]
    return np.column_stack([recognizer.posteriors(episode.queries), unknown])


def one_by_one(episode: Episode) -> Recognizer:
    """A recognizer taught the first label, then each further exemplar by itself."""
    first = replace(episode, shots=episode.shots[episode.y == 0], y=episode.y[episode.y == 0])
    recognizer = ours.teach(first, text=episode.text)
    for sample in ours.samples_of(episode.shots, episode.y):
        if sample.label_id != ours.label_id(0):
            recognizer = recognizer.add(sample)
    return recognizer
