"""Measuring an embedder: from vectors of known pictures to the statistics recognition needs.

Numpy and scipy only; where the pictures come from is not known here. Thresholds come from
episodes: some things are taught, then asked about among things of the same kind that were not.
Things that calibrate do not give the covariances they calibrate (two folds), unless a domain has
so few that half of them would say nothing of the whole.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax, softmax

from tools.background import Array, Background, Domain, Prior, covariances, isotropic
from tools.openset import FALSE_ACCEPTS
from tools.recognizer import Recognizer, Sample

__all__ = ["EPISODES", "Pictures", "domain_of", "measure", "named", "regression"]

EPISODES = 240
"""Of a fold and domain; each asks about up to 20 pictures."""
_SHRINK = 0.4
_SILENT = 0.9  # names that leave this share of the variance of things open are not used
_KINDS = tuple((k, n) for k in (1, 3, 10) for n in (1, 2, 5))  # labels, and pictures of each
_FEW = 24  # things; of fewer, halves say nothing of the whole, and all of them calibrate

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class Pictures:
    """Unit vectors (n, d) of pictures of one domain, with numbers (n,).

    ``thing``: what they show. ``manner``: the style or the hand they are drawn in; what is taught
    in one manner is asked in another. ``family``: things of one family are alike.
    """

    vectors: Floats
    thing: Ints
    manner: Ints
    family: Ints

    def of(self, things: Ints) -> "Pictures":
        """Only the pictures of these things."""
        keep = np.isin(self.thing, things)
        return Pictures(*(getattr(self, f.name)[keep] for f in fields(self)))


def measure(
    kinds: Mapping[str, Pictures],
    *,
    clean: Mapping[str, Pictures] | None = None,
    seed: int = 0,
    episodes: int = EPISODES,
) -> tuple[Background, dict[str, dict[str, float]]]:
    """The statistics of an embedder from pictures of each of its domains, and how well they do.

    ``clean``: the pictures to calibrate on, where those of ``kinds`` are varied for the
    covariances. Results per domain: AUROC, true and false accepts at the threshold, and how many
    were asked in ``episodes`` of each of two folds; an episode costs O(d³).
    """
    domains, results = [], {}
    for name, pictures in kinds.items():
        asked = (clean or {}).get(name, pictures)
        domain, results[name] = _calibrated(name, pictures, asked, seed, episodes)
        domains.append(domain)
    d = domains[0].mean.shape[0]
    gate = np.zeros((0, d + 1))
    if len(domains) > 1:
        x = np.concatenate([p.vectors for p in kinds.values()])
        y = np.repeat(np.arange(len(kinds)), [len(p.vectors) for p in kinds.values()])
        gate = regression(x, y, decay=1e-4)
    return Background(tuple(domains), gate), results


def named(
    background: Background, kinds: Mapping[str, Pictures], texts: Mapping[str, Mapping[int, Floats]]
) -> Background:
    """The background with what names say: ``texts`` has a unit vector (d,) by thing, by domain.

    The mean direction comes from the domain with most names; each domain has its own gain.
    """
    means: dict[str, tuple[Array, Array]] = {}
    for domain in background.domains:
        mine = texts.get(domain.name, {})
        if len(mine) > 1:
            pictures, things = kinds[domain.name], sorted(mine)
            centred = domain.centred(pictures.vectors)
            shown = [centred[pictures.thing == t].mean(axis=0) for t in things]
            means[domain.name] = np.stack([mine[t] for t in things]), np.stack(shown)
    if not means:
        return background
    most = max(means, key=lambda name: len(means[name][0]))
    prior = Prior(np.asarray(means[most][0], np.float64).mean(axis=0))
    domains = []
    for domain in background.domains:
        if domain.name in means:
            pictures = kinds[domain.name]
            n = len(pictures.thing) / len(np.unique(pictures.thing))
            words, rows = means[domain.name]
            domain = _explained(domain, prior.directions(words), rows, n)
        domains.append(domain)
    return replace(background, domains=tuple(domains), prior=prior)


def _explained(domain: Domain, directions: Array, means: Array, n: float) -> Domain:
    """With what names say, if they say anything: each is judged by a gain fitted on the others."""
    psi, basis = domain.spectrum
    each = [_gain(np.delete(directions, i, 0), np.delete(means, i, 0)) for i in range(len(means))]
    gap = means - np.array(each)[:, None] * directions
    left, blank = (
        float(((rows @ basis) ** 2).sum(axis=1).mean()) - len(psi) / n for rows in (gap, means)
    )
    if left > _SILENT * blank:
        return domain
    few = 50.0  # names; with fewer, the directions that names leave open are those of things
    residual = (gap.T @ gap + few * left / blank * domain.between) / (len(gap) + few)
    return replace(domain, gain=_gain(directions, means), residual=residual)


def _gain(directions: Array, means: Array) -> float:
    return float((means * directions).sum() / (directions**2).sum())


def regression(x: Floats, y: Ints, *, decay: float) -> Array:
    """Softmax regression: (C, d + 1) weights and biases for rows (n, d) with classes (n,).

    ``decay``: weight of ½‖w‖² beside the log-loss, a mean in which the classes count alike.
    """
    rows = np.c_[np.asarray(x, np.float64), np.ones(len(x))]
    count, wide = int(y.max()) + 1, rows.shape[1]
    weight = 1.0 / (count * np.bincount(y, minlength=count))[y]

    def loss(flat: Array) -> tuple[float, Array]:
        w = flat.reshape(count, wide)
        logits = rows @ w.T
        own = log_softmax(logits, axis=1)[np.arange(len(y)), y]
        error = softmax(logits, axis=1)
        error[np.arange(len(y)), y] -= 1.0
        decayed = np.c_[w[:, :-1], np.zeros(count)]
        value = -float(weight @ own) + 0.5 * decay * float((decayed**2).sum())
        return value, ((error * weight[:, None]).T @ rows + decay * decayed).ravel()

    start = np.zeros(count * wide)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500})
    return np.asarray(found.x.reshape(count, wide))


def domain_of(name: str, pictures: Pictures, clean: Pictures | None = None) -> Domain:
    """The domain's covariances; not calibrated yet. Varied copies of ``clean`` are no evidence."""
    mean = np.asarray(pictures.vectors, np.float64).mean(axis=0)
    plain = replace(isotropic(len(mean), mean).domains[0], name=name, scale=1.0, bias=0.0)
    centre, within, between = covariances(plain.centred(pictures.vectors), pictures.thing, _SHRINK)
    counted = (clean or pictures).thing
    degrees = float(len(counted) - len(np.unique(counted)))
    return replace(plain, centre=centre, within=within, degrees=degrees, between=between)


