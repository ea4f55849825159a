"""The answerer's last stage: its tower learns too, at a low rate, on scenes drawn afresh.

The tower of the embedder turns away from colours and places, since a thing is the same thing in
any; the answerer is asked about both. Knows nothing of the earlier stages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import LlavaForConditionalGeneration, PreTrainedTokenizerFast

from finetune.pocket.answering import answer_loss, picture_tokens, split_tower
from finetune.pocket.drawings import Gallery
from finetune.pocket.easy_vqa import EasyVqa
from finetune.pocket.llava import answered
from finetune.pocket.prompt import pack
from finetune.pocket.talk import Asked, questions
from finetune.pocket.training import Clock, Learnt, MasterAdamW, Stage
from finetune.pocket.world import chance_for, render_scenes, sample_scenes

__all__ = ["LlavaUnlockSettings", "train_llava_unlocked"]


@dataclass(frozen=True)
class LlavaUnlockSettings:
    """Settings of the stage (settings.yaml, `llava_unlock`)."""

    steps: int = 260
    """0 leaves the answerer as the earlier stages made it."""
    batch: int = 64
    """Pictures a step, those of easy_vqa included."""
    easy_vqa: int = 12
    asked: int = 6
    """Questions per picture."""
    single: float = 0.4
    """Share of scenes with one thing."""
    lr: float = 6e-4
    tower_rate: float = 0.3
    """The tower's learning rate as a factor on the language model's."""
    evaluate_every: int = 130
    seed: int = 0


def train_llava_unlocked(
    model: LlavaForConditionalGeneration,
    own: PreTrainedTokenizerFast,
    gallery: Gallery,
    photos: Tensor,
    concepts: Sequence[int],
    folder: Path,
    settings: LlavaUnlockSettings,
    *,
    easy: EasyVqa | None = None,
    held_out: tuple[Tensor, list[list[Asked]]] | None = None,
    clock: Clock | None = None,
    resume: bool = True,
) -> bool:
    """Train (or go on training) all of `model` in place; whether the last step was taken."""
    s = settings
    tower, rest = split_tower(model)
    stage = Stage(
        folder / "unlocked.pt", "llava unlock",
        MasterAdamW([(rest, 1.0), (tower, s.tower_rate)], lr=s.lr), s.steps, warmup=20,
        clock=clock, resume=resume,
    )  # fmt: skip

    def learn(step: int) -> Learnt:
        rng = np.random.default_rng([s.seed, step, 23])
        count = s.batch - (s.easy_vqa if easy is not None else 0)
        scenes = sample_scenes(
            gallery, count, concepts=concepts, seed=step + 4_000_000, single=s.single
        )
        pictures = render_scenes(
            gallery, scenes, chance=chance_for(s.seed, step, 24), strength=(0.3, 0.7)[step % 2],
            photos=photos,
        )  # fmt: skip
        asked = [questions(gallery, scene, rng, concepts)[: s.asked] for scene in scenes]
        if easy is not None:
            shown, more = easy.sample(rng, s.easy_vqa, s.asked)
            pictures, asked = torch.cat([pictures, shown]), asked + more
        tokens = picture_tokens(model, pictures, learn=True)
        return answer_loss(model, pack(own, asked), tokens), s.batch, {}

    return stage.train(
        learn, every=s.evaluate_every, evaluate=lambda: answered(model, own, easy, held_out)
    )
