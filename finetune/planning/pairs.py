"""The memory that training a captioner or an embedder takes: pairs of a picture and a text.

The learner itself is rehearsed, with a model that has no weights, on the longest texts there are.
Knows nothing of what is free.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import cycle, islice

import torch
from PIL import Image
from transformers import AutoModel

from finetune.data import Report, Row, Table
from finetune.learners.captioning import CaptionLearner
from finetune.learners.contrastive import EmbedderLearner
from finetune.learners.speaking import Speaker, open_speaker
from finetune.planning.forecast import Forecast
from finetune.planning.four_bits import Packed, packed
from finetune.planning.rehearsal import EMBEDDERS, fused, held_by
from finetune.settings.schema import Settings
from finetune.training.collate import Shown
from tools.config import ModelChoice
from tools.models.embedder import TransformersEmbedder
from tools.models.loading import load_processor, load_skeleton, quiet
from tools.models.sources import locate

__all__ = ["of_pairs", "of_speaker"]

_HOLES = {"embedder": 1.7, "captioner": 3.4}
"""Bytes that a CPU's allocator holds for one of activations: what is freed between two that stay is
seldom of use to the next. Measured with glibc 2.36 (1.0 where it maps every block); most where LoRA
is on what attends to all patches, which frees three for one that stays."""


def of_pairs(settings: Settings, rows: Sequence[Row]) -> Forecast | None:
    """What training on ``rows`` will take; None for a model that is not rehearsed.

    Raises :class:`SettingsError` for a captioner that is not trained, and :class:`DataError` for
    rows that it can't learn from.
    """
    if settings.role == "captioner":
        return of_speaker(open_speaker(settings, weights=False), settings, rows)
    if locate(ModelChoice(settings.model.embedder)).model_type in EMBEDDERS:
        return _of_embedder(settings, rows)
    return None


class _Blank(Shown):
    """A row whose picture nobody opens: what it shows changes no shape."""

    def image(self) -> Image.Image:
        return Image.new("RGB", (512, 512))


def _of_embedder(settings: Settings, rows: Sequence[Row]) -> Forecast:
    located = locate(ModelChoice(settings.model.embedder))
    model = load_skeleton(located, AutoModel, dtype=torch.float32)
    fused(model)
    embedder = TransformersEmbedder(located, model, load_processor(located))
    embedder.logit_scale, embedder.logit_bias = 1.0, 0.0  # any: no number is computed
    learner = EmbedderLearner(settings, Table(tuple(rows), Report()), rows, embedder)
    shown = _longest(settings, rows, lambda row: len(row.label or row.answer or ""))
    batch = learner.collate(shown)
    texts, tokens = batch["text_input_ids"].shape
    words = f"{len(shown)} pictures and {texts} texts of up to {tokens} tokens"
    return _forecast(learner, shown, tokens=tokens, shown=words, four_bits=Packed())


def of_speaker(speaker: Speaker, settings: Settings, rows: Sequence[Row]) -> Forecast:
    """What training ``speaker``, whose model is on the meta device, will take."""
    model = speaker.captioner.model
    if speaker.located.model_type == "blip-2":  # BLIP's attention has no other form
        fused(model)
    four_bits = packed(speaker.located, model, speaker.hardware, settings)
    learner = CaptionLearner(settings, rows, speaker)
    model.to(speaker.hardware.torch_dtype)  # what trains is float32, and computes in this
    shown = _longest(settings, rows, lambda row: len(learner.ids(row)))
    tokens = max(len(learner.ids(one.row)) for one in shown) - len(speaker.before) + 1
    words = f"{len(shown)} pictures with captions of up to {tokens} tokens"
    return _forecast(learner, shown, tokens=tokens, shown=words, four_bits=four_bits)


def _longest(settings: Settings, rows: Sequence[Row], size: Callable[[Row], int]) -> list[Shown]:
    """A batch of the longest texts, as different ones as there are."""
    different = {row.label or row.answer: row for row in rows}.values()
    longest = sorted(different, key=size, reverse=True)[: settings.training.batch]
    return [_Blank(row) for row in islice(cycle(longest), settings.training.batch)]


def _forecast(
    learner: CaptionLearner | EmbedderLearner,
    items: Sequence[Shown],
    *,
    tokens: int,
    shown: str,
    four_bits: Packed,
) -> Forecast:
    model, settings, hardware = learner.model, learner.settings, learner.hardware
    size = hardware.torch_dtype.itemsize
    trained = sum(share.trained for share in learner.adapted.shares())
    added = re.compile(r"\.lora_|\.modules_to_save\.")  # what PEFT has put beside the model's own
    weights = sum(p.numel() for name, p in model.named_parameters() if not added.search(name))
    batch = learner.collate(items)
    with quiet():
        step = held_by(
            model,
            lambda: learner.loss(batch),
            checkpointing=settings.training.checkpointing is True,
        )
    gradients = trained * size
    holes = _HOLES[settings.role] if hardware.device == "cpu" else 1
    return Forecast.of(
        learner.located,
        hardware,
        settings,
        trained=trained,
        tokens=tokens,
        shown=shown,
        weights=weights * size - four_bits.saved,
        step=round(holes * (step - gradients)) + gradients + four_bits.moment,
    )
