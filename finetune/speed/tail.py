"""The end of a language model, computed only where its logits are wanted.

Of the last layer only keys and values are needed at every place: its queries, what its attention
puts out and its MLP matter where a token is predicted, and nowhere else. In a model of four
layers that is a fifth of the work. Knows nothing of losses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from finetune.speed.lora import in_place_of

__all__ = ["only_where_wanted"]

Forward = Callable[..., Tensor]


@contextmanager
def only_where_wanted(model: nn.Module, last_layer: nn.Module) -> Iterator[None]:
    """Inside the block, calls of ``model`` with a mask ``logits_to_keep`` (N, L) leave out what
    ``last_layer`` would compute elsewhere; other calls are as ever."""
    wanted: list[Tensor | None] = [None]

    def remember(module: nn.Module, args: Any, keywords: dict[str, Any]) -> None:
        # Kept until the next call: with checkpointing the layer is computed again going back.
        mask = keywords.get("logits_to_keep")
        masked = isinstance(mask, Tensor) and mask.dtype == torch.bool
        wanted[0] = mask if masked else None

    def limited(forward: Forward) -> Forward:
        def computed(hidden: Tensor) -> Tensor:
            mask = wanted[0]
            if mask is None or mask.shape != hidden.shape[:2]:
                return forward(hidden)
            some = forward(hidden[mask].unsqueeze(0)).squeeze(0)
            whole = some.new_zeros(*mask.shape, some.shape[-1])
            whole[mask] = some
            return whole

        return computed

    with ExitStack() as stack:
        stack.callback(model.register_forward_pre_hook(remember, with_kwargs=True).remove)
        for part in _parts(last_layer):
            stack.enter_context(in_place_of(part, limited(part.forward)))
        yield


def _parts(layer: Any) -> list[nn.Module]:
    attention = getattr(layer, "self_attn", None)
    found = [getattr(attention, name, None) for name in ("q_proj", "o_proj")]
    return [part for part in (*found, getattr(layer, "mlp", None)) if part is not None]
