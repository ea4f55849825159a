"""The open-set part: is it one of the things taught at all? Unknowns from siblings, and far away.

A seed's cell (K taught labels, n shots) pools the questions of several episodes, each with as many
known as unknown queries, for a person has one threshold and not one per question. Siblings of a
taught class are the untaught classes of its group or, where a set has no groups, the five with the
nearest class means; all other untaught classes are far.

Scores compared, higher for known:

* MCM (Ming et al., NeurIPS 2022): largest softmax over cosines to the names, τ = 1. Of one
  label it is constant.
* energy (Liu et al., NeurIPS 2020): log Σ exp of the zero-shot logits. Where there is no text,
  both take the cosines to the class means, with s = 100 for the energy.
* 1-NN: largest cosine to an exemplar.
* Mahalanobis (Lee et al., NeurIPS 2018): −min_k (f−μ_k)ᵀΣ⁻¹(f−μ_k) of centred vectors, with
  Σ = (S_W + d·W)/(N − K + d): the scatter S_W of the shots about their means, shrunk with the
  weight d towards the background's within-class covariance W.
* relative Mahalanobis (Ren et al., 2021): that plus fᵀ(W+B)⁻¹f, the distance to the background.
* ours: 1 − P(unknown).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, cholesky, solve_triangular
from scipy.special import logsumexp, softmax

from tests.bench.recognition import ours
from tests.bench.recognition.features import FeatureSet, unit
from tests.bench.recognition.methods import class_means
from tests.bench.recognition.metrics import auroc, fpr95, oscr
from tests.bench.recognition.tasks import Episode, generator, views_apart
from tools.background import Domain

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]

LABELS = (1, 3, 10)
SHOTS = (1, 2, 5)
_POOLED = 300  # known queries of a cell, and about as many unknown ones
_QUERIES = 20  # known queries of an episode, at most; as many unknown: siblings and far by half
_MOST_EPISODES = 150
_NEIGHBOURS = 5


@dataclass(frozen=True, eq=False)
class Question:
    """A taught episode whose first ``known`` queries show its labels; then siblings, then far."""

    episode: Episode
    known: int
    siblings: int


def run(source: FeatureSet, seed: int, *, pooled: int = _POOLED) -> list[dict[str, Any]]:
    """One row per K, n and score."""
    rows = []
    for labels in LABELS:
        for shots in SHOTS:
            asked = questions(source, seed, labels, shots, pooled)
            if asked:
                cell = {"part": "openset", "set": source.name, "seed": seed}
                cell |= {"labels": labels, "shots": str(shots)}
                rows += [cell | row for row in _measured(asked)]
    return rows


def siblings_of(source: FeatureSet) -> NDArray[np.bool_]:
    """(K, K): whether two classes are siblings."""
    if source.groups is not None:
        groups = np.array(source.groups)
        return np.asarray(groups[:, None] == groups[None, :])
    means = np.zeros((len(source.classes), source.features.shape[1]))
    means[source.present] = class_means(
        source.features, np.searchsorted(source.present, source.labels)
    ) - source.features.mean(axis=0)
    size = np.linalg.norm(means, axis=1, keepdims=True)
    near = (means / np.maximum(size, 1e-12)) @ (means / np.maximum(size, 1e-12)).T
    near[np.diag_indices_from(near)] = -np.inf
    rank = np.argsort(np.argsort(-near, axis=1), axis=1)
    return np.asarray(rank < _NEIGHBOURS)


def questions(
    source: FeatureSet, seed: int, labels: int, shots: int, pooled: int
) -> list[Question]:
    """Questions with ``pooled`` known queries; none where rows, views or classes are too few."""
    rng = generator(source, seed, labels, shots)
    related = siblings_of(source)
    sizes = np.bincount(source.labels, minlength=len(source.classes))
    enough = source.view_counts > shots if source.views is not None else sizes >= shots + 2
    pool = np.flatnonzero(enough)
    found: list[Question] = []
    if len(pool) <= labels:
        return found
    for _ in range(_MOST_EPISODES):
        chosen = rng.choice(pool, labels, replace=False)
        others = np.setdiff1d(source.present, chosen)
        sibling = related[chosen][:, others].any(axis=0)
        if sibling.any() and not sibling.all():
            found.append(_question(source, chosen, shots, others[sibling], others[~sibling], rng))
        if sum(q.known for q in found) >= pooled:
            break
    return found


def _question(
    source: FeatureSet,
    chosen: Ints,
    shots: int,
    siblings: Ints,
    far: Ints,
    rng: np.random.Generator,
) -> Question:
    shown, asked = zip(*(_split(source, c, shots, rng) for c in chosen), strict=True)
    a_class = max(1, _QUERIES // len(chosen))
    asked = tuple(rows[:a_class] for rows in asked)
    known = np.concatenate(asked)
    half = max(1, len(known) // 2)
    near_rows, far_rows = _rows(source, siblings, half, rng), _rows(source, far, half, rng)
    queries = np.concatenate([known, near_rows, far_rows])
    unknown = np.full(len(near_rows) + len(far_rows), -1)
    episode = Episode(
        shots=source.features[np.concatenate(shown)].astype(np.float64),
        y=np.repeat(np.arange(len(chosen)), shots),
        queries=source.features[queries].astype(np.float64),
        targets=np.r_[np.repeat(np.arange(len(chosen)), [len(r) for r in asked]), unknown],
        background=source.background,
        text=None if source.text is None else source.text[chosen].astype(np.float64),
        logit_scale=source.logit_scale,
        classes=chosen,
    )
    return Question(episode, len(known), len(near_rows))


def _split(
    source: FeatureSet, number: int, shots: int, rng: np.random.Generator
) -> tuple[Ints, Ints]:
    if source.views is not None:
        return views_apart(source, number, shots, rng)
    rows = rng.permutation(np.flatnonzero(source.labels == number))
    return rows[:shots], rows[shots:]


def _rows(source: FeatureSet, classes: Ints, count: int, rng: np.random.Generator) -> Ints:
    """Up to ``count`` rows of the classes, each class as likely as the next."""
    picked = [rng.choice(np.flatnonzero(source.labels == c)) for c in rng.choice(classes, count)]
    return np.unique(picked)


def scores(episode: Episode) -> dict[str, tuple[Floats, Ints]]:
    """Per score: how known each query is (m,), and its label (m,)."""
    named = (
        episode.text if episode.text is not None else unit(class_means(episode.shots, episode.y))
    )
    scale = episode.logit_scale if episode.text is not None else 100.0
    cosines = episode.queries @ np.asarray(named, np.float64).T
    by_name = cosines.argmax(axis=1)
    distance, background = _mahalanobis(episode)
    by_mean = distance.argmin(axis=1)
    return {
        "MCM": (softmax(cosines, axis=1).max(axis=1), by_name),
        "energy": (logsumexp(scale * cosines, axis=1), by_name),
        "1-NN": (episode.near.max(axis=1), episode.y[episode.near.argmax(axis=1)]),
        "Mahalanobis": (-distance.min(axis=1), by_mean),
        "relative Mahalanobis": (background - distance.min(axis=1), by_mean),
    }


def _mahalanobis(episode: Episode) -> tuple[Floats, Floats]:
    """Squared distances to the class means (m, K), and to the background (m,).

    In coordinates where W is the identity, Σ = (RᵀR + dI)/ν for the residuals R (N, d), and its
    inverse is of the size of N (Woodbury).
    """
    known = episode.domain
    shots, queries = known.centred(episode.shots), known.centred(episode.queries)
    within, total = _factors(known)
    x = solve_triangular(within, queries.T, lower=True).T
    y = solve_triangular(within, shots.T, lower=True).T
    means = class_means(y, episode.y)
    residual = y - means[episode.y]
    n, d = shots.shape
    inner = residual @ residual.T + d * np.eye(n)
    near = np.empty((len(x), len(means)))
    for k, mean in enumerate(means):
        along = (x - mean) @ residual.T
        explained = np.sum(along * np.linalg.solve(inner, along.T).T, axis=1)
        near[:, k] = (n - len(means) + d) / d * (np.sum((x - mean) ** 2, axis=1) - explained)
    return near, np.sum(queries * cho_solve(total, queries.T).T, axis=1)


@lru_cache(maxsize=8)
def _factors(domain: Domain) -> tuple[Floats, tuple[Floats, bool]]:
    """The Cholesky factors of W and of W + B, which no episode changes."""
    return cholesky(domain.within, lower=True), cho_factor(domain.within + domain.between)


def _measured(asked: list[Question]) -> Iterator[dict[str, Any]]:
    """A row per score, over the pooled questions."""
    pooled: dict[str, list[tuple[Floats, NDArray[np.bool_]]]] = {}
    accepted = []
    for question in asked:
        episode = question.episode
        found = scores(episode)
        recognizer = ours.teach(episode, text=episode.text)
        said = ours.rankings(recognizer, episode.queries)
        best = np.array([int(r.labels[0].label_id) for r in said])
        found["ours"] = (np.array([1.0 - r.unknown for r in said]), best)
        accepted.append(np.array([r.decision != "unknown" for r in said]))
        for name, (score, label) in found.items():
            pooled.setdefault(name, []).append((score, label == episode.targets))
    kinds = np.concatenate([_kinds(q) for q in asked])
    for name, parts in pooled.items():
        score, right = (np.concatenate(x) for x in zip(*parts, strict=True))
        row: dict[str, Any] = {"method": name}
        for kind, unknown in (("sibling", kinds == 1), ("far", kinds == 2), ("all", kinds > 0)):
            known = score[kinds == 0]
            row[f"auroc_{kind}"] = auroc(known, score[unknown])
            row[f"fpr95_{kind}"] = fpr95(known, score[unknown])
            row[f"oscr_{kind}"] = oscr(known, right[kinds == 0], score[unknown])
            if name == "ours":
                row[f"false_accepts_{kind}"] = float(np.concatenate(accepted)[unknown].mean())
        if name == "ours":
            row["true_accepts"] = float(np.concatenate(accepted)[kinds == 0].mean())
        yield row


def _kinds(question: Question) -> Ints:
    """(m,) 0 known, 1 sibling, 2 far."""
    kinds = np.full(len(question.episode.targets), 2)
    kinds[: question.known + question.siblings] = 1
    kinds[: question.known] = 0
    return kinds
