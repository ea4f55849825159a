"""Recognising what was shown: from one picture on, with evidence, and honest about the unknown.

Knows nothing of pictures, models or disk: numpy and scipy only, vectors in, a ranking out. It is
a pure function of the *set* of exemplars; their order does not matter.

The model is the background's (:mod:`tools.background`). In the basis that makes W the identity
and B diagonal (ψ), a label with n exemplars of mean ū predicts N(nψ/(nψ+1)·ū, 1 + ψ/(nψ+1)), and
a thing never shown predicts N(0, 1 + ψ). The log ratio of the two is the label's score s_k
(Ioffe, ECCV 2006, eq. 5); s = log mean_k exp s_k is the score of *known*, so that more labels do
not make an accident likelier.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from tools.background import Array, Background

__all__ = ["Decision", "Evidence", "Ranking", "Recognizer", "Sample", "Scored"]

Decision = Literal["known", "ambiguous", "unknown"]
_AMBIGUOUS = 0.7  # the best label must hold this share of the probability of the best two
_NEAR_COPY = 0.9  # cosine from which a negative exemplar speaks for a picture


@dataclass(frozen=True, eq=False)
class Sample:
    """One exemplar: its id, its label's, its unit vector (d,), and whether it is a negative."""

    id: str
    label_id: str
    vector: NDArray[np.floating]
    positive: bool = True


@dataclass(frozen=True)
class Scored:
    """A label with its probability in [0, 1] (of this label against all others and *unknown*)."""

    label_id: str
    probability: float


@dataclass(frozen=True)
class Evidence:
    """An exemplar with its similarity to the query, a cosine in the deciding metric, [-1, 1]."""

    sample_id: str
    label_id: str
    similarity: float


@dataclass(frozen=True)
class Ranking:
    """What a query is: labels by falling probability, *unknown* beside them, and why."""

    labels: tuple[Scored, ...]
    decision: Decision
    unknown: float
    """P(none of the labels), in [0, 1]."""
    threshold: float
    """``unknown`` above this means the decision *unknown*."""
    evidence: tuple[Evidence, ...]
    """The nearest exemplars of the best label (of the best two when ambiguous), best first."""

    @property
    def best(self) -> Scored | None:
        """The likeliest label, whatever the decision; None when nothing is taught."""
        return self.labels[0] if self.labels else None


