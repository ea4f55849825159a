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

from finetune.pocket.drawings import Gallery
from finetune.pocket.easy_vqa import EasyVqa
from finetune.pocket.llava import answer_loss, by_kind, exact, picture_tokens
from finetune.pocket.prompt import pack
from finetune.pocket.talk import Asked, questions
from finetune.pocket.training import MasterAdamW, Progress, load_state, rate, save_state
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
    minutes: float | None = None,
    resume: bool = True,
) -> bool:
    """Train (or go on training) all of `model` in place; whether the last step was taken."""
    towers = list(model.model.vision_tower.parameters())
    mine = {id(p) for p in towers}
    rest = [p for p in model.parameters() if id(p) not in mine]
    optimiser = MasterAdamW([(rest, 1.0), (towers, settings.tower_rate)], lr=settings.lr)
    state = load_state(folder / "unlocked.pt") if resume else None
    step = 0
    if state is not None:
        optimiser.load_state_dict(state["optimiser"])
        step = state["step"]
    progress = Progress(folder, "llava unlock", settings.steps, minutes)

    def save() -> None:
        save_state(folder / "unlocked.pt", {"step": step, "optimiser": optimiser.state_dict()})

    while step < settings.steps and not progress.over:
        rng = np.random.default_rng([settings.seed, step, 23])
        count = settings.batch - (settings.easy_vqa if easy is not None else 0)
        scenes = sample_scenes(
            gallery, count, concepts=concepts, seed=step + 4_000_000, single=settings.single
        )
        pictures = render_scenes(
            gallery, scenes, chance=chance_for(settings.seed, step, 24),
            strength=(0.3, 0.7)[step % 2], photos=photos,
        )  # fmt: skip
        asked = [questions(gallery, s, rng, concepts)[: settings.asked] for s in scenes]
        if easy is not None:
            shown, more = easy.sample(rng, settings.easy_vqa, settings.asked)
            pictures, asked = torch.cat([pictures, shown]), asked + more
        loss = answer_loss(model, pack(own, asked), picture_tokens(model, pictures, learn=True))
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step(rate(step, settings.steps, warmup=20))
        step += 1
        progress.add(settings.batch, loss=float(loss.detach()))
        if step % 20 == 0 or step == settings.steps:
            results: dict[str, float] = {}
            if step % settings.evaluate_every == 0 or step == settings.steps:
                save()
                if held_out is not None:
                    results |= by_kind(exact(model, own, *held_out))
                if easy is not None:
                    results |= by_kind(exact(model, own, *easy.held_out(200)))
            progress.report(step, **results)
    save()
    return step >= settings.steps
