"""Whether gradients reach what is trained.

Knows nothing of loops.
"""

from __future__ import annotations

import re

from torch import nn

from tools.errors import TrainingFailed

__all__ = ["check_gradients"]


def check_gradients(model: nn.Module) -> None:
    """Raises :class:`TrainingFailed` if a LoRA matrix B gets no gradient.

    B starts at zero and A at random, so the first step already gives every B a gradient; a
    quantised layer that lets none through would go unnoticed, for the loss still falls.
    """
    dead = [
        name
        for name, p in model.named_parameters()
        if re.search(r"\.lora_B\.", name)
        and p.requires_grad
        and (p.grad is None or not p.grad.any())
    ]
    if dead:
        raise TrainingFailed(
            f"{len(dead)} LoRA layers get no gradient ({dead[0]}…): this machine's 4-bit kernels "
            "let none through; train with `lora` in place of `qlora`."
        )
