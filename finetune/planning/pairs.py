"""The memory that training a captioner or an embedder takes: pairs of a picture and a text.

The learner's own loss is rehearsed on tensors of the shapes that its collator makes, of the longest
texts there are. Knows nothing of what is free.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import AutoModel, AutoModelForImageTextToText

from finetune.data import Row
from finetune.learners.captioning import CaptionLearner
from finetune.learners.contrastive import EmbedderLearner
from finetune.learners.fitting import Batch, Fitting
from finetune.planning.forecast import Forecast
from finetune.planning.rehearsal import fused, held_by
from finetune.settings.schema import Settings
from tools.config import ModelChoice
from tools.models.hardware import Hardware, choose_hardware
from tools.models.loading import load_processor, load_skeleton, quiet
from tools.models.sources import Located, locate

__all__ = ["of_pairs"]

_HOLES = {"embedder": 1.7, "captioner": 3.4}
"""Bytes that a CPU's allocator holds for one of activations: what is freed between two that stay is
seldom of use to the next. Measured with glibc 2.36 (1.0 where it maps every block); most where LoRA
is on what attends to all patches, which frees three for one that stays."""


def of_pairs(settings: Settings, rows: Sequence[Row]) -> Forecast | None:
    """What training on ``rows`` will take; None for a model that is not rehearsed."""
    located = locate(ModelChoice(settings.base_model))
    if settings.role == "embedder" and located.model_type in ("clip", "siglip"):
        return _forecast(_Embedder(settings, located, rows))
    if settings.role == "captioner" and located.model_type == "blip":
        return _forecast(_Captioner(settings, located, rows))
    return None


class _Embedder(EmbedderLearner):
    """An embedder's learner without weights: its loss can be rehearsed, and nothing else done."""

    def __init__(self, settings: Settings, located: Located, rows: Sequence[Row]) -> None:
        self.classes = tuple(sorted({row.label for row in rows if row.label is not None}))
        self._taught = list(rows)
        self.embedder: Any = SimpleNamespace(logit_scale=1.0, logit_bias=0.0)
        hardware = Hardware(choose_hardware().device, "float32", "both towers train")
        model = load_skeleton(located, AutoModel, dtype=hardware.torch_dtype)
        fused(model)
        processor = load_processor(located)
        batch = settings.training.batch
        longest = sorted({row.label or row.answer or "" for row in rows}, key=len)[-batch:]
        said = self._said(self._compared(longest))
        self.texts, self.tokens = len(said), _tokens(model, processor.tokenizer, said)
        self.picture = _picture(processor)
        self.shown = f"{batch} pictures and {self.texts} texts of up to {self.tokens} tokens"
        Fitting.__init__(self, settings, located, model, hardware)

    def blank(self) -> Batch:
        """A batch of the shapes of :meth:`collate`'s."""
        batch = self.settings.training.batch
        ids = torch.empty((self.texts, self.tokens), dtype=torch.long, device="meta")
        return {
            "picture_pixel_values": self.picture.expand(batch, -1, -1, -1).clone(),
            "text_input_ids": ids,
            "labels": torch.empty(batch, dtype=torch.long, device="meta"),
        }


class _Captioner(CaptionLearner):
    """The same of a captioner."""

    def __init__(self, settings: Settings, located: Located, rows: Sequence[Row]) -> None:
        hardware = choose_hardware().for_size(sum(p.stat().st_size for p in located.weights))
        model = load_skeleton(located, AutoModelForImageTextToText, dtype=hardware.torch_dtype)
        processor = load_processor(located)
        captions = [row.answer or "" for row in rows]
        self.tokens = _tokens(model, processor.tokenizer, captions)
        self.picture = _picture(processor)
        batch = settings.training.batch
        self.shown = f"{batch} pictures with captions of up to {self.tokens} tokens"
        Fitting.__init__(self, settings, located, model, hardware)
        model.to(hardware.torch_dtype)  # what trains is float32 as it trains, and computes in this

    def blank(self) -> Batch:
        """A batch of the shapes of :meth:`collate`'s."""
        batch = self.settings.training.batch
        ids = torch.empty((batch, self.tokens), dtype=torch.long, device="meta")
        pictures = self.picture.expand(batch, -1, -1, -1).clone()
        return {
            "pixel_values": pictures,
            "input_ids": ids,
            "attention_mask": torch.empty_like(ids),
            "labels": torch.empty_like(ids),
        }


def _forecast(learner: _Embedder | _Captioner) -> Forecast:
    model, training = learner.model, learner.settings.training
    trained = sum(share.trained for share in learner.adapted.shares())
    weights = sum(p.numel() for name, p in model.named_parameters() if ".lora_" not in name)
    hardware = learner._hardware
    with quiet():
        step = held_by(
            model,
            lambda: learner.loss(learner.blank()),
            checkpointing=training.checkpointing is True,
        )
    gradients = trained * hardware.torch_dtype.itemsize
    holes = _HOLES[learner.settings.role] if hardware.device == "cpu" else 1
    return Forecast.of(
        learner.located,
        hardware,
        learner.settings,
        trained=trained,
        tokens=learner.tokens,
        shown=learner.shown,
        weights=weights * hardware.torch_dtype.itemsize,
        step=round(holes * (step - gradients)) + gradients,
    )


def _tokens(model: Any, tokenizer: Any, texts: Sequence[str]) -> int:
    """Of the longest, start and end among them, as far as the model reads."""
    most = min(int(model.config.text_config.max_position_embeddings), tokenizer.model_max_length)
    if model.config.model_type == "siglip":  # which is given all texts as long
        return most
    return min(most, max(len(ids) for ids in tokenizer(list(texts))["input_ids"]))


def _picture(processor: Any) -> Tensor:
    """One (1, 3, side, side) as a model is given it, without its values."""
    seen = processor.image_processor(images=[Image.new("RGB", (512, 512))], return_tensors="pt")
    found: Tensor = seen["pixel_values"].to("meta")
    return found
