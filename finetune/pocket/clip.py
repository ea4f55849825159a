"""The pocket CLIP: a vision tower distilled from the teacher and told which drawings are one thing.

Stage `vision`: cosine and in-batch similarity to the teacher, and a softmax against one learnt
direction per concept, so that all styles of a thing meet. Stage `text` (see `clip_text`): the
text tower against those directions and pictures. Knows nothing about captions or questions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from finetune.pocket.augment import finish
from finetune.pocket.drawings import Gallery
from finetune.pocket.evaluate import HeldOut, character_pictures, episodes, photo_pictures
from finetune.pocket.teacher import Targets
from finetune.pocket.tower import ALL_PATCHES, computing, embed_kept, embed_pictures, normalise
from finetune.pocket.training import Clock, Learnt, MasterAdamW, Stage
from finetune.pocket.world import chance_for, render_views

__all__ = [
    "Batches",
    "VisionSettings",
    "make_tower",
    "measure",
    "pair_loss",
    "train_vision",
    "vision_loss",
]


@dataclass(frozen=True)
class VisionSettings:
    """Settings of stage `vision` (settings.yaml, `clip.vision`)."""

    steps: int = 3000
    """Optimiser steps planned; the learning rate falls to its floor at the end of them."""
    drawings: int = 224
    """Views of drawings a step, in pairs of two styles of one concept."""
    photos: int = 160
    """Photo views a step."""
    characters: int = 96
    """Views of characters a step, in pairs of two drawings of one, turned alike."""
    others: int = 32
    """Views of shapes and garments a step."""
    kept: int = 36
    """Patches of a picture that the tower sees, the ones with most in them first."""
    whole: float = 0.93
    """From this share of the steps on it sees all patches, as it will in use."""
    lr: float = 1e-3
    names_weight: float = 0.25
    """Weight of the softmax against one direction per concept."""
    pairs_weight: float = 0.25
    """Weight of the softmax that finds the other one of a pair among the batch's pairs."""
    pairs_scale: float = 16.0
    """Its scale, fixed: learnt with that of the names, it falls and both stop teaching."""
    photos_weight: float = 0.25
    """Weight of the softmax that finds a photo's own teacher feature among the batch's photos."""
    similarity_weight: float = 8.0
    """Weight of the in-batch similarity loss."""
    own_style: float = 0.5
    """Share of the sprite's own teacher feature in its target; the rest is its concept's mean."""
    phase_in: float = 0.2
    """Share of the steps over which the variation grows to full strength."""
    evaluate_every: int = 200
    layers: int = 6
    width: int = 192
    heads: int = 3
    projection: int = 256
    seed: int = 0


def make_tower(settings: VisionSettings) -> CLIPVisionModelWithProjection:
    """A fresh vision tower, 64 px, patch 8."""
    torch.manual_seed(settings.seed)
    config = CLIPVisionConfig(
        hidden_size=settings.width,
        intermediate_size=settings.width * 4,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        image_size=64,
        patch_size=8,
        hidden_act="gelu",
        projection_dim=settings.projection,
    )
    tower = CLIPVisionModelWithProjection(config)
    tower.set_attn_implementation("eager")
    nn.init.normal_(tower.visual_projection.weight, std=settings.width**-0.5)
    return computing(tower)


@dataclass(frozen=True)
class Batch:
    """`pictures` (N, 3, 64, 64) with unit `targets` (N, E), where `known`; `labels`: concept or -1.

    Rows 2i and 2i + 1 show one thing twice: `pairs` = (end of the drawings, end of the characters).
    Rows from `photos` on are photos.
    """

    pictures: Tensor
    targets: Tensor
    known: Tensor
    labels: Tensor
    pairs: tuple[int, int]
    photos: int


