"""The memory of what is put on an embedder that stays as it is: linear, prototypes, box, maml.

The embedder looks at the pictures some at a time, without a thought of going back; the head that
learns is small, and its step is taken once, on numbers that mean nothing. Knows nothing of what is
free.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor
from transformers import AutoModel

from finetune.data import Row
from finetune.learners.box_head import BoxHead, set_loss
from finetune.learners.linear import LinearHead
from finetune.learners.maml import Initialisation
from finetune.planning.forecast import Forecast, mapped
from finetune.planning.rehearsal import EMBEDDERS, fused, held_by, passing_bytes
from finetune.settings.schema import Settings
from finetune.training.augment import augmentation
from tools.config import ModelChoice
from tools.models.hardware import Hardware, choose_hardware
from tools.models.loading import load_processor, load_skeleton
from tools.models.sources import locate

__all__ = ["of_frozen"]

_AT_ONCE = 32
"""Pictures that every one of these methods has the embedder look at together."""


class _Learned(NamedTuple):
    """Of a head: its weights, the bytes of its step, and those kept of what the embedder saw."""

    trained: int
    step: int
    kept: int
    shown: str


def of_frozen(settings: Settings, rows: Sequence[Row]) -> Forecast | None:
    """What training on ``rows`` will take; None without any, or for a model not rehearsed."""
    located = locate(ModelChoice(settings.model.embedder))
    if not rows or located.model_type not in EMBEDDERS:
        return None
    hardware = choose_hardware().for_vectors()
    if settings.method == "linear" and settings.linear.unfreeze_layers:
        hardware = Hardware(hardware.device, "float32", "its layers train")
    model = load_skeleton(located, AutoModel, dtype=hardware.torch_dtype)
    fused(model)
    images = load_processor(located).image_processor
    blank = images(images=[Image.new("RGB", (512, 512))], return_tensors="pt")["pixel_values"]
    pixels = blank.to("meta", hardware.torch_dtype)
    looking = passing_bytes(model, lambda: _seen(model, settings, _many(pixels, len(rows))))
    learned = _LEARNED[settings.method](settings, rows, model, pixels)
    every = sum(p.numel() for p in model.parameters())
    seeing = sum(p.numel() for name, p in model.named_parameters() if "text" not in name)
    looks = seeing if mapped(located, hardware) else every  # what nobody reads stays in the file
    # Of `linear` the names' embedder, and the tower of its own; of `box` the tower.
    weights = {"linear": every + looks, "box": looks}.get(settings.method, every)
    return Forecast.of(
        located,
        hardware,
        settings,
        trained=learned.trained,
        tokens=0,
        shown=learned.shown,
        weights=weights * hardware.torch_dtype.itemsize,
        step=max(looking, learned.step) + learned.kept,
    )


def _many(pixels: Tensor, rows: int) -> Tensor:
    return pixels.expand(min(_AT_ONCE, rows), -1, -1, -1).clone()


def _seen(model: Any, settings: Settings, pixels: Tensor) -> Tensor:
    """What the head gets of pictures: (n, d) vectors, or of `box` the tower's (n, P, d)."""
    if settings.method == "box":
        made = model.vision_model(pixel_values=pixels, output_hidden_states=True)
        found: Tensor = made.hidden_states[-2]
        return found
    found = model.get_image_features(pixel_values=pixels).pooler_output
    return found


def _prototypes(settings: Settings, rows: Sequence[Row], model: Any, pixels: Tensor) -> _Learned:
    kept = 4 * len(rows) * _seen(model, settings, pixels).shape[-1]
    return _Learned(0, 0, kept, f"{min(_AT_ONCE, len(rows))} pictures looked at together")


def _linear(settings: Settings, rows: Sequence[Row], model: Any, pixels: Tensor) -> _Learned:
    linear, batch = settings.linear, settings.training.batch
    width = _seen(model, settings, pixels).shape[-1]
    names = torch.empty((len(_classes(rows)), width), device="meta")
    head = LinearHead(model, names, 1.0, linear.unfreeze_layers)
    head.unfreeze(linear.unfreeze_layers)
    labels = torch.empty(batch, dtype=torch.long, device="meta")
    trained = sum(p.numel() for p in head.trained().values())
    if linear.unfreeze_layers or _changed(settings):
        shown, kept = _many(pixels, batch), 0
        step = held_by(head, lambda: head(pixel_values=shown, labels=labels)["loss"])
        return _Learned(trained, step + shown.nbytes, kept, f"{batch} pictures")
    vectors = torch.empty((batch, width), device="meta")
    step = held_by(head, lambda: head(vectors=vectors, labels=labels)["loss"])
    return _Learned(trained, step, 4 * len(rows) * width, f"{batch} vectors")


def _box(settings: Settings, rows: Sequence[Row], model: Any, pixels: Tensor) -> _Learned:
    batch = settings.training.batch
    _, places, width = _seen(model, settings, pixels).shape
    grid = math.isqrt(places)  # CLIP has a token more, for the whole
    own = settings.box
    head = BoxHead(width, grid, len(_classes(rows)), hidden=own.width, layers=own.layers)
    most = max(1, *(len(row.objects or ()) for row in rows))
    patches = torch.zeros(batch, grid**2, width)
    labels, boxes = torch.zeros(batch, most, dtype=torch.long), torch.rand(batch, most, 4)

    def loss() -> Tensor:
        logits, found = head(patches)
        return set_loss(logits, found, labels, boxes)

    step = held_by(head, loss) + patches.nbytes
    kept = 0 if _changed(settings) else 2 * len(rows) * grid**2 * width
    trained = sum(p.numel() for p in head.parameters())
    return _Learned(trained, step, kept, f"{batch} pictures of {grid**2} patches")


def _maml(settings: Settings, rows: Sequence[Row], model: Any, pixels: Tensor) -> _Learned:
    maml, batch = settings.maml, settings.training.batch
    width = _seen(model, settings, pixels).shape[-1]
    start = Initialisation(maml, width)
    shown, asked = (torch.arange(maml.ways).repeat(n) for n in (maml.shots, maml.queries))
    one = {
        "support": torch.rand(len(shown), width),
        "shown": shown,
        "queries": torch.rand(len(asked), width),
    }
    step = held_by(start, lambda: start(asked.expand(batch, -1), [one] * batch)["loss"])
    step += batch * (one["support"].nbytes + one["queries"].nbytes)
    trained = sum(p.numel() for p in start.parameters())
    words = f"{batch} episodes of {len(shown) + len(asked)} pictures"
    return _Learned(trained, step, 4 * len(rows) * width, words)


_LEARNED = {"prototypes": _prototypes, "linear": _linear, "box": _box, "maml": _maml}


def _changed(settings: Settings) -> bool:
    """Whether pictures change, so that nothing the embedder saw of them can be kept."""
    return augmentation(settings.augmentation, 0) is not None


def _classes(rows: Sequence[Row]) -> set[str]:
    return {label for row in rows for label in row.labels}
