"""The batch that fits, found by trying: a smaller one, accumulated as many times more.

What is learned stays the same, for a step is of as many rows. Knows nothing of the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from accelerate.utils import find_executable_batch_size
from torch import Tensor, nn
from torch.utils.data import Dataset

from finetune.settings.schema import TrainingSettings
from tools.errors import TrainingFailed
from tools.models.loading import on_device

__all__ = ["settings_that_fit"]


def settings_that_fit(
    model: nn.Module,
    rows: Dataset,
    collate: Callable[[Sequence[Any]], dict[str, Tensor]],
    settings: TrainingSettings,
    lengths: Sequence[int] | None = None,
    dtype: torch.dtype = torch.float32,
) -> TrainingSettings:
    """``settings`` with the largest batch, of its divisors, that a step on the longest rows fits.

    ``batch`` times ``accumulation`` stays. ``dtype``: of the weights that do not train. Raises
    :class:`TrainingFailed` if one row does not fit.
    """
    count = len(rows)  # type: ignore[arg-type]
    longest = sorted(range(count), key=lambda i: -(lengths or [0] * count)[i])
    smaller = iter([n for n in range(settings.batch - 1, 0, -1) if settings.batch % n == 0] + [0])

    def tried(batch: int) -> int:
        _step(model, collate([rows[i] for i in longest[:batch]]), dtype)
        return batch

    finder = find_executable_batch_size(
        tried,
        starting_batch_size=settings.batch,
        reduce_batch_size_fn=lambda: next(smaller),
    )
    try:
        batch = int(finder())
    except RuntimeError as exc:
        if "No executable batch size" not in str(exc):
            raise
        raise TrainingFailed(
            "Not even one row at a time fits on the GPU: set training.checkpointing=true, use the "
            "method qlora, shorten the question, or choose a smaller model."
        ) from exc
    finally:
        model.zero_grad(set_to_none=True)
    whole = settings.batch * settings.accumulation
    return settings.model_copy(update={"batch": batch, "accumulation": whole // batch})


def _step(model: nn.Module, batch: dict[str, Tensor], dtype: torch.dtype) -> None:
    """Forward, backward, and Adam's two moments of everything that trains."""
    weights = [p for p in model.parameters() if p.requires_grad]
    moments = [torch.empty_like(p, dtype=torch.float32) for p in weights for _ in range(2)]
    inputs = on_device(batch, model)
    with torch.autocast(str(model.device.type), dtype, enabled=dtype != torch.float32):
        loss = model(**inputs)["loss"]
    loss.backward()
    model.zero_grad(set_to_none=True)
    del moments
