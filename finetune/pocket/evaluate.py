"""Held-out results: a drawing style, photo classes and an alphabet that training never sees.

Takes a function from pictures to unit embeddings, so it knows nothing about the models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from finetune.pocket.augment import cartoon, over, place
from finetune.pocket.drawings import Gallery, load_gallery
from finetune.pocket.teacher import HELD_OUT_PHOTOS
from finetune.pocket.world import chance_for, render_views

__all__ = [
    "Embed",
    "HeldOut",
    "character_pictures",
    "episodes",
    "interval",
    "load_held_out",
    "photo_pictures",
    "rank_names",
]

Embed = Callable[[Tensor], Tensor]
"""Pictures float32 (N, 3, 64, 64) in 0..1 -> unit embeddings float32 (N, E)."""


def interval(hits: float, n: int) -> tuple[float, float]:
    """95 % Wilson interval of a proportion (Wilson 1927)."""
    if n == 0:
        return (0.0, 1.0)
    z, p = 1.96, hits / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return (max(0.0, centre - half), min(1.0, centre + half))


def episodes(
    taught: npt.NDArray[np.float32],
    taught_labels: npt.NDArray[np.int64],
    asked: npt.NDArray[np.float32],
    asked_labels: npt.NDArray[np.int64],
    *,
    ways: int,
    count: int,
    seed: int = 0,
) -> tuple[int, int]:
    """One-shot episodes: one taught row per class, one question; (hits, episodes) by cosine."""
    rng = np.random.default_rng([seed, ways])
    classes = np.intersect1d(taught_labels, asked_labels)
    rows_t = {c: np.flatnonzero(taught_labels == c) for c in classes}
    rows_a = {c: np.flatnonzero(asked_labels == c) for c in classes}
    same = taught is asked
    hits = 0
    for _ in range(count):
        chosen = rng.choice(classes, ways, replace=False)
        shots = [int(rng.choice(rows_t[c])) for c in chosen]
        query = int(rng.choice(rows_a[chosen[0]]))
        while same and query == shots[0]:
            query = int(rng.choice(rows_a[chosen[0]]))
        hits += int(np.argmax(taught[shots] @ asked[query]) == 0)
    return hits, count


class HeldOut:
    """Pictures never trained on: `asked` in an unseen style, `taught` in the styles of training.

    `inked` are those of `asked` in flat colours with thick outlines: no style of its own, but the
    nearest thing to one for steering.
    """

    def __init__(self, gallery: Gallery, concepts: Sequence[int], style: str) -> None:
        unseen = gallery.styles.index(style)
        sprites = [s for c in concepts for s in gallery.concepts[c].sprites]
        asked = [s for s in sprites if gallery.style_of[s] == unseen]
        taught = [s for s in sprites if gallery.style_of[s] != unseen]
        self.asked_labels = gallery.concept_of[asked]
        self.taught_labels = gallery.concept_of[taught]
        self.asked = render_views(gallery, asked, chance=chance_for(0), strength=0)
        self.inked = _inked(gallery, asked)
        self.taught = render_views(gallery, taught, chance=chance_for(0), strength=0)
        self.concepts = [gallery.concepts[int(c)] for c in self.asked_labels]

    def one_shot(
        self, embed: Embed, *, ways: int = 20, count: int = 2000, inked: bool = False
    ) -> tuple[int, int]:
        """Teach one drawing of a training style per thing, ask with the unseen style."""
        asked = self.inked if inked else self.asked
        return episodes(
            embed(self.taught).numpy(), self.taught_labels, embed(asked).numpy(),
            self.asked_labels, ways=ways, count=count,
        )  # fmt: skip


def _inked(gallery: Gallery, sprites: Sequence[int]) -> Tensor:
    n = len(sprites)
    rgba = torch.from_numpy(gallery.sprites[list(sprites)]).float() / 255
    half = torch.full((n,), 0.5)
    layer = cartoon(place(rgba, x=half, y=half, size=torch.full((n,), 0.9)), chance_for(7))
    return over(layer, torch.ones(n, 3, *layer.shape[-2:])).clamp(0, 1)


def load_held_out(
    data: Path,
    *,
    style: str = "fluent_3d",
    groups: Sequence[str],
    taught: Sequence[str] = ("noto", "twemoji"),
) -> HeldOut:
    """The drawings of `style` and, to teach from, those of the styles of training."""
    gallery = load_gallery(data, styles=(*taught, style), groups=groups)
    concepts = [
        c for c in gallery.of_kind("drawing") if gallery.sprite_of(c, style) is not None
        and len(gallery.concepts[c].sprites) > 1
    ]  # fmt: skip
    return HeldOut(gallery, concepts, style)


def _read(path: Path, side: int = 64) -> Tensor:
    picture = Image.open(path).convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).float() / 255


def photo_pictures(data: Path) -> tuple[Tensor, npt.NDArray[np.int64]]:
    """Photos of the classes held out, whole picture to 64 x 64, with class numbers."""
    rows, labels = [], []
    for number, name in enumerate(HELD_OUT_PHOTOS):
        for path in sorted((data / "caltech101" / name).glob("*.jpg")):
            rows.append(_read(path))
            labels.append(number)
    return torch.stack(rows), np.array(labels)


def character_pictures(data: Path, alphabet: str = "Greek") -> tuple[Tensor, npt.NDArray[np.int64]]:
    """Drawings of the characters of an alphabet held out, black on white, with class numbers."""
    rows, labels = [], []
    folders = sorted((data / "omniglot").glob(f"*/{alphabet}/*"))
    for number, folder in enumerate(folders):
        for path in sorted(folder.glob("*.png")):
            rows.append(_read(path))
            labels.append(number)
    return torch.stack(rows), np.array(labels)


def rank_names(
    pictures: Tensor, names: Tensor, correct: Sequence[set[int]]
) -> npt.NDArray[np.int64]:
    """Rank (0 = first) of the best correct name for each embedding (N, E) among names (M, E)."""
    scores = pictures @ names.T
    ranks = []
    for row, right in zip(scores, correct, strict=True):
        best = max(float(row[i]) for i in right)
        ranks.append(int((row > best).sum()))
    return np.array(ranks)
