"""From a located folder to a model and its processor: one door for everything transformers raises.

Knows nothing of what the models are for (embedder, captioner, answerer). Nothing here reaches
the network: only folders are loaded, never remote code, and every failure is a
:class:`ModelFailed` of one sentence.
"""

import logging
import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from PIL import Image

from tools.errors import ModelFailed
from tools.models.hardware import Hardware
from tools.models.sources import Located

__all__ = [
    "input_side",
    "load_image_processor",
    "load_model",
    "load_processor",
    "load_skeleton",
    "load_tokenizer",
    "on_device",
    "quiet",
    "shrink",
    "wrong_role",
]

_log = logging.getLogger(__name__)
_SENTENCE_END = re.compile(r"(?<=\w)\.\s|\n")
_OFFLINE = {"local_files_only": True, "trust_remote_code": False}


def load_model(
    located: Located, auto_class: Any, hardware: Hardware, *, quantize: bool = False
) -> Any:
    """The model in evaluation mode on ``hardware``, every weight from the folder.

    ``auto_class`` is a transformers class with ``from_pretrained``; ``quantize`` loads the
    linear layers of its language model in 4-bit NF4. Raises :class:`ModelFailed`.
    """
    hardware = hardware.for_size(sum(path.stat().st_size for path in located.weights))
    keywords: dict[str, Any] = {
        **_OFFLINE,
        "dtype": hardware.torch_dtype,
        "use_safetensors": located.weights[0].suffix == ".safetensors",
        "weights_only": True,
    }
    with quiet(), _failures_of(located):
        if quantize:
            from tools.models.quantizing import nf4_config

            keywords["quantization_config"] = nf4_config(located, auto_class, hardware)
            keywords["device_map"] = {"": hardware.device}
        model, report = auto_class.from_pretrained(
            located.folder,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below, with their names
            **keywords,
        )
    _check_weights(located, type(model).__name__, report)
    if quantize:
        from tools.models.quantizing import check_quantized, keep_unpackable

        check_quantized(located, model)
        keep_unpackable(model)
    else:
        model.to(hardware.device)
    _log.info("%s on %s, %s", located.source, hardware.device, hardware.reason)
    return model.eval()


def load_skeleton(located: Located, auto_class: Any, **keywords: Any) -> Any:
    """The model on the meta device: every name and shape, no weights. Raises ModelFailed."""
    import torch
    from transformers import AutoConfig

    with quiet(), _failures_of(located):
        config = AutoConfig.from_pretrained(located.folder, **_OFFLINE)
        with torch.device("meta"):
            build = getattr(auto_class, "from_config", None) or auto_class._from_config
            return build(config, **keywords)


def load_processor(located: Located) -> Any:
    """Its image processor and tokenizer. Raises :class:`ModelFailed`."""
    from transformers import AutoProcessor

    with quiet(), _failures_of(located):
        processor = AutoProcessor.from_pretrained(located.folder, **_OFFLINE)
    for part in ("image_processor", "tokenizer"):
        if not hasattr(processor, part):
            raise ModelFailed(
                f"{located.source} has no {part.replace('_', ' ')}: its folder needs "
                "preprocessor_config.json and the tokenizer's files; fetch or save it again."
            )
    return processor


def load_image_processor(located: Located) -> Any:
    """The image processor of a model that reads no text. Raises :class:`ModelFailed`."""
    from transformers import AutoImageProcessor

    with quiet(), _failures_of(located):
        return AutoImageProcessor.from_pretrained(located.folder, **_OFFLINE)


def load_tokenizer(located: Located) -> Any:
    """The tokenizer of a model that only reads. Raises :class:`ModelFailed`."""
    from transformers import AutoTokenizer

    with quiet(), _failures_of(located):
        return AutoTokenizer.from_pretrained(located.folder, **_OFFLINE)


def wrong_role(located: Located, role: str, needs: str) -> ModelFailed:
    """The error for a model of another kind than its role needs."""
    kind = located.architecture or "a model of unknown architecture"
    return ModelFailed(
        f"{located.source} is {kind} (model type {located.model_type!r}) and can't be the {role}: "
        f"choose {needs}."
    )


def shrink(image: Image.Image, side: int) -> Image.Image:
    """``image``, its shorter side brought to twice ``side`` if it was longer.

    The processors convert and resample every pixel in float: 25 ms for 1280×960, 250 ms for
    12 megapixels; this takes 1.5 ms. Measured on photographs, vectors keep a cosine of 0.9996
    or more; whole-block averaging alone (``Image.reduce``) is faster and only keeps 0.96, for
    the last block of a row is cut and the picture moves.
    """
    scale = 2 * side / min(image.size)
    if scale >= 1:
        return image
    size = (round(image.width * scale), round(image.height * scale))
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)


def input_side(image_processor: Any) -> int:
    """Side in pixels of what a model looks at, from its image processor."""
    patches = getattr(image_processor, "max_num_patches", None)
    if patches:  # SigLIP 2 NaFlex: any shape of at most so many patches
        return int(patches**0.5 * image_processor.patch_size)
    size = image_processor.size
    return max(int(side) for side in dict(size).values() if side)


def on_device(inputs: Any, model: Any) -> dict[str, Any]:
    """A processor's tensors where ``model`` is, the pictures in its dtype."""
    return {
        name: value.to(model.device, model.dtype if value.is_floating_point() else None)
        for name, value in inputs.items()
    }


@contextmanager
def quiet() -> Iterator[None]:
    """transformers without progress bars and advice while it loads; as it was afterwards."""
    from transformers.utils import logging as their_logging

    bars = their_logging.is_progress_bar_enabled()
    level = their_logging.get_verbosity()
    their_logging.disable_progress_bar()
    their_logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        their_logging.set_verbosity(level)
        if bars:
            their_logging.enable_progress_bar()


def _check_weights(located: Located, architecture: str, report: dict[str, Any]) -> None:
    """transformers fills what a file lacks with random numbers, and warns; that is no model."""
    missing = sorted(report["missing_keys"])
    other_shape = sorted(str(entry[0]) for entry in report["mismatched_keys"])
    problems = []
    if missing:
        problems.append(f"lacks {len(missing)} weights of {architecture} ({missing[0]}…)")
    if other_shape:
        problems.append(
            f"has {len(other_shape)} weights of other shapes than its config.json says "
            f"({other_shape[0]}…)"
        )
    if problems:
        raise ModelFailed(
            f"{located.source} {' and '.join(problems)}: its files are incomplete or of another "
            "model; fetch or save it again."
        )


@contextmanager
def _failures_of(located: Located) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except (
        # What from_pretrained raises for damaged or foreign files, by trying it on such files.
        OSError,
        ValueError,
        RuntimeError,
        LookupError,
        TypeError,
        AttributeError,
        ImportError,
        pickle.UnpicklingError,
        SafetensorError,
    ) as exc:
        sentence = _SENTENCE_END.split(str(exc).strip(), maxsplit=1)[0].rstrip(".:")
        raise ModelFailed(
            f"{located.source} can't be loaded ({sentence or type(exc).__name__}): its files in "
            f"{located.folder} are damaged or not supported; fetch or save it again, or choose "
            "another model."
        ) from exc
