"""The answerer's first stage: what things are called, from the class token alone.

A question about one thing needs no patches, so a row holds one picture token and some forty words:
ten times cheaper than a scene. The class tokens of many views are computed once. Knows nothing of
scenes; colours, counts and places come in the next stage (`llava`).
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
from finetune.pocket.pool import views_of
from finetune.pocket.prompt import pack
from finetune.pocket.talk import Asked, a, plural
from finetune.pocket.training import Clock, Learnt, MasterAdamW, Stage

__all__ = ["NamesSettings", "naming_questions", "teach_names"]

_SAVE = 200  # steps between two saved states

_WHAT = (
    "what is this?", "what is in the picture?", "what do you see?", "what is it?",
    "what is shown here?", "what's this?", "what is in this image?",
)  # fmt: skip
_EXISTS = (
    "is this {a}?", "is there {a}?", "is it {a}?", "do you see {a}?", "can you see {a}?",
    "is there {a} in the picture?", "are there any {many}?", "does the image contain {a}?",
)  # fmt: skip


@dataclass(frozen=True)
class NamesSettings:
    """Settings of stage `names` (settings.yaml, `llava_names`)."""

    steps: int = 1200
    views: int = 8
    """Views per drawing whose class tokens are kept; the first is the drawing as people send it."""
    batch: int = 192
    lr: float = 1.0e-3
    seed: int = 0


def naming_questions(
    gallery: Gallery, concept: int, concepts: Sequence[int], rng: np.random.Generator
) -> list[Asked]:
    """One "what" and two "is there", each of them yes or no with equal chance."""
    name = gallery.concepts[concept].spoken
    rows = [Asked(_WHAT[int(rng.integers(len(_WHAT)))], name, "what")]
    for _ in range(2):
        other = gallery.concepts[int(rng.choice(concepts))].spoken
        said = name if rng.random() < 0.5 or other == name else other
        ask = _EXISTS[int(rng.integers(len(_EXISTS)))].format(a=a(said), many=plural(said))
        rows.append(Asked(ask, "yes" if said == name else "no", "exists"))
    return rows


def teach_names(
    model: LlavaForConditionalGeneration,
    own: PreTrainedTokenizerFast,
    gallery: Gallery,
    photos: Tensor,
    concepts: Sequence[int],
    folder: Path,
    settings: NamesSettings,
    *,
    clock: Clock | None = None,
    resume: bool = True,
) -> bool:
    """Teach projector and language model the names of `concepts`; whether all steps were taken."""
    _, learnt = split_tower(model)
    stage = Stage(
        folder / "names.pt", "llava names", MasterAdamW([(learnt, 1.0)], lr=settings.lr),
        settings.steps, warmup=50, floor=0.3, clock=clock, resume=resume,
    )  # fmt: skip
    if stage.done:
        return True
    asked_about = [*concepts, *gallery.of_kind("shape"), *gallery.of_kind("garment")]
    tokens, owners = views_of(
        lambda seen: picture_tokens(model, seen)[:, :1], gallery, photos, asked_about,
        views=settings.views, seed=settings.seed + 70,
    )  # fmt: skip
    first = torch.zeros(settings.batch, 1, dtype=torch.long)

    def learn(step: int) -> Learnt:
        rng = np.random.default_rng([settings.seed, step, 31])
        chosen = rng.integers(0, len(owners), settings.batch)
        asked = [naming_questions(gallery, int(owners[i]), asked_about, rng) for i in chosen]
        loss = answer_loss(model, pack(own, asked, places=first), tokens[chosen])
        return loss, settings.batch, {}

    return stage.train(learn, every=_SAVE)
