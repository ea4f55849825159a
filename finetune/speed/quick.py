"""What training does not do twice, or at all: put together for a model and its settings.

Every part leaves loss and gradients as they are. Knows nothing of rows or of the loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from finetune.settings.schema import SpeedSettings
from finetune.speed.lora import lora_in_one_step
from finetune.speed.tail import only_where_wanted
from finetune.speed.tower import FrozenTower, why_not
from finetune.vlm import Vlm
from tools.models.hardware import choose_threads

__all__ = ["Quick", "quick", "where_not"]

_LAYOUTS = ("llava", "idefics3", "smolvlm")
"""Whose loss is known to take logits of some places only."""


@dataclass(frozen=True)
class Quick:
    """What the collator and the data set are made with."""

    tower: FrozenTower | None
    views: int
    supervised_only: bool


@contextmanager
def quick(vlm: Vlm, trained: nn.Module, settings: SpeedSettings, features: Path) -> Iterator[Quick]:
    """``trained``, which is ``vlm`` with what trains, made quick while it trains.

    ``features``: the folder that keeps what a frozen tower sees.
    """
    slow = where_not(vlm, settings)
    with ExitStack() as stack:
        stack.enter_context(_threads(choose_threads(vlm.model)))
        tower = None
        if "cache" not in slow:
            tower = FrozenTower(vlm, features, limit=int(settings.cache_gb * 1e9))
            stack.callback(tower.close)
        if settings.fused_lora:
            stack.enter_context(lora_in_one_step(trained))
        supervised_only = "supervised_only" not in slow
        if supervised_only:
            last = vlm.model.get_decoder().layers[-1]
            stack.enter_context(only_where_wanted(trained, last))
        yield Quick(tower, settings.views if tower is not None else 0, supervised_only)


def where_not(vlm: Vlm, settings: SpeedSettings) -> dict[str, str]:
    """The parts that do not apply, each with the reason."""
    slow = {}
    against = why_not(vlm) if settings.cache else "switched off"
    if against is not None:
        slow["cache"] = against
    if not settings.supervised_only:
        slow["supervised_only"] = "switched off"
    elif vlm.located.model_type not in _LAYOUTS:
        slow["supervised_only"] = f"not tried with a {vlm.located.model_type} model"
    if vlm.packed is not None:
        slow["dequantise"] = vlm.packed
    return slow


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