class Batches:
    """The batch of every step, from the seed and the step's number alone."""

    def __init__(self, gallery: Gallery, targets: Targets, settings: VisionSettings) -> None:
        self.settings, self.gallery = settings, gallery
        self.photos = torch.from_numpy(targets.photos)
        self.photo_features = torch.from_numpy(targets.photo_features)
        drawn = torch.from_numpy(targets.drawings)
        concept = torch.from_numpy(gallery.concept_of)
        means = torch.zeros(len(gallery.concepts), drawn.shape[1]).index_add_(0, concept, drawn)
        self.concept_means = F.normalize(means, dim=-1)
        mixed = settings.own_style * drawn + (1 - settings.own_style) * self.concept_means[concept]
        self.sprite_targets = F.normalize(mixed, dim=-1)
        self.drawings = np.array(gallery.of_kind("drawing"))
        main = np.array([gallery.concepts[c].group != "smileys & emotion" for c in self.drawings])
        weight = np.where(main, 1.0, 0.5)
        self._weight = weight / weight.sum()
        self.characters = np.array(gallery.of_kind("character"))
        self._kinds = [gallery.of_kind(k) for k in ("garment", "shape")]

    def draw(self, step: int) -> Batch:
        """The batch of a step."""
        s = self.settings
        rng = np.random.default_rng([s.seed, step, 1])
        chance = chance_for(s.seed, step)
        strength = min(1.0, 0.3 + 0.7 * step / max(1, s.phase_in * s.steps))
        sprites: list[int] = []
        for c in rng.choice(self.drawings, s.drawings // 2, p=self._weight):
            sprites += self._two(int(c), rng)
        if len(self.characters):
            for c in rng.choice(self.characters, s.characters // 2):
                sprites += self._two(int(c), rng)
        drawn, paired = s.drawings // 2 * 2, len(sprites)
        for kind, share in zip(self._kinds, (0.6, 0.4), strict=True):
            for c in rng.choice(kind, round(s.others * share)) if kind else ():
                sprites.append(int(rng.choice(self.gallery.concepts[c].sprites)))
        index = np.array(sprites)
        turned = np.zeros(len(index), np.int64)
        turned[drawn:paired] = np.repeat(rng.integers(0, 8, (paired - drawn) // 2), 2)
        views = render_views(
            self.gallery, index, chance=chance, strength=strength, photos=self.photos, turned=turned
        )
        labels = torch.from_numpy(self.gallery.concept_of[index])
        labels[drawn:paired] = -1  # a turned character has no name
        taken = torch.randint(len(self.photos), (s.photos,), generator=chance)
        photos = self.photos[taken].float() / 255
        mirrored = torch.rand(len(photos), generator=chance) < 0.5
        photos = torch.where(mirrored[:, None, None, None], photos.flip(-1), photos)
        photos = finish(photos, strength, chance)
        targets = torch.cat([self.sprite_targets[index], self.photo_features[taken]])
        labels = torch.cat([labels, torch.full((len(photos),), -1)])
        pictures, known = torch.cat([views, photos]), targets.norm(dim=-1) > 0.5
        return Batch(pictures, targets, known, labels, (drawn, paired), len(views))

    def _two(self, concept: int, rng: np.random.Generator) -> list[int]:
        mine = self.gallery.concepts[concept].sprites
        return [int(s) for s in rng.permutation(mine)[:2]] if len(mine) > 1 else [mine[0]] * 2


def vision_loss(
    embeddings: Tensor, batch: Batch, directions: Tensor, scale: Tensor, settings: VisionSettings
) -> tuple[Tensor, dict[str, Tensor]]:
    """Distillation, naming and pairing losses of unit embeddings (N, E), all in float32."""
    z, t = embeddings[batch.known], batch.targets[batch.known]
    distil = (1 - (z * t).sum(-1)).mean()
    similar = ((z @ z.T - t @ t.T) ** 2).mean()
    named = batch.labels >= 0
    sharp = scale.exp().clamp(max=60)
    logits = sharp * embeddings[named] @ F.normalize(directions, dim=-1).T
    naming = F.cross_entropy(logits, batch.labels[named], label_smoothing=0.05)
    drawn, paired = batch.pairs
    things = pair_loss(embeddings[:drawn], settings.pairs_scale)
    letters = pair_loss(embeddings[drawn:paired], settings.pairs_scale)
    total = distil + settings.similarity_weight * similar + settings.names_weight * naming
    total = total + settings.pairs_weight * (things + letters)
    # Among photos the cosine alone is content with what all photos share (Tian et al. 2020, CRD).
    shown = torch.stack([embeddings[batch.photos :], batch.targets[batch.photos :]], 1).flatten(
        0, 1
    )
    photos = pair_loss(shown, settings.pairs_scale)
    total = total + settings.photos_weight * photos
    right = (logits.argmax(-1) == batch.labels[named]).float().mean()
    parts = {
        "cos": 1 - distil, "similar": similar, "naming": naming, "right": right,
        "things": things, "letters": letters, "photos": photos,
    }  # fmt: skip
    return total, parts


def pair_loss(embeddings: Tensor, scale: float) -> Tensor:
    """Cross-entropy of finding row 2i + 1 from row 2i and the reverse; 0 for no rows."""
    if len(embeddings) < 2:
        return embeddings.sum() * 0
    logits = scale * embeddings[0::2] @ embeddings[1::2].T
    own = torch.arange(len(logits))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def train_vision(
    gallery: Gallery,
    targets: Targets,
    folder: Path,
    settings: VisionSettings,
    *,
    held_out: HeldOut | None = None,
    data: Path | None = None,
    clock: Clock | None = None,
    resume: bool = True,
) -> tuple[CLIPVisionModelWithProjection, Tensor, bool]:
    """Train (or go on training) the vision tower.

    Returns it with the concepts' directions and whether its last step was taken.
    """
    tower = make_tower(settings)
    batches = Batches(gallery, targets, settings)
    start = torch.randn(batches.concept_means.shape, generator=chance_for(settings.seed, 99))
    has = batches.concept_means.norm(dim=-1, keepdim=True) > 0.5
    directions = nn.Parameter(torch.where(has, batches.concept_means, F.normalize(start, dim=-1)))
    scale = nn.Parameter(torch.tensor(math.log(16.0)))
    optimiser = MasterAdamW([(tower.parameters(), 1.0), ([directions, scale], 1.0)], lr=settings.lr)

    def learn(step: int) -> Learnt:
        batch = batches.draw(step)
        kept = settings.kept if step < settings.whole * settings.steps else ALL_PATCHES
        torch.manual_seed(step)  # which patches are kept
        embeddings = F.normalize(embed_kept(tower, normalise(batch.pictures), kept).float(), dim=-1)
        loss, parts = vision_loss(embeddings, batch, directions, scale, settings)
        return loss, len(batch.pictures), {**parts, "scale": scale.exp()}

    stage = Stage(
        folder / "vision.pt", "clip vision", optimiser, settings.steps, warmup=150, clock=clock,
        resume=resume,
    )  # fmt: skip
    evaluate = None if held_out is None else lambda: measure(tower, directions, held_out, data)
    done = stage.train(learn, every=settings.evaluate_every, evaluate=evaluate)
    return tower, directions.detach(), done


def measure(
    tower: nn.Module, directions: Tensor, held_out: HeldOut, data: Path | None
) -> dict[str, float]:
    """Held-out results as shares of one, for the progress line."""

    def embed(pictures: Tensor) -> Tensor:
        return embed_pictures(tower, pictures)

    hits, n = held_out.one_shot(embed, count=600)
    row = {"style_20way": hits / n}
    hits, n = held_out.one_shot(embed, count=600, inked=True)
    row["inked_20way"] = hits / n
    asked = embed(held_out.asked) @ F.normalize(directions, dim=-1).T
    labels = torch.from_numpy(held_out.asked_labels)
    top = asked.topk(5, dim=-1).indices == labels[:, None]
    row |= {"top1": float(top[:, 0].float().mean()), "top5": float(top.any(-1).float().mean())}
    if data is not None:
        for name, (pictures, classes), ways in (
            ("photo_20way", photo_pictures(data), 20),
            ("character_5way", character_pictures(data), 5),
        ):
            rows = embed(pictures).numpy()
            hits, n = episodes(rows, classes, rows, classes, ways=ways, count=600)
            row[name] = hits / n
    return row
