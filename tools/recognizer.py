"""Recognising what was shown: from one picture on, with evidence, and honest about the unknown.

Knows nothing of pictures, models or disk: numpy and scipy only, vectors in, a ranking out. It is
a pure function of the *set* of exemplars (:mod:`tools.exemplars`).

A picture is judged in its domains (:class:`tools.background.Background`; what was taught before
says which, too), where every label has log-likelihood ratios s_k over *never shown*
(:mod:`tools.likelihood`). The largest say together whether it is known at all
(:mod:`tools.openset`). Between labels, the softmax of contrast·s_k in the likeliest domain decides,
where names speak too; how sharply is refitted by leave-one-out from fifty exemplars on.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from tools.background import Array, Background
from tools.exemplars import Exemplars, Row
from tools.likelihood import Design, Head, Scores, Taught
from tools.openset import Judged, judged, moved, stranger_shift
from tools.ranking import Decision, Evidence, LeftOut, Ranking, Sample, Scored, is_ambiguous

__all__ = ["Decision", "Evidence", "LeftOut", "Ranking", "Recognizer", "Sample", "Scored"]

_NEAR_COPY = 0.9  # cosine from which a negative exemplar speaks for a picture
_FAINT = 0.05  # of the likeliest domain: what is less likely is not computed
_SHARPNESS = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0)
_TESTED = 200  # exemplars at most on which weights are fitted: enough for one number
_STRANGERS = 100  # exemplars at most that are asked as strangers


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
        self._background, self._names, self._design = background, names, design or Design()
        self._heads: dict[int, Head] = {}
        self._against: dict[int, dict[int, Array]] = {}
        latest = {s.id: s for s in samples}.values()
        vectors = np.asarray(background.units(s.vector for s in latest), np.float32)
        rows: dict[bool, dict[str, dict[str, Row]]] = {True: {}, False: {}}
        for sample, row in zip(latest, vectors, strict=True):
            rows[sample.positive].setdefault(sample.label_id, {})[sample.id] = row
        self._shown, self._refused = (Exemplars(rows[x], background.dimension) for x in rows)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that can be recognised, in the order of :meth:`posteriors`."""
        return tuple(self._shown.labels)

    def add(self, sample: Sample) -> "Recognizer":
        """The recognizer of this set and one more; one of the same id is replaced."""
        row = np.asarray(self._background.units([sample.vector])[0], np.float32)
        other = self.remove(sample.id)
        if sample.positive:
            other._shown = other._shown.added(sample.id, sample.label_id, row)
        else:
            other._refused = other._refused.added(sample.id, sample.label_id, row)
        return other

    def remove(self, sample_id: str) -> "Recognizer":
        """The recognizer of this set without one."""
        other = Recognizer((), self._background, self._names, self._design)
        other._shown = self._shown.without(sample_id)
        other._refused = self._refused.without(sample_id)
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
        keep = [i for i, x in enumerate(self._shown.labels) if among is None or x in among]
        if not keep:
            return self._nothing(where, keep)
        u = (head := self._head(where)).project(query)
        vetoed = self._vetoed(where, u[0]) if self._refused.rows else set()
        usable = [i for i in keep if i not in vetoed]
        if not usable:
            return self._nothing(where, keep)
        shots = np.zeros((1, len(self._shown.labels)), np.intp)
        shots[0, usable] = self._shown.counts[usable]

        def scores(domain: int, _: NDArray[np.intp]) -> Scores:
            return head.scores(u) if domain == where else self._head(domain).of(query)

        found = judged(self._background.domains, self._weights(query), where, scores, shots)
        ranking = self._ranked(where, found, keep, usable)
        return replace(ranking, evidence=self._evidence(head, u[0], ranking, evidence))

    def posteriors(self, vectors: NDArray[np.floating]) -> Array:
        """(m, d) unit vectors → (m, K) probabilities among the labels, rows of sum 1."""
        where = self._domains(self._background.units(vectors))
        return np.asarray(softmax(self._logits(where, self.scores(vectors).between), axis=1))

    def leave_one_out(self) -> tuple[LeftOut, ...]:
        """What each exemplar would be, had it not been taught; of labels with two or more."""
        rows = np.flatnonzero(self._shown.counts[self._shown.owner] > 1)
        everything, place = list(range(len(self._shown.labels))), self._where[rows]
        shots = self._shown.counts - (self._shown.owner[rows, None] == everything)

        def scores(domain: int, some: NDArray[np.intp]) -> Scores:
            return self._head(domain).without(rows[some])

        found = judged(self._background.domains, self._belongs[rows], place, scores, shots)
        results = []
        for i, (row, where) in enumerate(zip(rows.tolist(), place.tolist(), strict=True)):
            head, label = self._head(where), int(self._shown.owner[row])
            one = Judged(*(x[i : i + 1] for x in found))
            ranking = self._ranked(where, one, everything, everything)
            own = self._shown.ids[label][row - head.starts[label]]
            u = head.project(self._shown.vectors[row : row + 1])[0]
            ranking = replace(ranking, evidence=self._evidence(head, u, ranking, 3, without=own))
            results.append(LeftOut(own, self._shown.labels[label], ranking))
        return tuple(results)

    def similarity(self, a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
        """Cosine of two vectors (d,) in the metric of the first one's domain, in [-1, 1]."""
        pair = self._background.units([a, b])
        alone = self if self._shown.labels else Recognizer([Sample("a", "a", a)], self._background)
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
        result = Scores(*np.zeros((2, len(queries), len(self._shown.labels))))
        for domain in map(int, np.unique(where)):
            head, rows = self._head(domain), np.flatnonzero(where == domain)
            result.known[rows], result.between[rows] = head.of(queries[rows])
        return result

    @cached_property
    def _taught(self) -> Taught:
        labels, texts = self._shown.labels, None
        if self._names is not None and labels:
            texts = self._background.units(self._names[x] for x in labels)
        return Taught(self._shown.vectors, self._shown.owner, texts)

    @cached_property
    def _belongs(self) -> Array:
        """(N, D) of each positive exemplar, as :meth:`_weights` says it."""
        return self._weights(self._shown.vectors)

    @cached_property
    def _where(self) -> NDArray[np.intp]:
        """The domain of each positive exemplar."""
        return self._domains(self._shown.vectors)

    def _head(self, domain: int) -> Head:
        if domain not in self._heads:
            known, here = self._background.domains[domain], self._where == domain
            prior = self._background.prior
            self._heads[domain] = Head(known, self._taught, here, prior, self._design)
        return self._heads[domain]

    @cached_property
    def _share(self) -> Array:
        """(D,) how much of what is taught is of each domain."""
        return self._background.shares(self._shown.vectors)

    def _weights(self, vectors: NDArray[np.floating]) -> Array:
        """(m, D) how likely each picture is of each domain, known or not; 0 is hardly at all."""
        own = np.eye(len(self._background.domains))[self._domains(vectors)]
        if not self._design.domains or len(own.T) == 1:
            return own
        found = self._background.weights(vectors, np.sqrt(self._share))
        faint = found < _FAINT * found.max(axis=1, keepdims=True)
        found[faint & (own == 0.0)] = 0.0
        return np.asarray(found / found.sum(axis=1, keepdims=True))

    def _domains(self, vectors: NDArray[np.floating]) -> NDArray[np.intp]:
        if not self._design.domains:
            return np.zeros(len(vectors), np.intp)
        return self._background.domain_of(vectors, self._share)

    @cached_property
    def _shift(self) -> float:
        """What the threshold's log-odds are moved by: every exemplar is no other label's."""
        if len(self._shown.labels) < 2:
            return 0.0
        rows = self._shown.some(_STRANGERS)
        owner, vectors = self._shown.owner[rows], self._shown.vectors[rows]

        def scores(domain: int, asked: NDArray[np.intp]) -> Scores:
            return self._head(domain).of(vectors[asked])

        others = owner[:, None] != np.arange(len(self._shown.labels))
        domains, shots = self._background.domains, self._shown.counts * others
        found = judged(domains, self._belongs[rows], self._where[rows], scores, shots)
        return stranger_shift(found, owner)

    @cached_property
    def _sharpness(self) -> float:
        """Factor on the logits between labels, by leave-one-out log-loss; 1 below 50 exemplars."""
        several = np.flatnonzero(self._shown.counts[self._shown.owner] > 1)
        rows = several[:: max(1, -(-len(several) // _TESTED))]
        if len(several) < 50 or len(self._shown.labels) < 2 or not self._design.temperature:
            return 1.0
        losses = np.zeros(len(_SHARPNESS))
        for domain in map(int, np.unique(self._where[rows])):
            mine = rows[self._where[rows] == domain]
            logits = self._logits(domain, self._head(domain).without(mine).between, 1.0)
            at, own = np.arange(len(mine)), self._shown.owner[mine]
            losses -= [float(log_softmax(t * logits, axis=1)[at, own].sum()) for t in _SHARPNESS]
        losses += 20.0 * np.log(_SHARPNESS) ** 2  # a pull towards 1
        return _SHARPNESS[int(np.argmin(losses))]

    def _logits(
        self, where: int | NDArray[np.intp], between: Array, sharpness: float | None = None
    ) -> Array:
        """(m, K) logits between the labels, of pictures of these domains, from their scores."""
        factor = self._sharpness if sharpness is None else sharpness
        contrast = np.array([x.contrast for x in self._background.domains])[where]
        return np.asarray(factor * np.reshape(contrast, (-1, 1)) * between)

    def _ranked(self, where: int, found: Judged, keep: list[int], usable: list[int]) -> Ranking:
        """The ranking for one query (rows of one), without evidence."""
        chance = float(found.known[0])
        threshold = moved(float(found.threshold[0]), self._shift)
        logits = self._logits(where, found.between)[0, usable]
        odds = np.exp(logits - logits.max())  # scipy's softmax is a tenth of the whole answer
        order = np.argsort(-odds, kind="stable").tolist()
        chances = (odds * (chance / odds.sum())).tolist()
        ranked = [Scored(self._shown.labels[usable[j]], chances[j]) for j in order]
        ranked += [Scored(self._shown.labels[i], 0.0) for i in sorted({*keep} - {*usable})]
        decision: Decision = "known"
        if chance < threshold:
            decision = "unknown"
        elif len(order) > 1 and is_ambiguous(odds[order[0]], odds[order[1]]):
            decision = "ambiguous"
        return Ranking(tuple(ranked), decision, 1.0 - chance, 1.0 - threshold, ())

    def _nothing(self, where: int, keep: list[int]) -> Ranking:
        zero = tuple(Scored(self._shown.labels[i], 0.0) for i in keep)
        return Ranking(zero, "unknown", 1.0, 1.0 - self._background.domains[where].threshold, ())

    def _vetoed(self, where: int, u: Array) -> set[int]:
        """Labels with a negative that is nearly this picture, and nearer than any exemplar."""
        head = self._heads[where]
        if where not in self._against:
            self._against[where] = {
                self._shown.number[x]: head.metric(
                    head.project(self._refused.stacked(rows.values()))
                )
                for x, rows in self._refused.rows.items()
                if x in self._shown.number
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
            number = self._shown.number[label.label_id]
            cosines = np.clip(head.nearness(u, number), -1.0, 1.0)
            ids = self._shown.ids[number]
            for j in np.argsort(-cosines, kind="stable")[: count + 1].tolist():
                if ids[j] != without:
                    found.append(Evidence(ids[j], label.label_id, float(cosines[j])))
        found.sort(key=lambda x: (-x.similarity, x.sample_id))
        return tuple(found[:count])
