"""A captioner as training needs it: its model, and the ids around a caption.

Which models are trained to caption is said here, and refused before anything is loaded. Knows
nothing of rows, losses or adapters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers import AutoModelForImageTextToText

from finetune.settings.schema import Method, Settings
from finetune.speed.nf4 import trainable
from tools.config import ModelChoice
from tools.errors import SettingsError
from tools.models.captioner import TransformersCaptioner
from tools.models.hardware import Hardware, choose_hardware
from tools.models.loading import load_model, load_processor, load_skeleton
from tools.models.sources import Located, locate

__all__ = ["Speaker", "open_speaker"]

_METHODS: dict[str, tuple[Method, ...]] = {
    "blip": ("lora", "full"),
    "blip-2": ("lora", "qlora", "projector", "full"),
}
"""What is trained of which type of model: a BLIP's picture goes straight into its decoder."""


@dataclass(frozen=True)
class Speaker:
    """An opened captioner. ``before``: the ids it is given before it says anything; ``end``: with
    which it ends; ``longest``: ids that fit."""

    located: Located
    hardware: Hardware
    captioner: TransformersCaptioner
    before: tuple[int, ...]
    end: int
    pad: int
    longest: int
    precision: str

    @property
    def marks(self) -> frozenset[int]:
        """The ids that are no words."""
        return frozenset({*self.before, self.end, self.pad})

    def only_last(self, places: int) -> dict[str, int]:
        """What the model is told to compute logits of the last ``places`` only, if it can be."""
        return {"logits_to_keep": places} if self.located.model_type == "blip-2" else {}


def open_speaker(settings: Settings, *, weights: bool = True) -> Speaker:
    """The captioner of ``settings``, in 4 bits for `qlora`.

    ``weights``: False for the model on the meta device, of which everything is known but what it
    says. Raises :class:`SettingsError` for what is not trained to caption.
    """
    located = _trainable(settings)
    hardware = choose_hardware().for_size(sum(p.stat().st_size for p in located.weights))
    auto, quantize = AutoModelForImageTextToText, settings.method == "qlora"
    if weights:
        model = load_model(located, auto, hardware, quantize=quantize)
        if quantize:
            trainable(model, dequantise=settings.speed.dequantise)
    else:
        model = load_skeleton(located, auto, dtype=hardware.torch_dtype)
    captioner = TransformersCaptioner(located, model, load_processor(located))
    text = model.config.text_config
    before, end = _around(model, captioner.tokenizer)
    return Speaker(
        located,
        hardware,
        captioner,
        before,
        end,
        int(text.pad_token_id),
        int(text.max_position_embeddings),
        f"nf4, computing in {hardware.dtype}" if quantize else hardware.dtype,
    )


def _around(model: Any, tokenizer: Any) -> tuple[tuple[int, ...], int]:
    """What ``generate`` gives the model without a prompt, and the id at which it stops."""
    config, text = model.config, model.config.text_config
    if config.model_type == "blip":
        return (int(text.bos_token_id),), int(text.sep_token_id)
    places = [int(config.image_token_id)] * int(config.num_query_tokens)
    ends = model.language_model.generation_config.eos_token_id
    end = ends[0] if isinstance(ends, list) else ends
    return (*places, int(text.bos_token_id)), int(tokenizer.eos_token_id if end is None else end)


def _trainable(settings: Settings) -> Located:
    source = settings.model.captioner
    located = locate(ModelChoice(source))
    methods = _METHODS.get(located.model_type)
    if methods is None:
        raise SettingsError(
            f"model.captioner: {source} is a {located.model_type} model, and only a BLIP or a "
            "BLIP-2 is trained to caption; choose one, or train the answerer on captions."
        )
    reads = str(located.config.get("text_config", {}).get("model_type", "opt"))
    if located.model_type == "blip-2" and reads != "opt":
        raise SettingsError(
            f"model.captioner: {source} is a BLIP-2 that writes with a {reads} model, and only one "
            "with an OPT is trained to caption; choose Salesforce/blip2-opt-2.7b."
        )
    if settings.method not in methods:
        raise SettingsError(
            f"model.captioner: {source} is a {located.model_type} model, which is trained by "
            f"{' or '.join(methods)}, not by {settings.method}."
        )
    return located
