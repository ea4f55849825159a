"""The pocket CLIP's text tower: every name, alias and tag against what the vision tower sees.

The vision tower is locked: its embeddings of some tens of thousands of views are computed once,
then a step costs only text. Also assembles and saves the whole `CLIPModel`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPProcessor,
    CLIPTextConfig,
    CLIPVisionModelWithProjection,
    PreTrainedTokenizerFast,
)

from finetune.pocket.drawings import MAIN_GROUPS, Gallery
from finetune.pocket.evaluate import HeldOut, rank_names
from finetune.pocket.text import dressed, named_concepts, names_of, prompts, write_vocabulary
from finetune.pocket.tower import MEAN, STD, embed_pictures
from finetune.pocket.training import MasterAdamW, Progress, load_state, rate, save_state
from finetune.pocket.world import chance_for, render_views

__all__ = ["TextSettings", "assemble", "name_ranks", "save_clip", "text_embeddings", "train_text"]

LENGTH = 32
"""Longest text in tokens."""


@dataclass(frozen=True)
class TextSettings:
    """Settings of stage `text` (settings.yaml, `clip.text`)."""

    steps: int = 800
    lr: float = 1e-3
    views: int = 8
    """Varied views per drawing whose embeddings are cached."""
    names: int = 360
    """Concepts a step: a name and a cached picture of each, told apart from all the others."""
    texts: int = 320
    """Names and tags a step pulled towards the mean of what they name."""
    scale: float = 20.0
    """The model's logit scale (exponentiated)."""
    layers: int = 3
    width: int = 192
    heads: int = 3
    seed: int = 0


def assemble(tower: CLIPVisionModelWithProjection, vocab: int, settings: TextSettings) -> CLIPModel:
    """A `CLIPModel` with the trained vision tower and a fresh text tower, bfloat16."""
    torch.manual_seed(settings.seed)
    text = CLIPTextConfig(
        vocab_size=vocab,
        hidden_size=settings.width,
        intermediate_size=settings.width * 4,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        max_position_embeddings=LENGTH,
        hidden_act="gelu",
        projection_dim=tower.config.projection_dim,
        pad_token_id=1,
        bos_token_id=2,
        eos_token_id=3,
    )
    config = CLIPConfig(
        text_config=text.to_dict(),
        vision_config=tower.config.to_dict(),
        projection_dim=tower.config.projection_dim,
    )
    model = CLIPModel(config).bfloat16()
    model.set_attn_implementation("eager")
    model.vision_model.load_state_dict(tower.vision_model.state_dict())
    model.visual_projection.load_state_dict(tower.visual_projection.state_dict())
    with torch.no_grad():
        model.logit_scale.fill_(float(np.log(settings.scale)))
        nn.init.normal_(model.text_projection.weight, std=settings.width**-0.5)
    return model


def text_embeddings(
    model: CLIPModel, tokenizer: PreTrainedTokenizerFast, texts: list[str]
) -> Tensor:
    """Unit embeddings float32 (N, E) of texts, with gradient if enabled."""
    batch = tokenizer(texts, padding=True, truncation=True, max_length=LENGTH, return_tensors="pt")
    out = model.get_text_features(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
    )
    return F.normalize(out.pooler_output.float(), dim=-1)


