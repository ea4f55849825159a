"""How much memory a training will take at its peak, told before anything is loaded.

The weights are counted from the headers of their files, what trains from the model's shape, and a
step is rehearsed without numbers (:mod:`finetune.planning.rehearsal`). Knows nothing of what the
machine has, but to refuse what can't fit into it (:func:`check_memory`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil, prod
from typing import TYPE_CHECKING, Any

from PIL import Image

from finetune.data import Row
from finetune.planning.machine import free_memory
from finetune.settings import Settings
from tools.config import ModelChoice
from tools.errors import SettingsError
from tools.models.sources import Located, locate

if TYPE_CHECKING:
    from finetune.vlm import Vlm

__all__ = [
    "Forecast",
    "check_memory",
    "forecast",
    "forecast_of",
    "nf4_bytes",
    "parameters_of",
    "planned",
]

_PROCESS = 650_000_000
"""Bytes of Python with torch, transformers, PEFT and the Trainer imported, measured on Linux."""
_GPU_PROCESS = 600_000_000
"""Bytes of a CUDA context with cuBLAS."""
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
_BLOCK, _SECOND_BLOCK = 64, 256
"""Weights that share a scale in NF4, and scales that share one (QLoRA, section 3)."""
_CODE = 4 * (16 + 256)
"""Bytes of a layer's tables of the 16 and the 256 values."""


@dataclass(frozen=True)
class Forecast:
    """Bytes at the peak, by what holds them, on ``device``."""

    device: str
    precision: str
    batch: int
    tokens: int
    """Of the longest row, its picture's among them."""
    trained: int
    """Weights that train."""
    process: int
    weights: int
    """In the precision they have while they train."""
    learning: int
    """float32 masters of what trains, Adam's two moments, and the copy it starts again from."""
    step: int
    """Gradients, activations and logits of a batch, at their most."""
    loading: int
    """The files of the weights, which are in memory while they are read."""

    @property
    def peak(self) -> int:
        """Bytes when most is held: while it is loaded, or while it trains."""
        return self.process + self.weights + max(self.loading, self.learning + self.step)

    @property
    def words(self) -> str:
        """It, in a line."""
        parts = {
            "process": self.process,
            "weights": self.weights,
            "what is learned": self.learning,
            "a batch": self.step,
        }
        shown = ", ".join(f"{name} {_gb(size)}" for name, size in parts.items())
        where = "GPU memory" if self.device == "cuda" else "memory"
        return (
            f"about {_gb(self.peak)} GB of {where} at the peak: {shown} "
            f"({self.batch} rows of up to {self.tokens} tokens)"
        )

    def to_json(self) -> dict[str, Any]:
        """For the run's folder."""
        return {**asdict(self), "peak": self.peak}


def forecast(settings: Settings, rows: Sequence[Row]) -> Forecast | None:
    """What training the answerer on ``rows`` will take; None for what is not forecast.

    Raises what is wrong with the model's files, and with the settings of what trains.
    """
    if not settings.changes_answerer:
        return None
    from transformers import AutoModelForImageTextToText

    from finetune.prompts import Prompts
    from finetune.vlm import Vlm
    from tools.models.answerer import TransformersAnswerer
    from tools.models.hardware import choose_hardware
    from tools.models.loading import load_processor, load_skeleton

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
    few = min(settings.training.batch, len(rows))
    training = settings.training.model_copy(update={"batch": few})
    settings = settings.model_copy(update={"training": training})
    return forecast_of(vlm, settings, tokens=tokens, answer=answer, pixels=pixels)


