"""Recognising what was shown: from one picture on, with evidence, and honest about the unknown.

Knows nothing of pictures, models or disk: numpy and scipy only, vectors in, a ranking out. It is
a pure function of the *set* of exemplars; their order does not matter, and what was added and
removed leaves no trace.

A picture is judged in its domain (:class:`tools.background.Background`; what was taught before says
which, too), where every label has log-likelihood ratios s_k over *never shown*
(:mod:`tools.likelihood`). The largest says whether the picture is known
(:meth:`tools.background.Domain.known`), calibrated on things that were not taught but are of the
same kind. Between labels, the softmax of contrast·s_k decides, where names speak too; how sharply
is refitted by leave-one-out from fifty exemplars on.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from tools.background import Array, Background
from tools.likelihood import Design, Head, Scores, Taught
from tools.ranking import Decision, Evidence, LeftOut, Ranking, Sample, Scored, is_ambiguous

__all__ = ["Decision", "Evidence", "LeftOut", "Ranking", "Recognizer", "Sample", "Scored"]

Row = NDArray[np.float32]
Rows = dict[str, Row]  # unit vectors (d,) of a label's exemplars, by id

_NEAR_COPY = 0.9  # cosine from which a negative exemplar speaks for a picture
_SHARPNESS = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0)
_TESTED = 200  # exemplars at most on which weights are fitted: enough for one number


class Recognizer:
    """Fitted to a set of samples, when first asked in a domain: O(N·d² + d³).

    A question then costs O(K·d + d²) and the exemplars of the best labels.
    """

    def __init__(
        self,
        samples: Iterable[Sample],
        background: Background,
        names: Mapping[str, NDArray[np.floating]] | None = None,
        design: Design | None = None,
    ) -> None:
        """``names``: unit text vectors (d,) by label id, of the embedder's text tower.

        Raises ``ValueError`` for vectors of another dimension, zero, or not finite.
        """
        self._background, self._names = background, names
        self._design = design or Design()
        self._shown: dict[str, Rows] = {}
        self._refused: dict[str, Rows] = {}
        self._heads: dict[int, Head] = {}
        self._against: dict[int, dict[int, Array]] = {}
        latest = {s.id: s for s in samples}.values()
        vectors = np.asarray(background.units(s.vector for s in latest), np.float32)
        for sample, row in zip(latest, vectors, strict=True):
            kind = self._shown if sample.positive else self._refused
            kind.setdefault(sample.label_id, {})[sample.id] = row

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that can be recognised, in the order of :meth:`posteriors`."""
        return tuple(self._labels)

    def add(self, sample: Sample) -> "Recognizer":
        """The recognizer of this set and one more; one of the same id is replaced."""
        row = np.asarray(self._background.units([sample.vector])[0], np.float32)
        other = self.remove(sample.id)
        kind = other._shown if sample.positive else other._refused
        kind[sample.label_id] = {**kind.get(sample.label_id, {}), sample.id: row}
        return other

    def remove(self, sample_id: str) -> "Recognizer":
        """The recognizer of this set without one."""
        other = Recognizer((), self._background, self._names, self._design)
        other._shown = _without(self._shown, sample_id)
        other._refused = _without(self._refused, sample_id)
        return other

    def recognise(
        self,
        vector: NDArray[np.floating],
        *,
        among: Collection[str] | None = None,
        evidence: int = 3,
    ) -> Ranking:
        """Rank the labels (only those in ``among``, if given) for a unit vector (d,)."""
        query = self._background.units([vector])
        where = int(self._domains(query)[0])
        keep = [i for i, x in enumerate(self._labels) if among is None or x in among]
        if not keep:
            return self._nothing(where, keep)
        head = self._head(where)
        u = head.project(query)
        vetoed = self._vetoed(where, u[0])
        usable = [i for i in keep if i not in vetoed]
        if not usable:
            return self._nothing(where, keep)
        ranking = self._ranked(where, head.scores(u), keep, usable)
        cited = self._evidence(head, u[0], ranking, evidence)
        return replace(ranking, evidence=cited)

    def posteriors(self, vectors: NDArray[np.floating]) -> Array:
        """(m, d) unit vectors → (m, K) probabilities among the labels, rows of sum 1."""
        where = self._domains(self._background.units(vectors))
        return np.asarray(softmax(self._logits(where, self.scores(vectors)), axis=1))

    def leave_one_out(self) -> tuple[LeftOut, ...]:
        """What each exemplar would be, had it not been taught; of labels with two or more."""
        several = self._counts[self._taught.owner] > 1
        results: dict[int, LeftOut] = {}
        everything = list(range(len(self._labels)))
        for where in map(int, np.unique(self._where[several])):
            rows = np.flatnonzero(several & (self._where == where))
            head = self._head(where)
            scores = head.without(rows)
            vectors = head.project(self._taught.vectors[rows])
            for i, row in enumerate(map(int, rows)):
                one = Scores(*(x[i : i + 1] for x in scores))
                ranking = self._ranked(where, one, everything, everything)
                label = int(self._taught.owner[row])
                own = self._ids[label][row - head.starts[label]]
                cited = self._evidence(head, vectors[i], ranking, 3, without=own)
                ranking = replace(ranking, evidence=cited)
                results[row] = LeftOut(own, self._labels[label], ranking)
        return tuple(results[row] for row in sorted(results))

    def similarity(self, a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
        """Cosine of two vectors (d,) in the metric of the first one's domain, in [-1, 1]."""
        pair = self._background.units([a, b])
        alone = self if self._labels else Recognizer([Sample("a", "a", a)], self._background)
        head = alone._head(int(self._domains(pair)[0]))
        x, y = head.metric(head.project(pair))
        return float(np.clip(x @ y, -1.0, 1.0))

    def same_thing(self, a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
        """P(two pictures show the same thing): one of them taught, the other asked about."""
        alone = Recognizer([Sample("a", "a", a)], self._background, design=self._design)
        return 1.0 - alone.recognise(b).unknown

    def scores(self, vectors: NDArray[np.floating]) -> Scores:
        """(m, d) → (m, K) log-likelihood ratios of the labels, each picture in its own domain."""
        queries = self._background.units(vectors)
        where = self._domains(queries)
        result = Scores(*np.zeros((2, len(queries), len(self._labels))))
        for domain in map(int, np.unique(where)):
            head, rows = self._head(domain), np.flatnonzero(where == domain)
            result.known[rows], result.between[rows] = head.of(queries[rows])
        return result

    @cached_property
    def _labels(self) -> list[str]:
        return sorted(self._shown)

    @cached_property
    def _ids(self) -> list[list[str]]:
        """The exemplars of each label, in the order of their rows."""
        return [sorted(self._shown[x]) for x in self._labels]

    @cached_property
    def _number(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self._labels)}

    @cached_property
    def _taught(self) -> Taught:
        named = zip(self._labels, self._ids, strict=True)
        rows = [self._shown[x][i] for x, ids in named for i in ids]
        owner = np.repeat(np.arange(len(self._ids)), [len(ids) for ids in self._ids])
        texts = None
        if self._names is not None and self._labels:
            texts = self._background.units(self._names[x] for x in self._labels)
        return Taught(_stacked(rows, self._background.dimension), owner, texts)

    @cached_property
    def _counts(self) -> NDArray[np.intp]:
        """(K,) exemplars of each label."""
        return np.bincount(self._taught.owner, minlength=len(self._labels))

    @cached_property
    def _where(self) -> NDArray[np.intp]:
        """The domain of each positive exemplar."""
        return self._domains(self._taught.vectors)

    def _head(self, domain: int) -> Head:
        if domain not in self._heads:
            known, here = self._background.domains[domain], self._where == domain
            prior = self._background.prior
            self._heads[domain] = Head(known, self._taught, here, prior, self._design)
        return self._heads[domain]

    @cached_property
    def _share(self) -> Array:
        """(D,) how much of what is taught is of each domain."""
        return self._background.shares(self._taught.vectors)

    def _domains(self, vectors: NDArray[np.floating]) -> NDArray[np.intp]:
        if not self._design.domains:
            return np.zeros(len(vectors), np.intp)
        return self._background.domain_of(vectors, self._share)

    @cached_property
    def _sharpness(self) -> float:
        """Factor on the logits between labels, by leave-one-out log-loss; 1 below 50 exemplars."""
        several = np.flatnonzero(self._counts[self._taught.owner] > 1)
        rows = several[:: max(1, -(-len(several) // _TESTED))]
        if len(several) < 50 or len(self._labels) < 2 or not self._design.temperature:
            return 1.0
        losses = np.zeros(len(_SHARPNESS))
        for domain in map(int, np.unique(self._where[rows])):
            mine = rows[self._where[rows] == domain]
            logits = self._logits(domain, self._head(domain).without(mine), 1.0)
            at, own = np.arange(len(mine)), self._taught.owner[mine]
            losses -= [float(log_softmax(t * logits, axis=1)[at, own].sum()) for t in _SHARPNESS]
        losses += 20.0 * np.log(_SHARPNESS) ** 2  # a pull towards 1
        return _SHARPNESS[int(np.argmin(losses))]

    def _logits(
        self, where: int | NDArray[np.intp], scores: Scores, sharpness: float | None = None
    ) -> Array:
        """(m, K) logits between the labels, of pictures of these domains."""
        factor = self._sharpness if sharpness is None else sharpness
        contrast = np.array([x.contrast for x in self._background.domains])[where]
        return np.asarray(factor * np.reshape(contrast, (-1, 1)) * scores.between)

    def _ranked(self, where: int, scores: Scores, keep: list[int], usable: list[int]) -> Ranking:
        """The ranking for one query (rows of one), without evidence."""
        domain = self._background.domains[where]
        nearest = usable[int(scores.known[0, usable].argmax())]
        ratio, shots = scores.known[0, nearest], int(self._counts[nearest])
        chance = float(domain.known(ratio, len(usable), shots))
        share = softmax(self._logits(where, scores)[0, usable])
        order = np.argsort(-share, kind="stable").tolist()
        chances = (chance * share).tolist()
        ranked = [Scored(self._labels[usable[j]], chances[j]) for j in order]
        ranked += [Scored(self._labels[i], 0.0) for i in sorted({*keep} - {*usable})]
        decision: Decision = "known"
        if chance < domain.threshold:
            decision = "unknown"
        elif len(order) > 1 and is_ambiguous(share[order[0]], share[order[1]]):
            decision = "ambiguous"
        return Ranking(tuple(ranked), decision, 1.0 - chance, 1.0 - domain.threshold, ())

    def _nothing(self, where: int, keep: list[int]) -> Ranking:
        zero = tuple(Scored(self._labels[i], 0.0) for i in keep)
        threshold = 1.0 - self._background.domains[where].threshold
        return Ranking(zero, "unknown", 1.0, threshold, ())

    def _vetoed(self, where: int, u: Array) -> set[int]:
        """Labels with a negative that is nearly this picture, and nearer than any exemplar."""
        head = self._heads[where]
        if where not in self._against:
            self._against[where] = {
                self._number[x]: head.metric(head.project(_stacked(rows.values(), len(u))))
                for x, rows in self._refused.items()
                if x in self._number
            }
        query = head.metric(u)
        vetoed = set()
        for label, refused in self._against[where].items():
            nearest = float((refused @ query).max())
            if nearest >= _NEAR_COPY and nearest > head.nearness(u, label).max():
                vetoed.add(label)
        return vetoed

    def _evidence(
        self, head: Head, u: Array, ranking: Ranking, count: int, without: str = ""
    ) -> tuple[Evidence, ...]:
        """The ``count`` exemplars of the best label nearest to u, of the best two if ambiguous."""
        cited = ranking.labels[: 2 if ranking.decision == "ambiguous" else 1] if count else ()
        found = []
        for label in cited:
            number = self._number[label.label_id]
            cosines = np.clip(head.nearness(u, number), -1.0, 1.0)
            ids = self._ids[number]
            for j in np.argsort(-cosines, kind="stable")[: count + 1].tolist():
                if ids[j] != without:
                    found.append(Evidence(ids[j], label.label_id, float(cosines[j])))
        found.sort(key=lambda x: (-x.similarity, x.sample_id))
        return tuple(found[:count])


def _without(kind: Mapping[str, Rows], sample_id: str) -> dict[str, Rows]:
    """The labels that are left, and their rows, when one is gone."""
    less = dict(kind)
    for label_id, rows in kind.items():
        if sample_id in rows:
            less[label_id] = {i: row for i, row in rows.items() if i != sample_id}
    return {label_id: rows for label_id, rows in less.items() if rows}


def _stacked(rows: Iterable[Row], dimension: int) -> Row:
    return np.array(list(rows), np.float32).reshape(-1, dimension)
