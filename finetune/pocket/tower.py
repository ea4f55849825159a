"""The vision tower as a function: pixels in, tokens or embeddings out, some patches left out.

Knows the numbers that pixels are normalised with; nothing about drawings, losses or training.
"""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPImageProcessorPil, CLIPVisionModelWithProjection, PreTrainedModel

from tools.models.hardware import choose_hardware

__all__ = [
    "ALL_PATCHES",
    "MEAN",
    "STD",
    "compute_dtype",
    "computing",
    "embed_kept",
    "embed_pictures",
    "image_processor",
    "normalise",
    "save_weights",
    "tokens_kept",
]

M = TypeVar("M", bound=nn.Module)
MEAN, STD = 0.5, 0.25
"""Pixels in 0..1 become (value - MEAN) / STD; the same numbers are in every processor config."""

ALL_PATCHES = 64
"""Patches of a picture: 64 px in patches of 8."""


@cache
def compute_dtype() -> torch.dtype:
    """What the towers compute in: bfloat16 where this machine has it, else float32.

    A CPU without AMX or AVX512-BF16 multiplies in bfloat16 at a sixtieth of its speed in float32.
    """
    return torch.bfloat16 if choose_hardware().dtype == "bfloat16" else torch.float32


def computing(model: M) -> M:
    """The model itself, in :func:`compute_dtype`."""
    nn.Module.to(model, compute_dtype())
    return model


def normalise(pictures: Tensor) -> Tensor:
    """Pixels in 0..1 to what the towers take."""
    return ((pictures - MEAN) / STD).to(compute_dtype())


def save_weights(model: PreTrainedModel, folder: Path) -> None:
    """Weights and configs as on the Hub, in bfloat16 whatever it was trained in."""
    copy.deepcopy(model).bfloat16().save_pretrained(folder)


def image_processor() -> CLIPImageProcessorPil:
    """What makes a picture into pixels for a CLIP tower, as it is saved beside the weights."""
    side = {"height": 64, "width": 64}
    return CLIPImageProcessorPil(
        size=side, do_center_crop=False, crop_size=side, image_mean=[MEAN] * 3, image_std=[STD] * 3
    )


@torch.no_grad()
def embed_pictures(tower: nn.Module, pictures: Tensor, batch: int = 128) -> Tensor:
    """Unit embeddings float32 (N, E) of pictures in 0..1."""
    rows = [
        tower(pixel_values=normalise(part)).image_embeds.float() for part in pictures.split(batch)
    ]
    return F.normalize(torch.cat(rows), dim=-1)


def tokens_kept(
    tower: CLIPVisionModelWithProjection, pixels: Tensor, kept: int
) -> tuple[Tensor, Tensor]:
    """Tokens (N, 1 + kept, width), the class token first, and which patches they are (N, kept).

    Only the `kept` patches with most contrast are seen, with some chance. Half the patches are a
    fraction of the work (Li et al. 2023, "Scaling Language-Image Pre-training via Masking"); blank
    paper is what is left out first. Tokens are normalised as the class token is before its
    projection.
    """
    vision = tower.vision_model
    patch: int = vision.embeddings.patch_size
    hidden = vision.embeddings(pixels)
    patches = hidden.shape[1] - 1
    chosen = torch.arange(patches).expand(len(pixels), -1)
    if kept < patches:
        with torch.no_grad():
            mean = F.avg_pool2d(pixels.float(), patch)
            variance = F.avg_pool2d(pixels.float() ** 2, patch) - mean**2
            contrast = variance.clamp_min(0).sum(1).flatten(1).sqrt()
            chosen = (contrast + 0.5 * torch.rand(contrast.shape)).topk(kept).indices
            rows = torch.cat([torch.zeros(len(pixels), 1, dtype=torch.long), chosen + 1], 1)
        hidden = hidden.gather(1, rows[..., None].expand(-1, -1, hidden.shape[-1]))
    out = vision.encoder(inputs_embeds=vision.pre_layrnorm(hidden)).last_hidden_state
    return vision.post_layernorm(out), chosen


def embed_kept(tower: CLIPVisionModelWithProjection, pixels: Tensor, kept: int) -> Tensor:
    """Embeddings (N, E), not normalised, from the `kept` patches with most contrast."""
    tokens, _ = tokens_kept(tower, pixels, kept)
    embeds: Tensor = tower.visual_projection(tokens[:, 0])
    return embeds
