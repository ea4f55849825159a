"""The pictures and questions of easy_vqa: one coloured shape each. Every tenth picture is held out.

Source: Victor Zhou, easy-VQA (MIT). Knows nothing about models.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from finetune.pocket.talk import Asked

__all__ = ["EasyVqa"]


class EasyVqa:
    """`train/` of the set, split by picture number: those ending in 9 are never trained on."""

    def __init__(self, folder: Path) -> None:
        rows = json.loads((folder / "train" / "questions.json").read_text(encoding="utf-8"))
        self._asked: dict[int, list[Asked]] = {}
        for question, answer, picture in rows:
            self._asked.setdefault(picture, []).append(Asked(question, answer, "easy_vqa"))
        self._folder = folder / "train" / "images"
        self._train = [i for i in sorted(self._asked) if i % 10 != 9]
        self._held_out = [i for i in sorted(self._asked) if i % 10 == 9]
        self._pixels: dict[int, Tensor] = {}

    def picture(self, number: int) -> Tensor:
        """Float32 (3, 64, 64) in 0..1."""
        if number not in self._pixels:
            picture = Image.open(self._folder / f"{number}.png").convert("RGB")
            if picture.size != (64, 64):
                picture = picture.resize((64, 64), Image.Resampling.BICUBIC)
            self._pixels[number] = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)
        return self._pixels[number].float() / 255

    def training_pictures(self) -> Tensor:
        """Those that may be trained on, float32 (N, 3, 64, 64) in 0..1."""
        return torch.stack([self.picture(n) for n in self._train])

    def ask(self, row: int, rng: np.random.Generator, asked: int) -> list[Asked]:
        """Up to `asked` questions, in random order, about a row of the training pictures."""
        mine = self._asked[self._train[row]]
        return [mine[i] for i in rng.permutation(len(mine))[:asked]]

    def sample(
        self, rng: np.random.Generator, count: int, asked: int
    ) -> tuple[Tensor, list[list[Asked]]]:
        """`count` training pictures with up to `asked` of their questions each."""
        rows = rng.integers(0, len(self._train), count)
        pictures = torch.stack([self.picture(self._train[i]) for i in rows])
        return pictures, [self.ask(i, rng, asked) for i in rows]

    def questions(self) -> set[str]:
        """All that is asked of training pictures."""
        return {row.question for number in self._train for row in self._asked[number]}

    def held_out(self, count: int | None = None) -> tuple[Tensor, list[list[Asked]]]:
        """Pictures held out (the first `count`) with all their questions."""
        chosen = self._held_out[:count]
        return torch.stack([self.picture(n) for n in chosen]), [self._asked[n] for n in chosen]