def _cache(
    tower: nn.Module, gallery: Gallery, photos: Tensor, settings: TextSettings
) -> tuple[Tensor, Tensor]:
    """Embeddings and concept numbers of clean and varied views of everything that has a name."""
    kinds = ("drawing", "shape", "garment")
    # Thirty garments of a class are enough, however many the gallery holds.
    sprites = np.array(
        [s for c in gallery.concepts if c.kind in kinds for s in c.sprites[:30]], np.int64
    )
    rows, labels = [], []
    for view in range(settings.views):
        strength = 0.0 if view == 0 else 0.8
        for part in np.array_split(sprites, max(1, len(sprites) // 256)):
            chance = chance_for(settings.seed, 50 + view, int(part[0]))
            pictures = render_views(gallery, part, chance=chance, strength=strength, photos=photos)
            rows.append(embed_pictures(tower, pictures))
            labels.append(torch.from_numpy(gallery.concept_of[part]))
    return torch.cat(rows), torch.cat(labels)


def train_text(
    tower: CLIPVisionModelWithProjection,
    directions: Tensor,
    gallery: Gallery,
    photos: Tensor,
    tokenizer: Tokenizer,
    folder: Path,
    settings: TextSettings,
    *,
    held_out: HeldOut | None = None,
    minutes: float | None = None,
    resume: bool = True,
) -> tuple[CLIPModel, bool]:
    """Train the text tower against cached views and the learnt `directions` (concepts, E).

    Returns the model and whether its last step was taken.
    """
    own = dressed(tokenizer, "clip", LENGTH)
    model = assemble(tower, len(own), settings)
    trained = [*model.text_model.parameters(), *model.text_projection.parameters()]
    optimiser = MasterAdamW([(trained, 1.0)], lr=settings.lr)
    state = load_state(folder / "text.pt") if resume else None
    step = 0
    if state is not None:
        optimiser.load_state_dict(state["optimiser"])
        step = state["step"]
    if step >= settings.steps:
        return model, True
    kept = [i for i, c in enumerate(gallery.concepts) if c.kind != "character" and c.sprites]
    pictures, labels = _cache(tower, gallery, photos, settings)
    means = torch.zeros_like(directions).index_add_(0, labels, pictures)
    goals = F.normalize(F.normalize(means, dim=-1) + F.normalize(directions, dim=-1), dim=-1)
    shown = {i: (labels == i).nonzero()[:, 0].tolist() for i in kept}
    words: dict[str, list[int]] = {}
    for i in kept:
        for text in [*names_of(gallery, i), *gallery.concepts[i].tags]:
            words.setdefault(text, []).append(i)
    texts = list(words)
    text_goals = F.normalize(torch.stack([goals[words[t]].mean(0) for t in texts]), dim=-1)
    progress = Progress(folder, "clip text", settings.steps, minutes)

    def save() -> None:
        save_state(folder / "text.pt", {"step": step, "optimiser": optimiser.state_dict()})

    while step < settings.steps and not progress.over:
        rng = np.random.default_rng([settings.seed, step, 5])
        chosen = rng.integers(0, len(texts), settings.texts)
        few = rng.choice(kept, min(settings.names, len(kept)), replace=False)
        own_names = [str(rng.choice(names_of(gallery, int(i))[:4])) for i in few]
        asked = own_names + [texts[i] for i in chosen]
        written = [prompts(t, rng)[0] if rng.random() < 0.6 else t for t in asked]
        embedded = text_embeddings(model, own, written)
        names, others = embedded[: len(few)], embedded[len(few) :]
        batch = torch.tensor([int(rng.choice(shown[int(i)])) for i in few])
        logits = settings.scale * pictures[batch] @ names.T
        naming = F.cross_entropy(logits, torch.arange(len(few)))
        pull = (1 - (others * text_goals[chosen]).sum(-1)).mean()
        pull = pull + (1 - (names * goals[few]).sum(-1)).mean()
        loss = naming * 0.5 + 2 * pull
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step(rate(step, settings.steps, warmup=50))
        step += 1
        progress.add(len(few), naming=float(naming.detach()), pull=float(pull.detach()))
        if step % 50 == 0 or step == settings.steps:
            more = {}
            if step % 300 == 0 or step == settings.steps:
                save()
                if held_out is not None:
                    ranks = name_ranks(model, own, gallery, held_out)
                    more = {"top1": float((ranks < 1).mean()), "top5": float((ranks < 5).mean())}
            progress.report(step, **more)
    save()
    return model, step >= settings.steps


@torch.no_grad()
def name_ranks(
    model: CLIPModel, tokenizer: PreTrainedTokenizerFast, gallery: Gallery, held_out: HeldOut
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Rank of the right name among the named concepts for each held-out drawing that has one."""
    offered = [i for i in named_concepts(gallery) if gallery.concepts[i].group in MAIN_GROUPS]
    names = [names_of(gallery, i)[0] for i in offered]
    embedded = sum(
        text_embeddings(model, tokenizer, [t.format(n) for n in names])
        for t in ("{}", "a picture of a {}", "a drawing of a {}")
    )
    assert isinstance(embedded, Tensor)
    ids = [gallery.concepts[i].id for i in offered]
    rows = [r for r, c in enumerate(held_out.concepts) if c.id in ids]
    spoken: dict[str, set[int]] = {}
    for position, name in enumerate(names):
        spoken.setdefault(name, set()).add(position)
    correct = [spoken[held_out.concepts[r].name] for r in rows]

    def features(pictures: Tensor) -> Tensor:
        out = model.get_image_features(pixel_values=((pictures - MEAN) / STD).bfloat16())
        return F.normalize(out.pooler_output.float(), dim=-1)

    pictures = torch.cat([features(p) for p in held_out.asked[rows].split(128)])
    return rank_names(pictures, F.normalize(embedded, dim=-1), correct)


def save_clip(model: CLIPModel, tokenizer: Tokenizer, gallery: Gallery, folder: Path) -> None:
    """Weights, configs, tokenizer, processor and vocabulary.json, as on the Hub."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    images = CLIPImageProcessorPil(
        size={"height": 64, "width": 64},
        do_center_crop=False,
        crop_size={"height": 64, "width": 64},
        image_mean=[MEAN] * 3,
        image_std=[STD] * 3,
    )
    CLIPProcessor(images, dressed(tokenizer, "clip", LENGTH)).save_pretrained(folder)
    write_vocabulary(gallery, folder / "vocabulary.json")