def _calibrated(
    name: str, pictures: Pictures, asked: Pictures, seed: int, episodes: int
) -> tuple[Domain, dict[str, float]]:
    rng = np.random.default_rng(seed)
    things = rng.permutation(np.unique(pictures.thing))
    folds = [(things[::2], things[1::2]), (things[1::2], things[::2])]
    if len(things) < _FEW:
        folds = [(things, things)]
    parts = [
        _episodes(domain_of(name, pictures.of(one), asked.of(one)), asked.of(other), seed, episodes)
        for one, other in folds
    ]
    rows = [row for part in parts for row in part]
    scores = np.concatenate([r.ratios.max(axis=1) for r in rows])
    crowd = np.concatenate([np.full(len(r.ratios), r.ratios.shape[1]) for r in rows])
    deep = np.concatenate([r.shots[r.ratios.argmax(axis=1)] for r in rows])
    known = np.concatenate([r.own >= 0 for r in rows])
    features = np.c_[scores / scores.std(), np.log(crowd), 1.0 - 1.0 / deep]
    weights = regression(features, known.astype(int), decay=1e-6)
    slope = weights[1] - weights[0]
    scale = float(slope[0] / scores.std())
    domain = replace(
        domain_of(name, pictures, asked),
        scale=scale,
        bias=float(slope[3]),
        crowding=min(float(slope[1]), 0.0),
        depth=min(float(slope[2]), 0.0),
        contrast=_contrast(rows, scale),
    )
    probability = domain.known(scores, crowd, deep)
    limit = float(np.quantile(probability[~known], 1.0 - FALSE_ACCEPTS))
    domain = replace(domain, threshold=float(np.clip(limit, 0.3, 0.97)))
    accepted = probability >= domain.threshold
    return domain, {
        "auroc": _auroc(scores, known),
        "true_accepts": float(accepted[known].mean()),
        "false_accepts": float(accepted[~known].mean()),
        "threshold": domain.threshold,
        "asked": len(scores),
    }