class Recognizer:
    """Fitted to a set of samples at construction: O(N·d²) once, then O(K·d + N·d) a query."""

    def __init__(self, samples: Sequence[Sample], background: Background) -> None:
        """Raises ``ValueError`` for vectors of another dimension, zero, or not finite."""
        self._background = background
        self._psi, self._basis = background.basis
        ordered = sorted(samples, key=lambda s: (s.label_id, s.id))
        self._positives = [s for s in ordered if s.positive]
        self._negatives = [s for s in ordered if not s.positive]
        self._shown = self._project([s.vector for s in self._positives])
        self._refused = self._metric(self._project([s.vector for s in self._negatives]))
        self._shown_metric = self._metric(self._shown)
        names = sorted({s.label_id for s in self._positives})
        self._labels = names
        number = {name: i for i, name in enumerate(names)}
        self._owner = np.array([number[s.label_id] for s in self._positives], dtype=int)
        counts = np.bincount(self._owner, minlength=len(names)).astype(float)
        sums = np.zeros((len(names), background.dimension))
        np.add.at(sums, self._owner, self._shown)
        self._means, self._spread = self._predictive(sums, counts)
        self._log_spread = np.log(self._spread).sum(axis=1)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that can be recognised."""
        return tuple(self._labels)

    def recognise(
        self,
        vector: NDArray[np.floating],
        *,
        among: Collection[str] | None = None,
        evidence: int = 3,
    ) -> Ranking:
        """Rank the labels (only those in ``among``, if given) for a unit vector (d,)."""
        query = self._project([vector])[0]
        scores = self.scores(query)
        keep = [i for i, x in enumerate(self._labels) if among is None or x in among]
        vetoed = self._vetoed(query)
        usable = [i for i in keep if self._labels[i] not in vetoed]
        threshold = 1.0 - self._background.threshold
        if not usable:
            zero = tuple(Scored(self._labels[i], 0.0) for i in keep)
            return Ranking(zero, "unknown", 1.0, threshold, ())
        s = scores[usable]
        known = self._known(float(logsumexp(s) - np.log(len(usable))))
        # The calibrated scale serves between labels too: same ratio, same temperature.
        share = np.exp(self._background.scale * (s - s.max()))
        share /= share.sum()
        order = sorted(range(len(usable)), key=lambda j: (-share[j], self._labels[usable[j]]))
        ranked = [Scored(self._labels[usable[j]], known * float(share[j])) for j in order]
        ranked += [Scored(self._labels[i], 0.0) for i in keep if i not in usable]
        decision: Decision = "known"
        if known < self._background.threshold:
            decision = "unknown"
        elif len(order) > 1:
            first, second = share[order[0]], share[order[1]]
            if first < _AMBIGUOUS * (first + second):
                decision = "ambiguous"
        cited = {x.label_id for x in ranked[: 2 if decision == "ambiguous" else 1]}
        return Ranking(
            tuple(ranked), decision, 1.0 - known, threshold, self._evidence(query, cited, evidence)
        )

    def similarity(self, a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
        """Cosine of two vectors (d,) in the deciding metric, in [-1, 1]."""
        x, y = self._metric(self._project([a, b]))
        return float(np.clip(x @ y, -1.0, 1.0))

    def same_thing(self, a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
        """P(two pictures show the same thing): one of them taught, the other asked about."""
        alone = Recognizer([Sample("a", "a", a)], self._background)
        return 1.0 - alone.recognise(b).unknown

    def known_score(self, vector: NDArray[np.floating]) -> float:
        """s, the uncalibrated score of *known*, for a unit vector (d,); needs one label."""
        scores = self.scores(self._project([vector])[0])
        return float(logsumexp(scores) - np.log(len(scores)))

    def scores(self, query: Array) -> Array:
        """(K,) log-likelihood ratios of the labels over *never shown*, for a projected query."""
        psi = 1.0 + self._psi
        never = -0.5 * (np.sum(query**2 / psi) + np.sum(np.log(psi)))
        distance = np.sum((query - self._means) ** 2 / self._spread, axis=1)
        return np.asarray(-0.5 * (distance + self._log_spread) - never)

    def _predictive(self, sums: Array, counts: Array) -> tuple[Array, Array]:
        n = counts[:, None]
        shrink = self._psi / (n * self._psi + 1.0)  # ψ/(nψ+1)
        return shrink * sums, 1.0 + shrink

    def _known(self, score: float) -> float:
        z = self._background.scale * score + self._background.bias
        return 1.0 / (1.0 + float(np.exp(-np.clip(z, -60, 60))))

    def _project(self, vectors: Sequence[NDArray[np.floating]]) -> Array:
        d = self._background.dimension
        if not vectors:
            return np.zeros((0, d))
        x = np.stack([np.asarray(v, dtype=np.float64) for v in vectors])
        if x.shape[1:] != (d,):
            raise ValueError(f"vectors have shape {x.shape[1:]}, the embedder makes ({d},)")
        if not np.isfinite(x).all() or not np.linalg.norm(x, axis=1).all():
            raise ValueError("a vector is zero or not finite")
        return np.asarray((self._background.centred(x) - self._background.centre) @ self._basis)

    def _metric(self, projected: Array) -> Array:
        """Unit vectors in which directions that say nothing about the thing count little."""
        weighted = projected * np.sqrt(self._psi / (1.0 + self._psi))
        norm = np.linalg.norm(weighted, axis=1, keepdims=True)
        return np.asarray(weighted / np.maximum(norm, 1e-12))

    def _vetoed(self, query: Array) -> set[str]:
        """Labels with a negative that is nearly this picture, and nearer than any exemplar."""
        if not self._negatives:
            return set()
        q = self._metric(query[None])[0]
        against, towards = self._refused @ q, self._shown_metric @ q
        vetoed = set()
        for sample, near in zip(self._negatives, against, strict=True):
            mine = [
                t
                for s, t in zip(self._positives, towards, strict=True)
                if s.label_id == sample.label_id
            ]
            if near >= _NEAR_COPY and near > max(mine, default=-1.0):
                vetoed.add(sample.label_id)
        return vetoed

    def _evidence(self, query: Array, labels: set[str], count: int) -> tuple[Evidence, ...]:
        near = self._shown_metric @ self._metric(query[None])[0]
        mine = [i for i, s in enumerate(self._positives) if s.label_id in labels]
        mine.sort(key=lambda i: (-near[i], self._positives[i].id))
        return tuple(
            Evidence(
                self._positives[i].id,
                self._positives[i].label_id,
                float(np.clip(near[i], -1.0, 1.0)),
            )
            for i in mine[:count]
        )
