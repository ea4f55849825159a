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

from finetune.pocket.drawings import Gallery
from finetune.pocket.llava import answer_loss, picture_tokens
from finetune.pocket.prompt import pack
from finetune.pocket.talk import Asked, a, plural
from finetune.pocket.training import MasterAdamW, Progress, load_state, rate, save_state
from finetune.pocket.world import chance_for, render_views

__all__ = ["NamesSettings", "naming_questions", "teach_names"]

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


@torch.no_grad()
def _class_tokens(
    model: LlavaForConditionalGeneration,
    gallery: Gallery,
    photos: Tensor,
    concepts: Sequence[int],
    settings: NamesSettings,
) -> tuple[Tensor, list[int]]:
    sprites = np.array([s for c in concepts for s in gallery.concepts[c].sprites[:30]], np.int64)
    rows, owners = [], []
    for view in range(settings.views):
        for part in np.array_split(sprites, max(1, len(sprites) // 128)):
            chance = chance_for(settings.seed, 70 + view, int(part[0]))
            strength = 0.0 if view == 0 else 0.8
            seen = render_views(gallery, part, chance=chance, strength=strength, photos=photos)
            rows.append(picture_tokens(model, seen)[:, :1])
            owners += [int(c) for c in gallery.concept_of[part]]
    return torch.cat(rows), owners


def teach_names(
    model: LlavaForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    gallery: Gallery,
    photos: Tensor,
    concepts: Sequence[int],
    folder: Path,
    settings: NamesSettings,
    *,
    resume: bool = True,
) -> None:
    """Teach the projector and the language model the names of `concepts`; the tower stays.

    Takes minutes; done once, its result is read back from `folder` when the recipe goes on.
    """
    done = load_state(folder / "names.pt") if resume else None
    if done is not None:
        model.load_state_dict(done)
        return
    asked_about = [*concepts, *gallery.of_kind("shape"), *gallery.of_kind("garment")]
    tokens, owners = _class_tokens(model, gallery, photos, asked_about, settings)
    towers = {id(p) for p in model.model.vision_tower.parameters()}
    learnt = [p for p in model.parameters() if id(p) not in towers]
    optimiser = MasterAdamW([(learnt, 1.0)], lr=settings.lr)
    progress = Progress(folder, "llava names", settings.steps, None)
    first = torch.zeros(settings.batch, 1, dtype=torch.long)
    for step in range(settings.steps):
        rng = np.random.default_rng([settings.seed, step, 31])
        chosen = rng.integers(0, len(owners), settings.batch)
        asked = [naming_questions(gallery, owners[i], asked_about, rng) for i in chosen]
        loss = answer_loss(model, pack(tokenizer, asked, places=first), tokens[chosen])
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step(rate(step, settings.steps, warmup=50, floor=0.3))
        progress.add(settings.batch, loss=float(loss.detach()))
        if (step + 1) % 50 == 0:
            progress.report(step + 1)
    save_state(folder / "names.pt", model.state_dict())
