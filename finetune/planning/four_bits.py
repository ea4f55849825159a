"""What a language model in 4 bits takes instead of what its weights take unpacked.

Knows nothing of steps or of what is free, but whether the weights will be unpacked once.
"""

from __future__ import annotations

from math import ceil
from typing import Any, NamedTuple

from torch import nn
from transformers import AutoModelForImageTextToText

from finetune.settings.schema import Settings
from finetune.speed.nf4 import fits_unpacked
from tools.models.hardware import Hardware
from tools.models.quantizing import nf4_config
from tools.models.sources import Located

__all__ = ["Packed", "nf4_bytes", "packed"]

_BLOCK, _SECOND_BLOCK = 64, 256
"""Weights that share a scale in NF4, and scales that share one (QLoRA, section 3)."""
_CODE = 4 * (16 + 256)
"""Bytes of a layer's tables of the 16 and the 256 values."""


class Packed(NamedTuple):
    """Bytes: of all weights less than unpacked, and of the layers unpacked for a moment."""

    saved: int = 0
    moment: int = 0


def packed(located: Located, model: Any, hardware: Hardware, settings: Settings) -> Packed:
    """Of ``model``, on the meta device and without adapters; nothing where it trains unpacked."""
    if settings.method != "qlora":
        return Packed()
    config = nf4_config(located, AutoModelForImageTextToText, hardware)
    kept = tuple(f"{name}." for name in config.llm_int8_skip_modules)
    sizes = [
        part.weight.numel()
        for name, part in model.named_modules()
        if isinstance(part, nn.Linear) and not f"{name}.".startswith(kept)
    ]
    size = hardware.torch_dtype.itemsize
    unpacked = sum(sizes) * size
    if settings.speed.dequantise and fits_unpacked(unpacked, hardware.device):
        return Packed()
    # A layer is unpacked forward and again on the way back, where the next one may be still held.
    return Packed(unpacked - sum(map(nf4_bytes, sizes)), 2 * max(sizes) * size)


def nf4_bytes(weights: int) -> int:
    """Bytes of a layer of so many weights in NF4 with double quantisation."""
    scales = ceil(weights / _BLOCK)
    return ceil(weights / 2) + scales + 4 * ceil(scales / _SECOND_BLOCK) + _CODE
