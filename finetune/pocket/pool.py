"""Pictures whose tokens or embeddings are computed once and read many times.

Drawing a scene and running the vision tower cost more than a step of a small language model, and
most of a picture's tokens show paper. So a stage draws some thousand scenes, keeps their tokens,
and shows its language model the ones with most contrast, other ones each time. Knows nothing about
words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from finetune.pocket.drawings import Gallery
from finetune.pocket.world import Scene, chance_for, render_scenes, render_views, sample_scenes

__all__ = ["Pool", "Pools", "contrast", "draw_pool", "views_of"]

_PART = 256
_PATCH = 8


@dataclass(frozen=True)
class Pool:
    """Tokens (N, 65, width), the class token first; contrast (N, 64); and the scenes."""

    tokens: Tensor
    contrast: Tensor
    scenes: list[Scene]

    def read(
        self, rows: npt.NDArray[np.int64], kept: int, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Tokens (n, 1 + kept, width) of rows, and the places 0..64 they have, ascending."""
        index = torch.from_numpy(rows)
        whole = self.tokens.shape[1]
        if kept + 1 >= whole:
            return self.tokens[index], torch.arange(whole).expand(len(rows), -1)
        noise = torch.from_numpy(rng.random((len(rows), whole - 1), dtype=np.float32))
        chosen = (self.contrast[index] + 0.5 * noise).topk(kept).indices.sort(1).values
        places = torch.cat([torch.zeros(len(rows), 1, dtype=torch.long), chosen + 1], 1)
        return self.tokens[index[:, None], places], places


def contrast(pictures: Tensor) -> Tensor:
    """How much each patch varies, (N, 64), of pictures (N, 3, 64, 64) in 0..1."""
    mean = F.avg_pool2d(pictures, _PATCH)
    variance = F.avg_pool2d(pictures**2, _PATCH) - mean**2
    return 4 * variance.clamp_min(0).sum(1).flatten(1).sqrt()


@torch.no_grad()
def draw_pool(
    tokens_of: Callable[[Tensor], Tensor],
    gallery: Gallery,
    photos: Tensor,
    concepts: Sequence[int],
    *,
    count: int,
    single: float,
    seed: int,
) -> Pool:
    """`count` varied scenes; `tokens_of` gives tokens (n, 65, width) of pictures in 0..1.

    `single`: share of scenes with one thing. A quarter of the pictures is as people send them.
    """
    tokens: Tensor | None = None
    rows, scenes = torch.empty(count, 64), []
    for number, start in enumerate(range(0, count, _PART)):
        size = min(_PART, count - start)
        part = sample_scenes(
            gallery, size, concepts=concepts, seed=10_000_000 + 50_000 * seed + start,
            single=single,
        )  # fmt: skip
        pictures = render_scenes(
            gallery, part, chance=chance_for(seed, start, 21),
            strength=(0.15, 0.6, 0.8, 1.0)[number % 4], photos=photos,
        )  # fmt: skip
        made = tokens_of(pictures)
        if tokens is None:
            tokens = torch.empty(count, *made.shape[1:], dtype=made.dtype)
        tokens[start : start + size] = made
        rows[start : start + size] = contrast(pictures)
        scenes += part
    assert tokens is not None
    return Pool(tokens, rows, scenes)


class Pools:
    """The pools of a stage, drawn one after the other as its steps come to them."""

    def __init__(
        self,
        tokens_of: Callable[[Tensor], Tensor],
        gallery: Gallery,
        photos: Tensor,
        concepts: Sequence[int],
        *,
        pools: int,
        steps: int,
        count: int,
        single: float,
        seed: int,
    ) -> None:
        self._tokens_of, self._world = tokens_of, (gallery, photos, concepts)
        self._pools, self._steps = pools, steps
        self._count, self._single, self._seed = count, single, seed
        self._pool: Pool | None = None
        self._number = -1

    def at(self, step: int) -> Pool:
        """The pool of a step; drawn now if the last one asked for was another."""
        number = step * self._pools // self._steps
        if self._pool is None or number != self._number:
            self._pool, self._number = None, number  # the old one goes before the new one comes
            self._pool = draw_pool(
                self._tokens_of, *self._world, count=self._count, single=self._single,
                seed=self._seed + number,
            )  # fmt: skip
        return self._pool


@torch.no_grad()
def views_of(
    read: Callable[[Tensor], Tensor],
    gallery: Gallery,
    photos: Tensor,
    concepts: Sequence[int],
    *,
    views: int,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """What `read` makes (n, ...) of pictures of single things: rows (N, ...), their concepts (N,).

    The first of the `views` of each sprite is the drawing as people send it. Of a class of
    garments thirty are enough, however many the gallery holds.
    """
    sprites = np.array([s for c in concepts for s in gallery.concepts[c].sprites[:30]], np.int64)
    rows, owners = [], []
    for view in range(views):
        for part in np.array_split(sprites, max(1, len(sprites) // _PART)):
            pictures = render_views(
                gallery, part, chance=chance_for(seed + view, int(part[0])),
                strength=0.0 if view == 0 else 0.8, photos=photos,
            )  # fmt: skip
            rows.append(read(pictures))
            owners.append(torch.from_numpy(gallery.concept_of[part]))
    return torch.cat(rows), torch.cat(owners)
