"""How likely a picture is under each taught label, in one domain of an embedder.

Numpy and scipy only; knows nothing of decisions, negatives or evidence. In the basis V that makes
the within-class covariance W the identity and B diagonal (ψ), with u the projected vector of a
picture and a label of n exemplars with sum s:

- *one thing* (probabilistic LDA; Ioffe, ECCV 2006, eq. 5): u ~ N(μ, 1 + 1/λ) with λ = 1/ψ + m and
  μ = m·s/(nλ); what was never shown has u ~ N(0, 1 + ψ), and scores are log ratios of the two.
  Between labels, a second picture tells less than the first: n of them count as
  m = n/(1 + (n − 1)·alike), without which labels with many pictures would take those of labels
  with few. Against what was never shown each counts in full, and the label's mean may lie farther
  out than that of the things the background was measured on: m = n, and 2ψ for ψ in λ.
- *several things under one name* (front and back, many breeds): the mean of the ratios of the
  label's exemplars taken one at a time, which is a kernel density.
- a label's score is (1 − a) of the first and a of the second, a = (1 − 1/n)·kernel.

W starts as the background's and follows what is taught (inverse-Wishart): W = (νW₀ + S_W)/(ν + N −
K), where ν is half the degrees of freedom that W₀ was estimated with, and d at least. A name moves
a label's prior mean to p and its variance to τ: λ = 1/τ + m and μ = (p/τ + m·s/n)/λ. How far names
can be trusted is estimated from the exemplars themselves (empirical Bayes), by the slope of s/n on
p, pooled over the labels: p shrinks with it and τ goes from what names leave open in the background
to ψ. A name that means nothing ("zorb", "Rex") then says nothing.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tools.background import Array, Domain, Prior, spectrum
from tools.gaussians import Gaussians, adapted, sums_by

__all__ = ["Design", "Head", "Scores", "Taught"]

_LABELS = 4.0  # what the background says of names counts as much as so many labels
_SHIFT = 0.5  # of W's degrees of freedom: what people teach is not quite what was measured
_WIDER = 2.0  # variance of means of what people teach, in units of the background's
_SHARP = 0.1  # names are worth more than the variance they leave, which counts d directions as one
_ALL = 4_096  # exemplars up to which every label's density is computed
_FINALISTS = 8  # labels whose densities are computed beyond that, and the likeliest known
_ROWS = 512  # at a time, where all at once would not fit a cache


@dataclass(frozen=True)
class Design:
    """The parts of the model that can be switched off, to measure what each is worth."""

    adapt: bool = True
    """Whether W follows what is taught."""
    kernel: float = 0.5
    """Weight of the kernel density for a label with many exemplars, in [0, 1]."""
    alike: float = 0.4
    """How much of a second picture the first one has already told, in [0, 1]."""
    prior: bool = True
    """Whether names move the prior means."""
    domains: bool = True
    """Whether a picture is judged by the statistics of its own domain, or by the first."""
    temperature: bool = True
    """Whether the sharpness between labels is fitted to what is taught."""


class Taught(NamedTuple):
    """Positive exemplars, sorted by label: raw unit vectors (N, d), ``owner`` (N,) in 0..K-1, and
    unit text vectors of the K names, or None."""

    vectors: NDArray[np.floating]
    owner: NDArray[np.intp]
    texts: NDArray[np.floating] | None


class Scores(NamedTuple):
    """Log-likelihood ratios (m, K) over *never shown*: to say whether a picture is known at all,
    by pictures alone, and which label is likelier, where names speak too."""

    known: Array
    between: Array


class _Left(NamedTuple):
    """Exemplars left out: their rows (m,), residuals (m, d) and γ (m,) (:func:`adapted`)."""

    rows: NDArray[np.intp]
    residual: Array
    gamma: Array


class Head:
    """The labels' likelihoods in one domain, fitted at construction: O(N·d² + d³)."""

    def __init__(
        self,
        domain: Domain,
        taught: Taught,
        here: NDArray[np.bool_],
        prior: Prior | None,
        design: Design,
    ) -> None:
        """``here`` (N,): the exemplars that belong to this domain; W follows only those."""
        self.domain = domain
        owner, d = taught.owner, taught.vectors.shape[1]
        self._owner = owner
        self._n = np.bincount(owner).astype(float)[:, None]
        centred = np.empty(taught.vectors.shape, np.float32)
        for i in range(0, len(centred), _ROWS):
            centred[i : i + _ROWS] = domain.centred(taught.vectors[i : i + _ROWS])
        nu = max(float(d), _SHIFT * domain.degrees) if design.adapt else np.inf
        within, self._gamma = adapted(domain, centred, owner, here, nu)
        same = within is domain.within
        self.psi, self._basis = domain.spectrum if same else spectrum(domain.between, within)
        self._u = centred @ np.asarray(self._basis, np.float32)
        self._here = here
        self._sums = sums_by(self._u, owner)
        self.starts = np.searchsorted(owner, np.arange(len(self._n) + 1))
        self._kernel, self._alike = design.kernel, (0.0, design.alike)
        self._never = Gaussians(np.zeros((1, d)), (1.0 + self.psi)[None])
        zero = np.zeros_like(self._sums)
        believed = zero, zero + self.psi
        if prior is not None and taught.texts is not None and design.prior and domain.gain > 0:
            believed = self._believed(prior, taught.texts)
        self._priors = (zero, zero + _WIDER * self.psi), believed
        self._heads = [
            self._predictive(self._sums, self._n, which, alike)
            for which, alike in zip(self._priors, self._alike, strict=True)
        ]
        self._alone = self.psi / (1.0 + self.psi)  # of one exemplar: μ = alone·u, S = 1 + alone
        weights = np.stack([self._alone, self._alone**2 / (1.0 + self._alone)], axis=1)
        size, pull = (self._u**2 @ np.asarray(weights, np.float32)).T
        self._norm = np.maximum(np.sqrt(size), 1e-12)
        self._alone_constant = pull + np.log1p(self._alone).sum()

    def project(self, vectors: NDArray[np.floating]) -> Array:
        """(m, d) unit vectors → (m, d) u."""
        return np.asarray(self.domain.centred(vectors) @ self._basis)

    def metric(self, u: Array) -> Array:
        """(m, d) u → unit vectors in which directions that tell little of the thing count little"""
        weighted = u * np.sqrt(self._alone)
        norm = np.linalg.norm(weighted, axis=-1, keepdims=True)
        return np.asarray(weighted / np.maximum(norm, 1e-12))

    def nearness(self, u: Array, label: int) -> Array:
        """Cosines in the metric, (n_k,), of one query (d,) with the exemplars of a label."""
        rows = slice(self.starts[label], self.starts[label + 1])
        query = np.asarray(self.metric(u) * np.sqrt(self._alone), np.float32)
        return np.asarray(self._u[rows] @ query / self._norm[rows])

    def of(self, vectors: NDArray[np.floating]) -> Scores:
        """Of unit vectors (m, d)."""
        return self.scores(self.project(vectors))

    def scores(self, u: Array) -> Scores:
        """Of projected queries (m, d)."""
        never = self._never.log(u)
        known, between = (head.log(u) - never for head in self._heads)
        return self._with_kernel(u, Scores(known, between), never[:, 0])

    def without(self, rows: NDArray[np.intp]) -> Scores:
        """Of the exemplars ``rows`` (m,), each as if it had not been taught (leave-one-out).

        Closed form: the own label loses the exemplar exactly; W loses its residual by a rank-one
        update; what is left in the basis and in the trust in names is of order 1/(ν + N). Rows
        must be of labels with two exemplars or more.
        """
        left = self._left(rows)
        u, r, gamma = np.asarray(self._u[rows], float), left.residual, left.gamma
        own = self._owner[rows]
        sums, n = self._sums[own] - u, self._n[own] - 1.0
        never = self._never.loosened(u, r, gamma)
        results = []
        for head, (mean, tau), alike in zip(self._heads, self._priors, self._alike, strict=True):
            logs = head.loosened(u, r, gamma)
            alone = self._predictive(sums, n, (mean[own], tau[own]), alike, each=True)
            one = alone.loosened(u[:, None], r[:, None], gamma[:, None])
            logs[np.arange(len(own)), own] = one[:, 0, 0]
            results.append(logs - never)
        return self._with_kernel(u, Scores(*results), never[:, 0], left)

    def _left(self, rows: NDArray[np.intp]) -> "_Left":
        here = np.asarray(self._here, np.float32)
        count = np.bincount(self._owner, here)[:, None]
        mine = self._sums if here.all() else sums_by(self._u * here[:, None], self._owner)
        means = mine / np.maximum(count, 1.0)
        residual = self._u[rows] - means[self._owner[rows]]
        return _Left(rows, residual * here[rows, None], self._gamma[rows])

    def _predictive(
        self,
        sums: Array,
        n: Array,
        prior: tuple[Array, Array],
        alike: float,
        *,
        each: bool = False,
    ) -> Gaussians:
        """Of labels with these sums (K, d) and counts (K, 1); ``each``: K stacks of one."""
        worth = n / (1.0 + (n - 1.0) * alike)
        expected, tau = prior
        precision = 1.0 / tau + worth
        mean = (expected / tau + sums * (worth / n)) / precision
        spread = 1.0 + 1.0 / precision
        return Gaussians(mean[:, None], spread[:, None]) if each else Gaussians(mean, spread)

    def _believed(self, prior: Prior, texts: NDArray[np.floating]) -> tuple[Array, Array]:
        """(p, τ), both (K, d): what the names say of the means, and how surely."""
        expected = self.domain.gain * prior.directions(texts) @ self._basis
        usual = np.einsum("ij,ij->j", self._basis, self.domain.residual @ self._basis)
        # The slope of the labels' means on what their names say: 1 if they are right, 0 if the
        # names are no nearer than those of the other labels.
        apart = expected - expected.mean(axis=0) if len(expected) > 2 else expected
        size = np.maximum((apart**2).sum(axis=1), 1e-9)
        slope = np.clip((apart * self._sums / self._n).sum(axis=1) / size, -0.5, 1.5)
        pooled = (_LABELS + slope.sum()) / (_LABELS + len(slope))
        # A noisy slope of a tenth means nothing yet, and two thirds are as good as all: measured
        # with right, wrong and made-up names (tests.bench.recognition, part "names").
        trust = np.clip(1.6 * ((pooled + 3.0 * slope) / 4.0 - 0.12), 0.0, 1.0)[:, None]
        sharp = np.minimum(_SHARP * usual, self.psi)
        return trust * expected, trust * sharp + (1.0 - trust) * self.psi

    def _with_kernel(
        self,
        u: Array,
        scores: Scores,
        never: Array,
        left: "_Left | None" = None,
    ) -> Scores:
        """Add the kernel density; of many exemplars, only for labels still in the running."""
        if not self._kernel or len(self._u) == len(self._n):
            return scores
        everything = np.arange(len(self._n))
        results = []
        step = _ROWS if len(self._u) <= _ALL else 1
        for i in range(0, len(u), step):
            row = slice(i, i + step)
            some = Scores(*(x[row] for x in scores))
            gone = left and _Left(left.rows[row], left.residual[row], left.gamma[row])
            near = everything if len(self._u) <= _ALL else _finalists(some)
            mixed = self._mixed(u[row], some, never[row], near, gone)
            far = np.ones(len(everything), bool)
            far[near] = False
            for after, before in zip(mixed, some, strict=True):
                # The others are lowered as much as any of these, so that none overtakes them.
                after[:, far] += min(0.0, float((after[:, near] - before[:, near]).min()))
            results.append(mixed)
        return Scores(*(np.concatenate(x) for x in zip(*results, strict=True)))

    def _mixed(
        self,
        u: Array,
        scores: Scores,
        never: Array,
        labels: NDArray[np.intp],
        left: "_Left | None",
    ) -> Scores:
        """The scores with the densities of ``labels`` (sorted) mixed in; ``left``: see without."""
        parts = [slice(self.starts[k], self.starts[k + 1]) for k in labels]
        if len(labels) == len(self._n):
            parts = [slice(0, len(self._u))]
        count = self.starts[labels + 1] - self.starts[labels]
        starts = np.cumsum(count) - count
        spread = 1.0 + self._alone
        toward = self._alone / spread
        asked = u if left is None else np.concatenate([u, left.residual])
        weights = np.asarray(asked * toward, np.float32)
        each = [weights @ self._u[x].T for x in parts]  # where rows lie together none is copied
        dots = np.concatenate(each, axis=1, dtype=np.float64)
        ratio = dots[: len(u)]
        ratio -= 0.5 * np.concatenate([self._alone_constant[x] for x in parts])
        ratio += ((u**2 @ (1.0 / spread)) * -0.5 - never)[:, None]
        many = np.full((len(u), len(labels)), count, float)
        if left is not None:
            r, gamma = left.residual, left.gamma[:, None]
            along = (r * u / spread).sum(axis=1, keepdims=True) - dots[len(u) :]
            size = np.minimum(gamma * (r**2 @ (1.0 / spread))[:, None], 0.99)
            ratio -= 0.5 * (gamma * along**2 / (1.0 - size) + np.log1p(-size))
            at, own = np.nonzero(labels[None] == self._owner[left.rows, None])
            many[at, own] -= 1.0
            rows = left.rows[at] - self.starts[labels[own]] + starts[own]
            ratio[at, rows] = -np.inf
        top = np.maximum.reduceat(ratio, starts, axis=1)
        bare = np.exp(ratio - np.repeat(top, count, axis=1))
        density = top + np.log(np.add.reduceat(bare, starts, axis=1) / many)
        share = self._kernel * (1.0 - 1.0 / many)
        results = []
        for before in scores:
            after = before.copy()
            after[:, labels] += share * (density - before[:, labels])
            results.append(after)
        return Scores(*results)


def _finalists(one: Scores) -> NDArray[np.intp]:
    """Of the scores (1, K) of a picture, the labels that lead between labels or as known."""
    known, between = (x[0] for x in one)
    leads = np.ones(len(between), bool)
    if len(leads) > _FINALISTS:
        leads[np.argpartition(-between, _FINALISTS)[_FINALISTS:]] = False
    leads[known.argmax()] = True
    return np.flatnonzero(leads)
