"""Pictures of scenes whose tokens are computed once and read many times.

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
from finetune.pocket.world import Scene, chance_for, render_scenes, sample_scenes

__all__ = ["Pool", "contrast", "draw_pool"]

_PART = 256
_PATCH = 8


@dataclass(frozen=True)
class Pool:
    """Tokens bfloat16 (N, 65, width), the class token first; contrast (N, 64); and the scenes."""

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
        made = tokens_of(pictures).bfloat16()
        if tokens is None:
            tokens = torch.empty(count, *made.shape[1:], dtype=torch.bfloat16)
        tokens[start : start + size] = made
        rows[start : start + size] = contrast(pictures)
        scenes += part
    assert tokens is not None
    return Pool(tokens, rows, scenes)
