"""A training step without numbers: what memory autograd would hold at its peak.

The model's layers run on the meta device, where tensors have a shape and no values, so that a
model of any size is rehearsed in a second, before anything of it is loaded. Knows nothing of
files, data or what the machine has.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import repeat_kv

__all__ = ["EMBEDDERS", "fused", "held_by", "language_model", "passing_bytes", "step_bytes"]

EMBEDDERS = ("clip", "siglip")
"""The types of embedders whose memory can be told: which are rehearsed as they are."""


def held_by(model: Any, loss: Callable[[], Tensor], *, checkpointing: bool = False) -> int:
    """Bytes that computing ``loss`` and going back from it holds at most, weights not counted.

    ``model``: on the meta device, with what trains marked; from now on it trains. What ``loss``
    gives it is counted where ``loss`` makes it.
    """
    model.train()
    if checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False, "preserve_rng_state": False})
    with _Held(model) as held:
        loss().backward()
    return held.peak


def passing_bytes(model: Any, look: Callable[[], Any]) -> int:
    """Bytes that ``look`` holds at most where nothing is kept to go back from it."""
    model.eval()
    with torch.no_grad(), _Held(model) as held:
        look()
    return held.peak


def fused(model: Any) -> None:
    """Have it compute attention as the kernels of a CPU or GPU do, where it can have it so."""
    AttentionInterface.register("rehearsed", _attention)
    AttentionMaskInterface.register("rehearsed", lambda *args, **keywords: None)
    model.set_attn_implementation("rehearsed")


def language_model(model: Any) -> Any:
    """The part of a vision-language model that reads and writes; None where there is none."""
    inside = getattr(model, "model", model)
    return getattr(inside, "language_model", getattr(inside, "text_model", None))


def step_bytes(
    model: Any,
    reader: Any,
    *,
    dtype: torch.dtype,
    batch: int,
    tokens: int,
    places: int,
    checkpointing: bool,
    inputs: bool,
) -> int:
    """Bytes of gradients, activations and logits when a forward and backward pass holds most.

    ``model``: on the meta device, with what trains marked; it is left in ``dtype``, in which it
    computes. ``places``: tokens of the batch whose logits are computed. Only ``reader``, its
    language model, and its output layer run: what is frozen before them keeps nothing for the
    backward pass, unless ``inputs`` says that something there trains.
    """
    config = model.config.get_text_config()
    model.to(dtype)
    fused(reader)
    shape = (batch, tokens, config.hidden_size)
    needed = inputs or checkpointing
    embedded = torch.empty(shape, dtype=dtype, device="meta", requires_grad=needed)
    right = torch.empty(places, dtype=torch.long, device="meta")

    # Given whole: some readers look at the values of a row of ones and zeros.
    mask = torch.empty((batch, 1, tokens, tokens), dtype=torch.bool, device="meta")

    def loss() -> Tensor:
        seen = reader(inputs_embeds=embedded, attention_mask=mask, use_cache=False)[0]
        logits = model.get_output_embeddings()(seen.flatten(0, 1)[:places])
        found: Tensor = model.loss_function(
            logits=logits, labels=None, vocab_size=config.vocab_size, shift_labels=right
        )
        return found

    return held_by(model, loss, checkpointing=checkpointing)


class _Held(TorchDispatchMode):
    """Counts the bytes of what operations make, for as long as something holds it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        tensors = [*model.parameters(), *model.buffers()]
        self._seen = weakref.WeakSet(tensor.untyped_storage() for tensor in tensors)
        self._now = 0
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if storage not in self._seen:
                    self._seen.add(storage)
                    self._now += storage.nbytes()
                    weakref.finalize(storage, self._gone, storage.nbytes())
        self.peak = max(self.peak, self._now)
        return made

    def _gone(self, size: int) -> None:
        self._now -= size


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *args: Any, **keywords: Any
) -> tuple[Tensor, None]:
    """Attention as the fused kernels of a CPU or GPU do it.

    The meta device has none, and would hold the weights of every token for every other one.
    """
    groups = getattr(module, "num_key_value_groups", 1)
    key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    return _Fused.apply(query, key, value).transpose(1, 2).contiguous(), None


class _Fused(torch.autograd.Function):
    """Keeps what goes in and what comes out, as such a kernel does."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out = query.new_empty((*query.shape[:-1], value.shape[-1]))
        ctx.save_for_backward(query, key, value, out)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        query, key, value, _ = ctx.saved_tensors
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)
