"""From the CLIP vision tower's weights to BLIP's, whose layout differs."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from transformers import CLIPVisionModelWithProjection
from transformers.models.blip.modeling_blip import BlipVisionModel

from finetune.pocket.tower import MEAN, STD
from finetune.pocket.world import chance_for

__all__ = ["convert_tower"]


@torch.no_grad()
def convert_tower(tower: CLIPVisionModelWithProjection, blip: BlipVisionModel) -> None:
    """CLIP tower -> BLIP tower: fused qkv, and the first normalisation folded into the patches.

    CLIP normalises every token after adding positions: (x - mean) / deviation * g + b. Subtracting
    the mean over channels, g and b are linear and fold exactly; the deviation, which differs from
    token to token, is replaced by its mean over pictures.
    """
    source = {k: v.float() for k, v in tower.vision_model.state_dict().items()}
    computed, clip_embeddings = tower.dtype, tower.vision_model.embeddings.float()
    sample = torch.rand(64, 3, 64, 64, generator=chance_for(3))
    sample = (F.avg_pool2d(sample, 9, 1, 4) - MEAN) / STD
    spread = clip_embeddings(sample).std(-1, unbiased=False).mean(0)[:, None]
    clip_embeddings.to(computed)
    gain, shift = source["pre_layrnorm.weight"], source["pre_layrnorm.bias"]
    patches = source["embeddings.patch_embedding.weight"]
    deviation = spread[1:].mean()
    own = blip.embeddings
    own.patch_embedding.weight.copy_(
        (patches - patches.mean(0)) * gain[:, None, None, None] / deviation
    )
    nn.init.zeros_(own.patch_embedding.bias)  # type: ignore[arg-type]
    places = source["embeddings.position_embedding.weight"]
    places = (places - places.mean(-1, keepdim=True)) * gain / deviation + shift
    first = source["embeddings.class_embedding"] + source["embeddings.position_embedding.weight"][0]
    first = (first - first.mean()) / first.std(unbiased=False) * gain + shift
    places[0] = 0
    own.position_embedding.copy_(places[None])
    own.class_embedding.copy_(first[None, None])
    layers: list[Any] = list(blip.encoder.layers)
    for i, layer in enumerate(layers):
        old = f"encoder.layers.{i}."
        for part in ("weight", "bias"):
            heads = [source[f"{old}self_attn.{n}_proj.{part}"] for n in ("q", "k", "v")]
            getattr(layer.self_attn.qkv, part).copy_(torch.cat(heads))
            for new, was in (
                (layer.self_attn.projection, "self_attn.out_proj"),
                (layer.layer_norm1, "layer_norm1"),
                (layer.layer_norm2, "layer_norm2"),
                (layer.mlp.fc1, "mlp.fc1"),
                (layer.mlp.fc2, "mlp.fc2"),
            ):
                getattr(new, part).copy_(source[f"{old}{was}.{part}"])
    for part in ("weight", "bias"):
        getattr(blip.post_layernorm, part).copy_(source[f"post_layernorm.{part}"])
