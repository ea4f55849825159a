"""Weights that are cut up among processes (FSDP, ZeRO-3), put together and handed on.

A model that was cut up is of no use to one process alone: what it learned is gathered in a file,
for a model that is opened anew. Knows nothing of learners or runs.
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from finetune.distributed import processes
from tools.whole import whole_file

__all__ = ["BEST", "LAST", "cut_up", "gather", "name_layers"]

BEST, LAST = "best.safetensors", "last.safetensors"
"""What was learned at the lowest validation loss, and in the end; beside the checkpoints."""


def cut_up() -> bool:
    """Whether each process holds only a part of every weight."""
    zero3 = os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE") == "3"
    return processes.engine() == "fsdp" or (processes.engine() == "deepspeed" and zero3)


def gather(model: nn.Module, path: Path) -> None:
    """Write the weights of ``model`` that train to ``path``, whole. All processes must ask."""
    weights = {name: _whole(p) for name, p in model.named_parameters() if p.requires_grad}

    def write() -> None:
        with whole_file(path, durable=True) as place:
            save_file(weights, place)

    processes.once(write)


def name_layers(model: nn.Module) -> None:
    """Tell accelerate what FSDP gathers at once: a layer of each stack that is in ``model``.

    It would ask transformers, which also names layers that a model of this kind may lack.
    """
    stacks = [part for part in model.modules() if isinstance(part, nn.ModuleList)]
    names = {type(layer).__name__ for stack in stacks for layer in stack}
    os.environ["FSDP_TRANSFORMER_CLS_TO_WRAP"] = ",".join(sorted(names))


def _whole(parameter: Any) -> Tensor:
    gathering: Any = nullcontext()
    if hasattr(parameter, "ds_id"):
        from deepspeed.zero import GatheredParameters  # type: ignore[import-not-found]

        gathering = GatheredParameters([parameter])
    with gathering:
        whole = parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter
        return whole.detach().cpu().clone().contiguous()
