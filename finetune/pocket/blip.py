"""The pocket BLIP: captions. Its vision tower starts as the CLIP tower, its decoder from nothing.

BLIP's tower has no normalisation before its layers, so the converted weights are close, not
equal: stage `tower` draws them to the CLIP tower's tokens, stage `captions` trains the decoder
(and, at a low rate, the tower) on scenes. Only caption tokens are supervised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor
from transformers import (
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessorPil,
    BlipProcessor,
    BlipTextConfig,
    BlipVisionConfig,
    CLIPVisionModelWithProjection,
    PreTrainedTokenizerFast,
)

from finetune.pocket.convert import convert_tower
from finetune.pocket.drawings import Gallery
from finetune.pocket.talk import caption
from finetune.pocket.text import dressed
from finetune.pocket.tower import MEAN, STD, normalise
from finetune.pocket.training import MasterAdamW, Progress, load_state, rate, save_state
from finetune.pocket.world import Scene, chance_for, render_scenes, render_views, sample_scenes

__all__ = [
    "BlipSettings",
    "caption_batch",
    "caption_pictures",
    "make_blip",
    "named_share",
    "save_blip",
    "train_blip",
]

LENGTH = 40
"""Longest caption in tokens."""


@dataclass(frozen=True)
class BlipSettings:
    """Settings of the captioner (settings.yaml, `blip`)."""

    tower_steps: int = 150
    """Steps that draw the converted tower to the CLIP tower's tokens."""
    steps: int = 2400
    batch: int = 128
    lr: float = 1.2e-3
    tower_rate: float = 0.2
    """The tower's learning rate as a factor on the decoder's, once unlocked."""
    unlock: float = 0.15
    """Share of the steps after which the tower learns too."""
    single_first: float = 0.9
    """Share of scenes with one thing while the tower is locked: it knows single things."""
    single: float = 0.5
    """The same, once it is unlocked and can learn to look at several."""
    refine_views: int = 24_000
    """Pictures whose tokens are kept for the decoder's last stage (`blip_refine`)."""
    refine_steps: int = 2400
    layers: int = 3
    width: int = 192
    heads: int = 3
    evaluate_every: int = 300
    seed: int = 0


def make_blip(
    tower: CLIPVisionModelWithProjection, vocab: int, settings: BlipSettings
) -> BlipForConditionalGeneration:
    """A BLIP whose vision tower is converted from the CLIP tower; fresh decoder; bfloat16."""
    torch.manual_seed(settings.seed)
    source = tower.config
    vision = BlipVisionConfig(
        hidden_size=source.hidden_size,
        intermediate_size=source.intermediate_size,
        num_hidden_layers=source.num_hidden_layers,
        num_attention_heads=source.num_attention_heads,
        image_size=64,
        patch_size=8,
        projection_dim=source.projection_dim,
        hidden_act="gelu",
        initializer_range=0.02,
    )
    text = BlipTextConfig(
        vocab_size=vocab,
        hidden_size=settings.width,
        encoder_hidden_size=source.hidden_size,
        intermediate_size=settings.width * 4,
        projection_dim=source.projection_dim,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        max_position_embeddings=LENGTH + 8,
        pad_token_id=1,
        bos_token_id=2,
        eos_token_id=3,
        sep_token_id=3,
    )
    config = BlipConfig(
        text_config=text.to_dict(),
        vision_config=vision.to_dict(),
        projection_dim=source.projection_dim,
        image_text_hidden_size=source.projection_dim,
    )
    model = BlipForConditionalGeneration(config)
    convert_tower(tower, model.vision_model)
    model.generation_config.update(
        bos_token_id=2, eos_token_id=3, pad_token_id=1, max_new_tokens=24, do_sample=False
    )
    return model.bfloat16()


