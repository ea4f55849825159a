"""Episodes: what is shown, what is asked, and what the baselines may tune on, drawn by seed.

Knows nothing of methods. All methods of a seed, set and shot count get the same episode. More
shots of a seed contain its fewer shots.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tests.bench.recognition.features import FeatureSet
from tools.background import Background, Domain

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]

SHOTS = (1, 2, 4, 8, 16)
IMBALANCED = (1, 1, 2, 4, 8, 16)
"""Shots of the classes in turn, in the imbalanced task."""
MIN_QUERIES = 4
_FEWEST_CLASSES = 5


@dataclass(frozen=True, eq=False)
class Episode:
    """K labels, N shots and m queries: unit vectors ``shots`` (N, d), ``queries`` (m, d).

    ``y`` (N,) and ``targets`` (m,) are label numbers; ``text`` (K, d) or None. ``validation`` has
    its own queries, and by default the same shots: the only thing a baseline may tune on.
    """

    shots: Floats
    y: Ints
    queries: Floats
    targets: Ints
    background: Background
    text: Floats | None = None
    logit_scale: float = 1.0
    validation: Episode | None = None
    classes: Ints | None = None
    """(K,) numbers of the labels in their feature set."""

    @cached_property
    def labels(self) -> int:
        """K."""
        return int(self.y.max()) + 1

    @cached_property
    def domain(self) -> Domain:
        """The background's statistics of the kind of picture that most shots are."""
        kinds = self.background.domain_of(self.shots)
        return self.background.domains[int(np.bincount(kinds).argmax())]

    @cached_property
    def onehot(self) -> Floats:
        """Y (N, K)."""
        return np.eye(self.labels)[self.y]

    @cached_property
    def gram(self) -> Floats:
        """Cosines among the shots (N, N)."""
        return self.shots @ self.shots.T

    @cached_property
    def near(self) -> Floats:
        """Cosines of queries to shots (m, N)."""
        return self.queries @ self.shots.T

    @cached_property
    def zero_shot(self) -> Floats:
        """z (m, K) = s·f·t_k of the queries; zero where there is no text."""
        return self._named(self.queries)

    @cached_property
    def zero_shot_shots(self) -> Floats:
        """z (N, K) of the shots."""
        return self._named(self.shots)

    def _named(self, vectors: Floats) -> Floats:
        if self.text is None:
            return np.zeros((len(vectors), self.labels))
        return self.logit_scale * vectors @ self.text.T


def generator(source: FeatureSet, *key: int) -> np.random.Generator:
    """Chances that depend on the set's name and the key alone."""
    return np.random.default_rng([zlib.crc32(source.name.encode()), *key])


def draw(
    source: FeatureSet,
    shots: int | Sequence[int],
    seed: int,
    *,
    max_classes: int = 100,
    max_queries: int = 1000,
) -> Episode | None:
    """An episode, or None where the set has too few rows for so many shots.

    ``shots`` is one count, or counts for the classes in turn. A class needs n shots, min(n, 4)
    validation rows and 4 queries. Where a set has views (styles), the shots of a class are of
    different views, its queries of views not shown, and validation is an episode of other classes.
    """
    counts = (shots,) if isinstance(shots, int) else tuple(shots)
    rng = generator(source, seed)
    if source.views is not None:
        return _across_views(source, counts, rng, max_classes)
    rows = {c: rng.permutation(np.flatnonzero(source.labels == c)) for c in source.present}
    most = max(counts)
    enough = [c for c, r in rows.items() if len(r) >= most + min(most, 4) + MIN_QUERIES]
    if len(enough) < max(min(_FEWEST_CLASSES, len(rows)), len(rows) / 2):
        return None
    chosen = rng.permutation(enough)[:max_classes]
    a_class = max(MIN_QUERIES, max_queries // len(chosen))
    shown, tuned, asked = [], [], []
    for number, c in enumerate(chosen):
        n = counts[number % len(counts)]
        held = n + min(n, 4)
        shown.append(rows[c][:n])
        tuned.append(rows[c][n:held])
        asked.append(rows[c][held : held + a_class])
    validation = _episode(source, chosen, shown, tuned, None)
    return _episode(source, chosen, shown, asked, validation)


def _across_views(
    source: FeatureSet, counts: tuple[int, ...], rng: np.random.Generator, max_classes: int
) -> Episode | None:
    order, n_views = rng.permutation(source.present), source.view_counts
    (n, *others) = counts
    order = order[n_views[order] > n]
    size = min(max_classes, len(order) // 2)
    if others or size < _FEWEST_CLASSES:
        return None
    halves = order[:size], order[size : 2 * size]
    made: Episode | None = None
    for chosen in reversed(halves):
        shown, asked = zip(*(views_apart(source, c, n, rng) for c in chosen), strict=True)
        made = _episode(source, chosen, shown, asked, made)
    return made


def views_apart(
    source: FeatureSet, number: int, n: int, rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """Rows of a class to show, of ``n`` different views, and the rows of the other views."""
    assert source.views is not None
    rows = rng.permutation(np.flatnonzero(source.labels == number))
    taught = rng.permutation(np.unique(source.views[rows]))[:n]
    shown = [rows[source.views[rows] == v][0] for v in taught]
    return np.array(shown), rows[~np.isin(source.views[rows], taught)]


def _episode(
    source: FeatureSet,
    chosen: Ints,
    shown: Sequence[Ints],
    asked: Sequence[Ints],
    validation: Episode | None,
) -> Episode:
    return Episode(
        shots=source.features[np.concatenate(shown)].astype(np.float64),
        y=np.repeat(np.arange(len(chosen)), [len(r) for r in shown]),
        queries=source.features[np.concatenate(asked)].astype(np.float64),
        targets=np.repeat(np.arange(len(chosen)), [len(r) for r in asked]),
        background=source.background,
        text=None if source.text is None else source.text[chosen].astype(np.float64),
        logit_scale=source.logit_scale,
        validation=validation,
        classes=np.asarray(chosen),
    )
