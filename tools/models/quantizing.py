"""4-bit NF4 for the language model of a vision-language model, and the proof that it worked.

Knows nothing of roles. The vision tower, the projector and the output layer keep their precision:
that is where 4 bits cost accuracy, and they are a small part of the memory.
"""

import importlib
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tools.errors import ModelFailed
from tools.models.hardware import Hardware
from tools.models.sources import Located

__all__ = [
    "check_quantized",
    "count_quantized",
    "import_bitsandbytes",
    "keep_unpackable",
    "kept_packed",
    "nf4_config",
]

_LANGUAGE = ("language_model", "text_model")


def nf4_config(located: Located, auto_class: Any, hardware: Hardware) -> Any:
    """A ``BitsAndBytesConfig`` for this architecture (Dettmers et al. 2023, QLoRA: NF4 with
    double quantization). Raises ValueError where no language model can be told apart."""
    from transformers import BitsAndBytesConfig

    from tools.models.loading import load_skeleton

    import_bitsandbytes()
    skeleton = load_skeleton(located, auto_class)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=hardware.torch_dtype,
        # Full names: bare ones would also match modules inside the language model.
        llm_int8_skip_modules=_all_but_language(skeleton),
    )


def import_bitsandbytes() -> None:
    """Import it without its attempt to fetch a CPU kernel from the Hub.

    Where the ``kernels`` package is installed it would download and run native code at import,
    and where it is not it warns; what it has without that kernel is what we use.
    """
    if "bitsandbytes" in sys.modules:
        return
    log = logging.getLogger("bitsandbytes")
    level, had = log.level, sys.modules.get("kernels")
    log.setLevel(logging.ERROR)
    sys.modules["kernels"] = None  # type: ignore[assignment]  # "import kernels" fails
    try:
        importlib.import_module("bitsandbytes")
    finally:
        log.setLevel(level)
        if had is None:
            del sys.modules["kernels"]
        else:
            sys.modules["kernels"] = had


def count_quantized(model: Any) -> dict[str, int]:
    """How many ``Linear4bit`` layers each tower has: ``{"model.language_model": 224, …}``."""
    import bitsandbytes as bnb

    return {
        name: sum(isinstance(part, bnb.nn.modules.Linear4bit) for part in tower.modules())
        for name, tower in _towers(model).items()
    }


def check_quantized(located: Located, model: Any) -> None:
    """Raises :class:`ModelFailed` unless the language model, and it alone, is in 4 bits."""
    counts = count_quantized(model)
    elsewhere = [name for name, count in counts.items() if count and not _is_language(name)]
    if elsewhere:
        raise ModelFailed(
            f"{located.source}: {', '.join(elsewhere)} came out in 4 bits, which only the language "
            "model should be; set quantize off for this model."
        )
    if not any(counts.values()):
        raise ModelFailed(
            f"{located.source}: nothing came out in 4 bits (its towers are {', '.join(counts)}); "
            "set quantize off for this model."
        )


def keep_unpackable(model: Any) -> None:
    """Turn bitsandbytes' packed CPU format off where a layer's shape does not fit it.

    On CPUs with AVX512-BF16 it packs weights at the first forward, four times faster, and fails
    on an output not a multiple of 32 or an input not a multiple of its block of 64.
    """
    import bitsandbytes as bnb

    for layer in model.modules():
        if isinstance(layer, bnb.nn.modules.Linear4bit) and (
            layer.out_features % 32 or layer.in_features % 64
        ):
            layer.support_avx512bf16_for_cpu = False


@contextmanager
def kept_packed(model: Any) -> Iterator[None]:
    """Inside it a state dict of ``model`` leaves 4-bit weights in the format they are packed in.

    bitsandbytes 0.50 unpacks them for it, and quantizes the scales of double quantization anew,
    after which the model answers otherwise. PEFT asks for a state dict where it only wants names.
    """
    weights = [getattr(layer, "weight", None) for layer in model.modules()]
    states: list[Any] = [getattr(weight, "quant_state", None) for weight in weights]
    packed = [s for s in states if getattr(s, "packing_format_for_cpu", False)]
    for state in packed:
        state.packing_format_for_cpu = False
    try:
        yield
    finally:
        for state in packed:
            state.packing_format_for_cpu = True


def _towers(model: Any) -> dict[str, Any]:
    """Top-level parts by full name; those of an inner ``model`` each for itself."""
    towers = dict(model.named_children())
    inner = towers.pop("model", None)
    if inner is not None:
        towers |= {f"model.{name}": part for name, part in inner.named_children()}
    return towers


def _is_language(name: str) -> bool:
    return name.rpartition(".")[2] in _LANGUAGE


def _all_but_language(model: Any) -> list[str]:
    towers = _towers(model)
    if not any(_is_language(name) for name in towers):
        raise ValueError(f"no language model to quantize among {', '.join(towers)}")
    last = model.get_output_embeddings()  # BLIP-2 has it in its language model
    return [
        *(name for name in towers if not _is_language(name)),
        *(name for name, part in model.named_modules() if part is last and name not in towers),
    ]
