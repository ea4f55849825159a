"""4-bit weights unpacked once instead of at every step, where there is memory for them.

A layer in 4 bits computes with its weights unpacked, each time anew; unpacked once it computes with
the same values. Knows nothing of training.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from finetune.planning.machine import free_memory
from tools.models.quantizing import import_bitsandbytes

__all__ = ["fits_unpacked", "trainable", "unpack"]

_SHARE = 0.5  # of the free memory, for what training needs beside the weights


def fits_unpacked(needed: int, device: str) -> bool:
    """Whether there is memory for so many bytes of unpacked weights, and for training."""
    free = free_memory(device)
    return not free or needed <= _SHARE * free


def trainable(model: nn.Module, *, dequantise: bool) -> str | None:
    """Have a model that was loaded in 4 bits train; why its weights stay packed, if they do.

    No packed format for CPUs with AVX512-BF16: bitsandbytes 0.50 repacks a layer at its first
    forward in evaluation mode, and gradients through a repacked layer are zero: the loss still
    falls, by the few layers above the last.
    """
    import_bitsandbytes()
    import bitsandbytes as bnb

    for layer in model.modules():
        if isinstance(layer, bnb.nn.modules.Linear4bit):
            layer.support_avx512bf16_for_cpu = False
    return unpack(model) if dequantise else "switched off"


def unpack(model: nn.Module) -> str | None:
    """Put plain layers in place of the 4-bit ones of ``model``, of the same values.

    Returns why it was not done; None if it was.
    """
    import_bitsandbytes()
    import bitsandbytes as bnb

    packed = {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, bnb.nn.modules.Linear4bit)
    }
    needed = sum(_bytes(layer) for layer in packed.values())
    device = next(model.parameters()).device.type
    if not fits_unpacked(needed, device):
        return (
            f"unpacked, the 4-bit weights take {needed / 1e9:.1f} GB, more than half of the "
            f"{free_memory(device) / 1e9:.1f} GB that are free"
        )
    for name, layer in packed.items():
        model.set_submodule(name, _plain(layer))
    return None


def _plain(layer: Any) -> nn.Linear:
    import bitsandbytes as bnb

    weight = bnb.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    with torch.device("meta"):
        plain = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
    plain.weight = nn.Parameter(weight.to(layer.compute_dtype), requires_grad=False)
    if layer.bias is not None:
        plain.bias = nn.Parameter(layer.bias.data.to(layer.compute_dtype), requires_grad=False)
    return plain.train(layer.training)


def _bytes(layer: Any) -> int:
    return int(layer.in_features * layer.out_features * layer.compute_dtype.itemsize)
