"""The pocket BLIP: captions. Its vision tower is the CLIP tower's pupil, its decoder starts empty.

BLIP's tower has no normalisation before its layers, so the converted weights are close, not
equal: stage `tower` draws them to the CLIP tower's tokens. Stage `captions` trains the decoder
alone, on the tokens of pools of scenes (`pool`). Only caption tokens are supervised.
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
from finetune.pocket.pool import Pools
from finetune.pocket.talk import caption
from finetune.pocket.text import dressed
from finetune.pocket.tower import (
    ALL_PATCHES,
    MEAN,
    STD,
    computing,
    normalise,
    save_weights,
    tokens_kept,
)
from finetune.pocket.training import Clock, Learnt, MasterAdamW, Stage
from finetune.pocket.world import Scene, chance_for, render_scenes, render_views, sample_scenes

__all__ = [
    "BlipSettings",
    "caption_batch",
    "caption_loss",
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

    tower_steps: int = 300
    """Steps that draw the converted tower to the CLIP tower's tokens."""
    tower_batch: int = 128
    tower_lr: float = 3e-3
    steps: int = 2000
    """Steps of the decoder."""
    batch: int = 256
    """Captions a step."""
    lr: float = 1.2e-3
    pools: int = 4
    """Pools of scenes, drawn one after the other."""
    views: int = 12_288
    """Scenes in each."""
    single: float = 0.5
    """Share of scenes with one thing."""
    general: float = 0.25
    """Chance that a caption says "a bird" for a duck: unsure of the name, the decoder then says
    the more general word, where that is likelier."""
    kept: int = 24
    """Patches that a step sees of each picture."""
    whole: float = 0.85
    """From this share of the steps on it sees all, as in use."""
    layers: int = 3
    width: int = 192
    heads: int = 3
    evaluate_every: int = 300
    seed: int = 0


def make_blip(
    tower: CLIPVisionModelWithProjection, vocab: int, settings: BlipSettings
) -> BlipForConditionalGeneration:
    """A BLIP whose vision tower is converted from the CLIP tower; fresh decoder."""
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
    return computing(model)


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


def caption_loss(
    model: BlipForConditionalGeneration, tokens: Tensor, captions: tuple[Tensor, Tensor, Tensor]
) -> Tensor:
    """Mean over captions of the cross-entropy of their tokens, given picture tokens (N, K, W)."""
    ids, mask, labels = captions
    decoder = model.text_decoder
    states = decoder.bert(
        input_ids=ids, attention_mask=mask, encoder_hidden_states=tokens, is_decoder=True
    ).last_hidden_state
    wanted = labels[:, 1:]
    supervised = wanted != -100
    logits = decoder.cls(states[:, :-1][supervised]).float()
    losses = F.cross_entropy(logits, wanted[supervised], reduction="none", label_smoothing=0.02)
    # Every caption counts alike: long lists must not drown the names of single things.
    weight = (1 / supervised.sum(1, keepdim=True)).expand_as(supervised)[supervised]
    return (losses * weight).sum() / len(ids)


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
    clock: Clock | None = None,
    resume: bool = True,
) -> tuple[BlipForConditionalGeneration, bool]:
    """Train (or go on training) the captioner; returns it and whether its last step was taken."""
    own = dressed(tokenizer, "blip", LENGTH)
    model = make_blip(tower, len(own), settings)
    model.eval()  # no dropout: every picture is varied
    s = settings

    def draw_near(step: int) -> Learnt:
        loss = _tower_loss(model, tower, gallery, photos, concepts, s, step)
        return loss, s.tower_batch, {}

    converted = Stage(
        folder / "tower.pt", "blip tower",
        MasterAdamW([(model.vision_model.parameters(), 1.0)], lr=s.tower_lr),
        s.tower_steps, warmup=20, clock=clock, resume=resume,
    )  # fmt: skip
    if not converted.train(draw_near, every=s.evaluate_every):
        return model, False
    pools = Pools(
        lambda shown: model.vision_model(pixel_values=normalise(shown)).last_hidden_state,
        gallery, photos, concepts, pools=s.pools, steps=s.steps, count=s.views, single=s.single,
        seed=s.seed,
    )  # fmt: skip

    def learn(step: int) -> Learnt:
        pool, rng = pools.at(step), np.random.default_rng([s.seed, step, 13])
        rows = rng.integers(0, len(pool.scenes), s.batch)
        says = [caption(gallery, pool.scenes[i], rng, general=s.general) for i in rows]
        kept = s.kept if step < s.whole * s.steps else ALL_PATCHES
        shown, _ = pool.read(rows, kept, rng)
        return caption_loss(model, shown, caption_batch(own, says)), s.batch, {}

    def evaluate() -> dict[str, float]:
        return {} if held_out is None else {"named": named_share(model, own, *held_out)}

    captions = Stage(
        folder / "captions.pt", "blip",
        MasterAdamW([(model.text_decoder.parameters(), 1.0)], lr=s.lr),
        s.steps, warmup=100, clock=clock, resume=resume,
    )  # fmt: skip
    return model, captions.train(learn, every=s.evaluate_every, evaluate=evaluate)


def _tower_loss(
    model: BlipForConditionalGeneration,
    tower: CLIPVisionModelWithProjection,
    gallery: Gallery,
    photos: Tensor,
    concepts: Sequence[int],
    settings: BlipSettings,
    step: int,
) -> Tensor:
    """Squared distance of BLIP's picture tokens to CLIP's, on single things and scenes."""
    chance, half = chance_for(settings.seed, step, 11), settings.tower_batch // 2
    rng = np.random.default_rng([settings.seed, step, 12])
    sprites = rng.integers(0, len(gallery.sprites), settings.tower_batch - half)
    scenes = sample_scenes(gallery, half, concepts=concepts, seed=step + 3_000_000, single=0.1)
    pictures = torch.cat([
        render_views(gallery, sprites, chance=chance, strength=0.7, photos=photos),
        render_scenes(gallery, scenes, chance=chance, strength=0.7, photos=photos),
    ])  # fmt: skip
    pixels = normalise(pictures)
    with torch.no_grad():
        goal, _ = tokens_kept(tower, pixels, ALL_PATCHES)
    tokens = model.vision_model(pixel_values=pixels).last_hidden_state
    return F.mse_loss(tokens.float(), goal.float())


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
    save_weights(model, folder)
    images = BlipImageProcessorPil(
        size={"height": 64, "width": 64}, image_mean=[MEAN] * 3, image_std=[STD] * 3
    )
    BlipProcessor(images, dressed(tokenizer, "blip", LENGTH)).save_pretrained(folder)