class _Asked(NamedTuple):
    """An episode: ratios (m, K) of what was asked, those between labels (m, K), the right label's
    number or -1 (m,), and how many exemplars each label had (K,)."""

    ratios: Array
    between: Array
    own: NDArray[np.intp]
    shots: NDArray[np.intp]


def _contrast(rows: Sequence[_Asked], scale: float) -> float:
    """The factor on the ratios that makes the right one of several labels likeliest."""
    several = [r for r in rows if r.ratios.shape[1] > 1]

    def loss(log_factor: float) -> float:
        total = 0.0
        for r in several:
            mine = np.flatnonzero(r.own >= 0)
            logs = log_softmax(np.exp(log_factor) * r.between[mine], axis=1)
            total -= float(logs[np.arange(len(mine)), r.own[mine]].sum())
        return total

    if not several:
        return scale
    found = minimize_scalar(loss, bounds=(np.log(scale) - 3.0, np.log(scale) + 4.0))
    return float(np.exp(found.x))


def _episodes(domain: Domain, pictures: Pictures, seed: int, episodes: int) -> list[_Asked]:
    """What was asked, some of it taught and some not."""
    rng = np.random.default_rng([seed, 7])
    d = len(domain.mean)
    background = Background((domain,), np.zeros((0, d + 1)))
    rows = {int(c): np.flatnonzero(pictures.thing == c) for c in np.unique(pictures.thing)}
    several = [c for c in rows if len(np.unique(pictures.manner[rows[c]])) > 1]
    family = {c: int(pictures.family[rows[c][0]]) for c in rows}
    results = []
    for episode in range(episodes):
        count, shots = _KINDS[episode % len(_KINDS)]
        count = min(count, len(several) - 1)
        chosen = [int(c) for c in rng.choice(several, count, replace=False)]
        samples, others = _lesson(pictures, rows, chosen, shots, rng)
        recognizer = Recognizer(samples, background)
        taught = [str(c) for c, r in others.items() if len(r) for _ in range(max(1, 6 // count))]
        mine = [int(rng.choice(others[int(c)])) for c in taught]
        near = [c for c in rows if c not in chosen and family[c] in {family[k] for k in chosen}]
        far = [c for c in rows if c not in chosen]
        strangers = [
            int(rng.choice(rows[int(rng.choice(near if near and i % 2 else far))]))
            for i in range(len(mine))
        ]
        asked = [*mine, *strangers]
        own = [*(recognizer.labels.index(c) for c in taught), *([-1] * len(strangers))]
        shown = [s.label_id for s in samples]
        results.append(
            _Asked(
                *recognizer.scores(pictures.vectors[asked]),
                np.array(own),
                np.array([shown.count(label) for label in recognizer.labels]),
            )
        )
    return results


def _lesson(
    pictures: Pictures,
    rows: Mapping[int, NDArray[np.intp]],
    chosen: Sequence[int],
    shots: int,
    rng: np.random.Generator,
) -> tuple[list[Sample], dict[int, NDArray[np.intp]]]:
    """What is taught of each thing, and its pictures in other manners, to ask about."""
    samples, others = [], {}
    for c in chosen:
        manners = rng.permutation(np.unique(pictures.manner[rows[c]]))
        taught = manners[: max(1, min(shots, len(manners) - 1))]
        mine = rows[c][np.isin(pictures.manner[rows[c]], taught)]
        for r in rng.choice(mine, min(shots, len(mine)), replace=False):
            samples.append(Sample(str(r), str(c), pictures.vectors[r]))
        others[c] = np.setdiff1d(rows[c], mine)
    return samples, others


def _auroc(scores: Array, known: Array) -> float:
    """P(a known thing scores higher than an unknown one)."""
    order = np.argsort(scores, kind="stable")
    ranks = np.empty(len(scores))
    ranks[order] = np.arange(1, len(scores) + 1)
    n = int(known.sum())
    return float((ranks[known].sum() - n * (n + 1) / 2) / (n * (len(known) - n)))
