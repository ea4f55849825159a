"""The background statistics of the pocket embedder: what recognition assumes before any teaching.

Measures a finished embedder on varied views of drawings in several styles and on photos, and
writes ``background.npz`` beside its weights (:mod:`tools.background`). Knows nothing of training.

One half of the concepts gives the covariances (of plain and of varied views), the other half, on
plain views as people send them, the calibration: episodes of teaching n drawings of K things in
one style and asking about another style, half of the time about a thing that was not taught, half
of those from the same group (sibling classes).
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from finetune.pocket.drawings import MAIN_GROUPS, load_gallery
from finetune.pocket.teacher import photo_files
from finetune.pocket.world import chance_for, render_views
from tools.background import Background, covariances, isotropic
from tools.config import ModelChoice
from tools.images import Photo, open_photo
from tools.models.embedder import load_embedder
from tools.models.roles import Embedder
from tools.models.sources import locate
from tools.recognizer import Recognizer, Sample

__all__ = ["Views", "measure_background", "write_background"]

log = logging.getLogger(__name__)
_SHRINKS = (0.4, 0.8)
_FALSE_ACCEPTS = 0.08  # on the calibration half; 5 % ± 3 is what is promised
_EPISODES = 1_000
_PHOTOS = 1_500
_DRAWING_LOSS = 0.02  # share of drawings that may be taken for photos

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Views:
    """Vectors (n, d) of drawings with their concept, style and subgroup numbers (n,)."""

    vectors: Floats
    concept: Ints
    style: Ints
    family: Ints

    def of(self, concepts: Ints) -> Views:
        """Only the views of these concepts."""
        keep = np.isin(self.concept, concepts)
        return Views(self.vectors[keep], self.concept[keep], self.style[keep], self.family[keep])

    def and_(self, other: Views) -> Views:
        """These views and the others."""
        return Views(
            *(np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self))
        )


def write_background(
    source: str,
    data: Path,
    *,
    styles: tuple[str, ...] = ("noto", "twemoji", "fluent_3d"),
    seed: int = 0,
) -> dict[str, float]:
    """Measure the embedder at ``source``, write its ``background.npz``, return the results."""
    located = locate(ModelChoice(source))
    embedder = load_embedder(located)
    clean = _drawings(embedder, data, styles, seed, strength=0.0)
    views = clean.and_(_drawings(embedder, data, styles, seed, strength=0.35))
    background, results = measure_background(views, clean, seed=seed)
    outside, more = _outside(embedder, views, data, seed)
    background = replace(background, outside=outside)
    background.save(located.folder / "background.npz")
    results |= more
    (located.folder / "background.json").write_text(json.dumps(results, indent=1) + "\n")
    return results


def measure_background(
    views: Views, asked: Views, *, seed: int = 0
) -> tuple[Background, dict[str, float]]:
    """The statistics of ``views``, calibrated on ``asked``, and the results (AUROC, rates).

    The concepts are halved; the results are those of the half that gave no covariances, with
    episodes other than those of the calibration.
    """
    rng = np.random.default_rng(seed)
    concepts = rng.permutation(np.unique(views.concept))
    first, second = views.of(concepts[::2]), asked.of(concepts[1::2])
    best: tuple[float, Background] | None = None
    for shrink in _SHRINKS:
        fitted = _fit(first, shrink)
        scores, known = _scores(fitted, second, seed)
        auroc = float(roc_auc_score(known, scores))
        log.info("shrink %.2f: AUROC %.4f", shrink, auroc)
        if best is None or auroc > best[0]:
            best = (auroc, fitted)
    assert best is not None
    auroc, fitted = best
    scores, known = _scores(fitted, second, seed + 1)
    regression = LogisticRegression(C=1e6, class_weight="balanced").fit(scores[:, None], known)
    scale, bias = float(regression.coef_[0, 0]), float(regression.intercept_[0])
    probability = 1 / (1 + np.exp(-(scale * scores + bias)))
    limit = float(np.quantile(probability[~known], 1 - _FALSE_ACCEPTS))
    threshold = float(np.clip(limit, 0.3, 0.95))
    fitted = replace(fitted, scale=scale, bias=bias, threshold=threshold)
    check, right = _scores(fitted, second, seed + 2)
    accepted = 1 / (1 + np.exp(-(scale * check + bias))) >= threshold
    return fitted, {
        "auroc": auroc,
        "threshold": threshold,
        "true_accepts": float(accepted[right].mean()),
        "false_accepts": float(accepted[~right].mean()),
        "episodes": len(check),
        "one_shot_20way": _accuracy(fitted, second, seed),
    }


def _drawings(
    embedder: Embedder, data: Path, styles: tuple[str, ...], seed: int, *, strength: float
) -> Views:
    gallery = load_gallery(data, styles=styles, groups=MAIN_GROUPS)
    families = sorted({c.group for c in gallery.concepts})
    family_of = np.array([families.index(c.group) for c in gallery.concepts], np.int64)
    vectors = []
    for start in range(0, len(gallery.sprites), 512):
        index = np.arange(start, min(start + 512, len(gallery.sprites)))
        chance = chance_for(seed, start, int(strength * 100))
        pictures = render_views(gallery, index, chance=chance, strength=strength)
        vectors.append(_embed(embedder, pictures.numpy()))
    concept = gallery.concept_of
    return Views(np.concatenate(vectors), concept, gallery.style_of, family_of[concept])


def _embed(embedder: Embedder, pictures: Floats) -> Floats:
    photos = [
        Photo(Image.fromarray((p.transpose(1, 2, 0) * 255).round().astype(np.uint8)))
        for p in pictures
    ]
    return embedder.embed_photos(photos)


def _fit(views: Views, shrink: float) -> Background:
    mean = views.vectors.astype(np.float64).mean(axis=0)
    plain = replace(isotropic(views.vectors.shape[1]), mean=mean)
    centre, within, between = covariances(plain.centred(views.vectors), views.concept, shrink)
    return replace(plain, centre=centre, within=within, between=between, scale=1.0, bias=0.0)


def _scores(
    background: Background, views: Views, seed: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """(m,) scores of *known* and whether the asked thing was among the taught, by episodes."""
    rng = np.random.default_rng([seed, 7])
    rows = {int(c): np.flatnonzero(views.concept == c) for c in np.unique(views.concept)}
    several = [c for c, r in rows.items() if len(set(views.style[r])) > 1]
    family = {c: int(views.family[rows[c][0]]) for c in rows}
    scores, known = [], []
    for _ in range(_EPISODES):
        labels, shots = int(rng.choice([1, 3, 10])), int(rng.choice([1, 2]))
        chosen = [int(c) for c in rng.choice(several, labels, replace=False)]
        samples, taught_style = [], {}
        for c in chosen:
            taught_style[c] = int(rng.choice(views.style[rows[c]]))
            mine = rows[c][views.style[rows[c]] == taught_style[c]]
            for r in rng.choice(mine, min(shots, len(mine)), replace=False):
                samples.append(Sample(str(r), str(c), views.vectors[r]))
        recognizer = Recognizer(samples, background)
        asked = int(rng.choice(chosen))
        other = rows[asked][views.style[rows[asked]] != taught_style[asked]]
        siblings = [c for c in rows if c not in chosen and family[c] == family[asked]]
        strangers = [c for c in rows if c not in chosen]
        pool = siblings if siblings and rng.random() < 0.5 else strangers
        stranger = rows[int(rng.choice(pool))]
        for row, is_known in ((int(rng.choice(other)), True), (int(rng.choice(stranger)), False)):
            scores.append(recognizer.known_score(views.vectors[row]))
            known.append(is_known)
    return np.array(scores), np.array(known)


def _accuracy(background: Background, views: Views, seed: int, count: int = 400) -> float:
    """Share of 20-way one-shot episodes across styles that are won."""
    rng = np.random.default_rng([seed, 20])
    rows = {int(c): np.flatnonzero(views.concept == c) for c in np.unique(views.concept)}
    several = [c for c, r in rows.items() if len(set(views.style[r])) > 1]
    hits = 0
    for _ in range(count):
        chosen = [int(c) for c in rng.choice(several, 20, replace=False)]
        shown = {c: int(rng.choice(rows[c])) for c in chosen}
        samples = [Sample(str(r), str(c), views.vectors[r]) for c, r in shown.items()]
        asked = rows[chosen[0]]
        asked = asked[views.style[asked] != views.style[shown[chosen[0]]]]
        ranking = Recognizer(samples, background).recognise(views.vectors[int(rng.choice(asked))])
        hits += ranking.labels[0].label_id == str(chosen[0])
    return hits / count


def _outside(
    embedder: Embedder, views: Views, data: Path, seed: int
) -> tuple[npt.NDArray[np.float64], dict[str, float]]:
    """Weights and bias that tell photos (1) from pictures of the pocket world (0)."""
    rng = np.random.default_rng([seed, 3])
    files = [f for f, _ in photo_files(data) if "::" not in f]
    files = [files[i] for i in rng.permutation(len(files))[:_PHOTOS]]
    photos = np.concatenate(
        [
            embedder.embed_photos([open_photo(f) for f in files[i : i + 64]])
            for i in range(0, len(files), 64)
        ]
    )
    x = np.concatenate([views.vectors, photos])
    y = np.r_[np.zeros(len(views.vectors)), np.ones(len(photos))]
    # Halves by concept and by file, so that no drawing is on both sides.
    half = np.r_[views.concept % 2 == 0, np.arange(len(photos)) % 2 == 0]
    fitted = LogisticRegression(C=100.0, class_weight="balanced", max_iter=2_000).fit(
        x[half], y[half]
    )
    margin = x @ fitted.coef_[0] + fitted.intercept_[0]
    limit = max(float(np.quantile(margin[~half & (y == 0)], 1 - _DRAWING_LOSS)), 0.0)
    weights = np.r_[fitted.coef_[0], fitted.intercept_[0] - limit]
    told = margin > limit
    return weights, {
        "photos_told": float(told[~half & (y == 1)].mean()),
        "drawings_mistaken": float(told[~half & (y == 0)].mean()),
        "photos": int((~half & (y == 1)).sum()),
        "drawings": int((~half & (y == 0)).sum()),
    }