def forecast_of(vlm: Vlm, settings: Settings, *, tokens: int, answer: int, pixels: int) -> Forecast:
    """What training ``vlm``, whose model is on the meta device, will take.

    ``tokens``: of the longest row, ``answer`` of them its answer's; ``pixels``: the numbers of a
    picture as the model gets it.
    """
    from finetune.methods import adapt
    from finetune.planning.rehearsal import language_model, step_bytes
    from finetune.settings.stages import whole
    from finetune.speed.nf4 import fits_unpacked
    from finetune.speed.quick import where_not

    model, hardware, training = vlm.model, vlm.hardware, settings.training
    size = hardware.torch_dtype.itemsize
    slow = where_not(vlm, settings.speed)
    stored = parameters_of(vlm.located) or {n: p.numel() for n, p in model.named_parameters()}
    weights = sum(stored.values()) * size
    most = 0
    if settings.method == "qlora":
        unpacked, packed, largest = _in_four_bits(vlm)
        if not (settings.speed.dequantise and fits_unpacked(unpacked, hardware.device)):
            weights -= unpacked - packed
            most = largest
    shares = adapt(vlm, whole(settings)).shares()
    trained = sum(share.trained for share in shares)
    masters = 4 * trained if settings.method in ("lora", "qlora") else (4 - size) * trained
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
    return Forecast(
        device=hardware.device,
        precision="nf4" if settings.method == "qlora" else hardware.dtype,
        batch=training.batch,
        tokens=tokens,
        trained=trained,
        process=_GPU_PROCESS if hardware.device == "cuda" else _PROCESS,
        weights=weights,
        learning=masters + (8 + 4) * trained,
        step=max(step + (4 - size) * trained, seeing) + 2 * size * most,
        loading=sum(path.stat().st_size for path in vlm.located.weights),
    )


def parameters_of(located: Located) -> dict[str, int]:
    """Name → number of every weight, from the headers of the safetensors files alone."""
    found: dict[str, int] = {}
    for path in located.weights:
        if path.suffix == ".safetensors":
            with path.open("rb") as file:
                header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
            header.pop("__metadata__", None)
            found |= {name: prod(entry["shape"]) for name, entry in header.items()}
    return found


def nf4_bytes(weights: int) -> int:
    """Bytes of a layer of so many weights in NF4 with double quantisation."""
    scales = ceil(weights / _BLOCK)
    return ceil(weights / 2) + scales + 4 * ceil(scales / _SECOND_BLOCK) + _CODE


def planned(settings: Settings, rows: Sequence[Row]) -> tuple[Settings, Forecast | None]:
    """``settings`` with ``checkpointing: auto`` decided, and what they take.

    Activations are recomputed only where the run does not fit into this machine otherwise.
    """
    plain = _checkpointing(settings, on=False)
    if settings.training.checkpointing != "auto":
        return settings, forecast(settings, rows)
    found = forecast(plain, rows)
    if found is None or _fits(found):
        return plain, found
    saving = _checkpointing(settings, on=True)
    return saving, forecast(saving, rows)


def _checkpointing(settings: Settings, *, on: bool) -> Settings:
    training = settings.training.model_copy(update={"checkpointing": on})
    return settings.model_copy(update={"training": training})


def _fits(found: Forecast) -> bool:
    free = free_memory(found.device)
    return not free or found.peak <= free


def check_memory(found: Forecast) -> None:
    """Raises :class:`SettingsError` with the numbers if it can't fit into this machine."""
    if _fits(found):
        return
    raise SettingsError(
        f"This training would take {found.words}, and {_gb(free_memory(found.device))} GB are "
        "free: lower "
        "training.batch and raise training.accumulation by as much, set training.checkpointing, "
        "use the method qlora, or choose a smaller model (`strategies recommend`); "
        "`--set training.check_memory=false` goes on anyway."
    )


def _in_four_bits(vlm: Vlm) -> tuple[int, int, int]:
    """Bytes of what is quantised: unpacked, in NF4; and the weights of its largest layer."""
    from torch import nn
    from transformers import AutoModelForImageTextToText

    from tools.models.quantizing import nf4_config

    config = nf4_config(vlm.located, AutoModelForImageTextToText, vlm.hardware)
    kept = tuple(f"{name}." for name in config.llm_int8_skip_modules)
    sizes = [
        part.weight.numel()
        for name, part in vlm.model.named_modules()
        if isinstance(part, nn.Linear) and not f"{name}.".startswith(kept)
    ]
    unpacked = sum(sizes) * vlm.hardware.torch_dtype.itemsize
    return unpacked, sum(map(nf4_bytes, sizes)), max(sizes)


def _seeing(config: Any, pixels: int, size: int) -> int:
    """Bytes that the vision tower holds at its widest for one picture of so many numbers."""
    eyes = config.vision_config.to_dict()
    hidden = eyes.get("embed_dim") or eyes["hidden_size"]
    inner = eyes.get("intermediate_size") or int(eyes.get("mlp_ratio", 4) * hidden)
    patches = pixels // (3 * eyes["patch_size"] ** 2)
    return 4 * pixels + patches * (4 * hidden + 2 * inner) * size


def _gb(size: int) -> str:
    return f"{size / 1e9:.2g}" if size < 1e9 else f"{size / 1e9:.1f}"