def caption_batch(
    tokenizer: PreTrainedTokenizerFast, captions: Sequence[str]
) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids `<s> caption </s>`, mask, and labels: -100 on `<s>` and padding (each (N, L))."""
    batch = tokenizer(
        list(captions), padding=True, truncation=True, max_length=LENGTH, return_tensors="pt"
    )
    ids, mask = batch["input_ids"], batch["attention_mask"]
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, 0] = -100
    return ids, mask, labels


def _caption_loss(
    model: BlipForConditionalGeneration, tokens: Tensor, captions: tuple[Tensor, Tensor, Tensor]
) -> Tensor:
    ids, mask, labels = captions
    out = model.text_decoder(input_ids=ids, attention_mask=mask, encoder_hidden_states=tokens)
    wanted = labels[:, 1:]
    losses = F.cross_entropy(
        out.logits[:, :-1].float().transpose(1, 2), wanted, ignore_index=-100, reduction="none"
    )
    # The mean of every caption counts alike: long lists must not drown the names of single things.
    return (losses.sum(1) / (wanted != -100).sum(1)).mean()


def train_blip(
    tower: CLIPVisionModelWithProjection,
    gallery: Gallery,
    photos: Tensor,
    tokenizer: Tokenizer,
    concepts: Sequence[int],
    folder: Path,
    settings: BlipSettings,
    *,
    held_out: tuple[Gallery, list[Scene]] | None = None,
    minutes: float | None = None,
    resume: bool = True,
) -> tuple[BlipForConditionalGeneration, bool]:
    """Train (or go on training) the captioner; deterministic from the seed.

    Returns it and whether its last step was taken.
    """
    own = dressed(tokenizer, "blip", LENGTH)
    model = make_blip(tower, len(own), settings)
    decoder = [*model.text_decoder.parameters()]
    optimiser = MasterAdamW(
        [(decoder, 1.0), (model.vision_model.parameters(), settings.tower_rate)], lr=settings.lr
    )
    state = load_state(folder / "blip.pt") if resume else None
    step = 0
    if state is not None:
        optimiser.load_state_dict(state["optimiser"])
        step = state["step"]
    total = settings.tower_steps + settings.steps
    progress = Progress(folder, "blip", total, minutes)
    final_norm = tower.vision_model.post_layernorm

    def save() -> None:
        save_state(folder / "blip.pt", {"step": step, "optimiser": optimiser.state_dict()})

    while step < total and not progress.over:
        chance = chance_for(settings.seed, step, 11)
        if step < settings.tower_steps:
            rng = np.random.default_rng([settings.seed, step, 12])
            sprites = rng.integers(0, len(gallery.sprites), settings.batch)
            pictures = normalise(
                render_views(gallery, sprites, chance=chance, strength=0.7, photos=photos)
            )
            with torch.no_grad():
                goal = final_norm(tower.vision_model(pixel_values=pictures).last_hidden_state)
            tokens = model.vision_model(pixel_values=pictures).last_hidden_state
            loss = F.mse_loss(tokens.float(), goal.float())
            share = 5 * rate(step, settings.tower_steps, warmup=20)
        else:
            done = step - settings.tower_steps
            learn = done >= settings.unlock * settings.steps
            scenes = sample_scenes(
                gallery,
                settings.batch,
                concepts=concepts,
                seed=step,
                single=settings.single if learn else settings.single_first,
            )
            rng = np.random.default_rng([settings.seed, step, 13])
            says = caption_batch(own, [caption(gallery, s, rng) for s in scenes])
            strength = min(0.9, 0.3 + done / settings.steps)
            pictures = normalise(
                render_scenes(gallery, scenes, chance=chance, strength=strength, photos=photos)
            )
            with torch.set_grad_enabled(learn):
                tokens = model.vision_model(pixel_values=pictures).last_hidden_state
            loss = _caption_loss(model, tokens, says)
            share = rate(done, settings.steps, warmup=100)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step(share)
        step += 1
        progress.add(settings.batch, loss=float(loss.detach()))
        if step % 50 == 0 or step == total:
            more = {}
            if step % settings.evaluate_every == 0 or step == total:
                save()
                if held_out is not None:
                    more = {"named": named_share(model, own, *held_out)}
            progress.report(step, **more)
    save()
    return model, step >= total


@torch.no_grad()
def caption_pictures(
    model: BlipForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, pictures: Tensor
) -> list[str]:
    """Greedy captions of pictures in 0..1."""
    model.eval()
    rows: list[str] = []
    for part in pictures.split(64):
        ids = model.generate(pixel_values=normalise(part), max_new_tokens=24)
        rows += tokenizer.batch_decode(ids, skip_special_tokens=True)
    return [r.strip() for r in rows]


def named_share(
    model: BlipForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    gallery: Gallery,
    scenes: list[Scene],
) -> float:
    """Share of scenes' things whose name, an alias or a tag occurs in the caption."""
    pictures = render_scenes(gallery, scenes, chance=chance_for(5), strength=0.0)
    hits = things = 0
    for text, scene in zip(caption_pictures(model, tokenizer, pictures), scenes, strict=True):
        for thing in {t.concept for t in scene.things}:
            c = gallery.concepts[thing]
            hits += any(w in text for w in (c.spoken, c.name, *c.aliases, *c.tags))
            things += 1
    return hits / max(1, things)


def save_blip(model: BlipForConditionalGeneration, tokenizer: Tokenizer, folder: Path) -> None:
    """Weights, configs, tokenizer and processor, as on the Hub."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    images = BlipImageProcessorPil(
        size={"height": 64, "width": 64}, image_mean=[MEAN] * 3, image_std=[STD] * 3
    )
    BlipProcessor(images, dressed(tokenizer, "blip", LENGTH)).save_pretrained(folder)
