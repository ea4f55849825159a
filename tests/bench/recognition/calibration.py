"""What the probabilities and the decisions are worth where every query shows a taught label.

``ece`` and ``brier`` of our probabilities beside those of zero-shot come from the closed-set part;
here the product's decisions are measured as sets of labels: *known* answers with one, *ambiguous*
with two, *unknown* with none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.bench.recognition import ours
from tests.bench.recognition.closedset import episodes
from tests.bench.recognition.features import FeatureSet

_SIZES = {"known": 1, "ambiguous": 2, "unknown": 0}
_QUERIES = 200


def run(source: FeatureSet, seed: int, shots: Sequence[int]) -> list[dict[str, Any]]:
    """One row per shots: coverage and mean size of the sets, and how often each decision falls."""
    rows = []
    for count, episode in episodes(source, seed, shots):
        pick = np.random.default_rng(seed).permutation(len(episode.targets))[:_QUERIES]
        recognizer = ours.teach(episode, text=episode.text)
        said = ours.rankings(recognizer, episode.queries[pick])
        sets = [[int(x.label_id) for x in r.labels[: _SIZES[r.decision]]] for r in said]
        inside = np.array([t in s for t, s in zip(episode.targets[pick], sets, strict=True)])
        size = np.array([len(s) for s in sets])
        row: dict[str, Any] = {"part": "calibration", "set": source.name, "seed": seed}
        row |= {"shots": count, "method": "ours", "coverage": float(inside.mean())}
        row |= {"size": float(size.mean()), "answered": float((size > 0).mean())}
        row |= {d: float(np.mean([r.decision == d for r in said])) for d in _SIZES}
        if (size > 0).any():
            row["coverage_answered"] = float(inside[size > 0].mean())
        rows.append(row)
    return rows
