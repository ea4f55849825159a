"""The memory that training an answerer takes: its language model's step, in whatever precision.

Knows nothing of what is free.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image
from transformers import AutoModelForImageTextToText

from finetune.data import Row
from finetune.methods import adapt
from finetune.planning.forecast import Forecast, parameters_of
from finetune.planning.four_bits import packed
from finetune.planning.rehearsal import language_model, step_bytes
from finetune.prompts import Prompts
from finetune.settings.schema import Settings
from finetune.settings.stages import whole
from finetune.speed.quick import where_not
from finetune.vlm import Vlm
from tools.config import ModelChoice
from tools.models.answerer import TransformersAnswerer
from tools.models.hardware import choose_hardware
from tools.models.loading import load_processor, load_skeleton
from tools.models.sources import locate

__all__ = ["forecast_of", "of_answerer"]

_REHEARSED = (
    "idefics2",
    "idefics3",
    "lfm2_vl",
    "llava",
    "paligemma",
    "qwen2_5_vl",
    "qwen2_vl",
    "smolvlm",
)
"""Model types whose language model runs by itself on what it is given, as tests show."""


def of_answerer(settings: Settings, rows: Sequence[Row]) -> Forecast | None:
    """What training it on ``rows`` will take; None for a model that is not rehearsed."""
    located = locate(ModelChoice(settings.model.answerer))
    if located.model_type not in _REHEARSED:
        return None
    hardware = choose_hardware().for_size(sum(p.stat().st_size for p in located.weights))
    dtype = hardware.torch_dtype
    model = load_skeleton(located, AutoModelForImageTextToText, dtype=dtype)
    vlm = Vlm(located, TransformersAnswerer(located, model, load_processor(located)), hardware)
    prompts = Prompts(settings.prompt, sorted({str(r.label) for r in rows if r.label is not None}))
    asked = {prompts.asked(row) for row in rows}
    answers = sorted({prompts.answer(row) for row in rows})
    answer = max(len(vlm.answer_ids(a)) for a in answers)
    tokens = vlm.questions_fit(sorted(asked), answers)
    pixels = vlm.prompt(Image.new("RGB", (512, 512)), min(asked))["pixel_values"].numel()
    return forecast_of(vlm, settings, tokens=tokens, answer=answer, pixels=pixels)


def forecast_of(vlm: Vlm, settings: Settings, *, tokens: int, answer: int, pixels: int) -> Forecast:
    """What training ``vlm``, whose model is on the meta device, will take.

    ``tokens``: of the longest row, ``answer`` of them its answer's; ``pixels``: the numbers of a
    picture as the model gets it.
    """
    model, hardware, training = vlm.model, vlm.hardware, settings.training
    size = hardware.torch_dtype.itemsize
    slow = where_not(vlm, settings.speed)
    stored = parameters_of(vlm.located) or {n: p.numel() for n, p in model.named_parameters()}
    weights = sum(stored.values()) * size
    saved, moment = packed(vlm.located, model, hardware, settings)
    shares = adapt(vlm, whole(settings)).shares()
    trained = sum(share.trained for share in shares)
    step = step_bytes(
        model,
        language_model(model),
        dtype=hardware.torch_dtype,
        batch=training.batch,
        tokens=tokens,
        places=training.batch * (tokens if "supervised_only" in slow else answer),
        checkpointing=training.checkpointing is True,
        inputs=any(share.trained for share in shares if share.part == "projector"),
    )
    seeing = training.batch * _seeing(model.config, pixels, size)
    return Forecast.of(
        vlm.located,
        hardware,
        settings,
        trained=trained,
        tokens=tokens,
        shown=f"{training.batch} rows of up to {tokens} tokens",
        weights=weights - saved,
        step=max(step, seeing - (4 - size) * trained) + moment,
    )


def _seeing(config: Any, pixels: int, size: int) -> int:
    """Bytes that the vision tower holds at its widest for one picture of so many numbers."""
    eyes = config.vision_config.to_dict()
    hidden = eyes.get("embed_dim") or eyes["hidden_size"]
    inner = eyes.get("intermediate_size") or int(eyes.get("mlp_ratio", 4) * hidden)
    patches = pixels // (3 * eyes["patch_size"] ** 2)
    return 4 * pixels + patches * (4 * hidden + 2 * inner) * size
