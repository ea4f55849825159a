"""LoRA in one step forward and one back, without the sums in between that PEFT makes.

y = x Wᵀ + s (x Aᵀ) Bᵀ is added up in place, and of what is kept for the way back only x Aᵀ is new.
Knows nothing of models: it takes PEFT's layers where they are plain ones, and leaves the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

__all__ = ["in_place_of", "lora_in_one_step"]

Forward = Callable[..., Tensor]


@contextmanager
def lora_in_one_step(model: nn.Module) -> Iterator[int]:
    """Inside the block, plain LoRA layers of ``model`` compute so; yields how many."""
    from peft.tuners.lora.layer import Linear

    found = [part for part in model.modules() if type(part) is Linear and _plain(part)]
    with ExitStack() as stack:
        for layer in found:
            stack.enter_context(in_place_of(layer, _in_one_step(layer)))
        yield len(found)


@contextmanager
def in_place_of(part: Any, forward: Forward) -> Iterator[None]:
    """Inside the block, ``part`` computes by ``forward``."""
    before = part.__dict__.get("forward")
    part.forward = forward
    try:
        yield
    finally:
        if before is None:
            del part.forward  # the class's own is there again
        else:
            part.forward = before


def _plain(layer: Any) -> bool:
    """Whether it is one matrix and one pair of LoRA, with nothing else between them."""
    names = layer.active_adapters
    return (
        type(layer.base_layer) is nn.Linear
        and not layer.base_layer.weight.requires_grad
        and len(names) == 1
        and names[0] in layer.lora_A
        and names[0] not in layer.lora_variant
        and isinstance(layer.lora_dropout[names[0]], nn.Identity)
        and layer.lora_B[names[0]].bias is None
    )


def _in_one_step(layer: Any) -> Forward:
    (name,) = layer.active_adapters
    base, low, high = layer.base_layer, layer.lora_A[name], layer.lora_B[name]
    theirs, scale = layer.forward, float(layer.scaling[name])

    def computed(x: Tensor, *args: Any, **keywords: Any) -> Tensor:
        one = {x.dtype, base.weight.dtype, low.weight.dtype, high.weight.dtype}
        if layer.disable_adapters or layer.merged or len(one) > 1 or keywords or args:
            return theirs(x, *args, **keywords)
        if torch.is_autocast_enabled(x.device.type):
            return theirs(x)
        return _Lora.apply(x, base.weight, base.bias, low.weight, high.weight, scale)

    return computed


class _Lora(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        low: Tensor,
        high: Tensor,
        s: float,
    ) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        between = rows @ low.t()
        out = F.linear(rows, weight, bias).addmm_(between, high.t(), alpha=s)
        ctx.save_for_backward(rows, between, weight, low, high)
        ctx.s, ctx.shape = s, x.shape
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        rows, between, weight, low, high = ctx.saved_tensors
        rows_gradient = gradient.reshape(-1, gradient.shape[-1])
        back = (rows_gradient @ high).mul_(ctx.s)
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = (rows_gradient @ weight).addmm_(back, low).view(ctx.shape)
        of_high = (rows_gradient.t() @ between).mul_(ctx.s)
        return of_x, None, None, back.t() @ rows, of_high, None
