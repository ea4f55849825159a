"""A run's picture models as ONNX files, checked with onnxruntime on real pictures.

A linear head with CLIP's towers, an embedder's towers, a captioner's eyes. Language models that
write are not among them. Knows nothing of training.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from finetune.export import check_new, merged, pictures_of
from finetune.files import replace_folder, write_json
from finetune.pipeline import make_learner
from finetune.runs import Run
from tools.errors import SettingsError, TrainingFailed
from tools.models.embedder import TransformersEmbedder
from tools.models.loading import load_image_processor, load_processor, quiet

__all__ = ["export_onnx"]

_TOLERANCE = 1e-3
_NEEDED = ("onnx", "onnxscript", "onnxruntime")
_TEXTS = ("a picture", "a picture of a red thing on a table")


class _Called(nn.Module):
    """A function of a model's tensors, as the module that an export takes."""

    def __init__(self, model: nn.Module, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.model = model
        self._function = function

    def forward(self, *tensors: Tensor) -> Tensor:
        return self._function(*tensors)


def export_onnx(run: Run, target: Path) -> dict[str, float]:
    """Write the ONNX files of ``run`` to the folder ``target``, which must be new.

    Returns how far each is from the model at most. Raises :class:`TrainingFailed` where one is
    off, and :class:`SettingsError` for a run that has nothing to export so.
    """
    absent = [name for name in _NEEDED if find_spec(name) is None]
    if absent:
        raise SettingsError(
            f"--format onnx needs {', '.join(absent)}: install them with `pip install "
            "'imprint-assistant[export]'`."
        )
    check_new(target)
    parts, extra = _parts(run)
    off: dict[str, float] = {}

    def fill(folder: Path) -> None:
        for name, (module, names, tensors) in parts.items():
            off[name] = _written(folder / f"{name}.onnx", module, names, tensors)
        extra(folder)

    replace_folder(target, fill)
    return off


def _parts(run: Run) -> tuple[dict[str, Any], Callable[[Path], None]]:
    """Name → module, its inputs' names, and tensors of real inputs; and what else is written."""
    settings = run.settings
    if settings.method == "linear":
        return _of_linear(run)
    if settings.role == "answerer":
        raise SettingsError(
            f"Run {run.name} trained an answerer, which writes: ONNX is for embedders, captioners' "
            "eyes and linear heads; export it with --format merged."
        )
    found = merged(run)
    if settings.role == "embedder":
        embedder = TransformersEmbedder(found.located, found.model, load_processor(found.located))
        processor = load_processor(found.located)
        return _towers(run, embedder), lambda folder: processor.save_pretrained(folder)
    images = load_image_processor(found.located)
    pixels = images(images=pictures_of(run), return_tensors="pt")["pixel_values"]
    eyes = found.model.vision_model
    module = _Called(eyes, lambda p: eyes(pixel_values=p).last_hidden_state)
    return {"vision": (module, ["pixel_values"], (pixels,))}, images.save_pretrained


def _of_linear(run: Run) -> tuple[dict[str, Any], Callable[[Path], None]]:
    learner: Any = make_learner(run.settings, *run.data())
    learner.load(run.folder / "best_model")
    head = learner.head.cpu().float().eval()
    processor = load_processor(learner.located)
    embedder = TransformersEmbedder(learner.located, head.tower, processor)
    parts = _towers(run, embedder)
    _, _, (pixels,) = parts["vision"]
    with torch.inference_mode():
        vectors = head.features(pixels)
    module = _Called(head, lambda v: head(vectors=v)["logits"])
    parts["head"] = (module, ["vectors"], (vectors.clone(),))

    def extra(folder: Path) -> None:
        processor.save_pretrained(folder)
        write_json(folder / "classes.json", list(learner.classes))

    return parts, extra


def _towers(run: Run, embedder: TransformersEmbedder) -> dict[str, Any]:
    """Both towers of an embedder, pixels and ids to unit vectors."""
    model = embedder.model
    pixels = embedder.picture_inputs(pictures_of(run))["pixel_values"]
    texts = embedder.text_inputs(_TEXTS)

    def see(pixel_values: Tensor) -> Tensor:
        return F.normalize(
            model.get_image_features(pixel_values=pixel_values).pooler_output, dim=-1
        )

    def read(*tensors: Tensor) -> Tensor:
        given = dict(zip(texts, tensors, strict=True))
        return F.normalize(model.get_text_features(**given).pooler_output, dim=-1)

    return {
        "vision": (_Called(model, see), ["pixel_values"], (pixels,)),
        "text": (_Called(model, read), list(texts), tuple(texts.values())),
    }


def _written(
    path: Path, module: nn.Module, names: Sequence[str], tensors: tuple[Tensor, ...]
) -> float:
    """Write one file, run it on the tensors and on the first of them alone; how far it is off."""
    import onnxruntime

    module.eval()
    batch = torch.export.Dim("batch", min=1, max=1024)
    length = torch.export.Dim.AUTO
    shapes = tuple(
        {0: batch, 1: length} if t.ndim == 2 and t.dtype == torch.long else {0: batch}
        for t in tensors
    )
    with quiet(), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's, about itself
        torch.onnx.export(
            module, tensors, str(path), input_names=list(names), output_names=["output"],
            dynamic_shapes=(shapes,), dynamo=True, external_data=False, verbose=False,
        )  # fmt: skip
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    off = 0.0
    for some in (tensors, tuple(t[:1] for t in tensors)):
        with torch.no_grad():
            expected = module(*some)
        inputs = {n: t.numpy() for n, t in zip(names, some, strict=True)}
        found = torch.from_numpy(session.run(None, inputs)[0])
        off = max(off, float((found - expected).abs().max() / expected.abs().max()))
    if not off <= _TOLERANCE:
        raise TrainingFailed(
            f"{path.name} is {off:.2g} off in onnxruntime, and {_TOLERANCE:g} is allowed: nothing "
            "was written; export with --format merged."
        )
    return off
