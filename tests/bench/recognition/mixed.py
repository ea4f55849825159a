"""A memory of several kinds, most of it of one: is each picture judged among its own?

Twelve labels of one set, or half of its classes, and one of each other kind; asked are pictures of
all of them, and as many strangers of each kind. Only of the pocket embedder's kinds, whose sets the
background was measured on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.bench.recognition import ours
from tests.bench.recognition.features import FeatureSet
from tests.bench.recognition.metrics import auroc
from tests.bench.recognition.tasks import draw, generator
from tools.recognizer import Recognizer, Sample

KINDS = ("emoji_things", "characters", "garments", "photos")
_MANY = 12
_ASKED = 40  # pictures of a kind at most, and as many strangers
_DRAWN = 5  # fewer classes than this are not drawn


def run(sets: Sequence[FeatureSet], source: FeatureSet, seed: int) -> list[dict[str, Any]]:
    """One row per shots where ``source`` is one of the kinds: most of the memory is of it."""
    kinds = [s for s in sets if s.name in KINDS]
    if source not in kinds or len(kinds) < 2:
        return []
    return [_row(kinds, source, seed, shots) for shots in (1, 2)]


def _row(kinds: Sequence[FeatureSet], source: FeatureSet, seed: int, shots: int) -> dict[str, Any]:
    rng = generator(source, seed, shots)
    samples: list[Sample] = []
    asked: list[NDArray[np.floating]] = []
    wanted: list[str] = []
    most: list[bool] = []
    for kind in kinds:
        count = min(_MANY, len(kind.present) // 2) if kind is source else 1
        episode = draw(kind, shots, seed, max_classes=max(count, _DRAWN))
        assert episode is not None and episode.classes is not None
        for i in np.flatnonzero(episode.y < count):
            name = f"{kind.name} {episode.y[i]}"
            samples.append(Sample(f"{kind.name} {i}", name, episode.shots[i]))
        rows = np.flatnonzero(episode.targets < count)
        rows = rng.permutation(rows)[:_ASKED]
        others = np.flatnonzero(~np.isin(kind.labels, episode.classes[:count]))
        strangers = rng.choice(others, len(rows), replace=False)
        asked += [*episode.queries[rows], *kind.features[strangers].astype(np.float64)]
        wanted += [f"{kind.name} {episode.targets[i]}" for i in rows] + [""] * len(rows)
        most += [kind is source] * (2 * len(rows))
    said = ours.rankings(Recognizer(samples, source.background), np.array(asked))
    known, main = np.array(wanted) != "", np.array(most)
    score = np.array([1.0 - r.unknown for r in said])
    accepted = np.array([r.decision != "unknown" for r in said])
    right = [r.labels[0].label_id == w for r, w in zip(said, wanted, strict=True)]
    return {
        "part": "mixed",
        "set": source.name,
        "seed": seed,
        "shots": str(shots),
        "method": "ours",
        "accuracy": float(np.mean(np.array(right)[known])),
        "auroc": auroc(score[known], score[~known]),
        "false accepts, most": float(accepted[~known & main].mean()),
        "false accepts, others": float(accepted[~known & ~main].mean()),
        "true accepts, most": float(accepted[known & main].mean()),
        "true accepts, others": float(accepted[known & ~main].mean()),
    }
