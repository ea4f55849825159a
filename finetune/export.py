"""A run's model for use without Imprint: merged into its base, as a folder for transformers alone.

What was learned is merged into the base in float32, never into 4-bit weights, and written in the
base's own type. What was written is read again and must say, of real pictures, what the adapter
said beside the base; else nothing is left. Knows nothing of ONNX (:mod:`finetune.onnx`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import AutoModel, AutoModelForImageTextToText

from finetune.files import replace_folder, write_text
from finetune.methods import adapt
from finetune.runs import Run
from finetune.settings.schema import Settings
from finetune.settings.stages import whole
from tools.config import ModelChoice
from tools.errors import SettingsError, TrainingFailed
from tools.models.hardware import Hardware
from tools.models.loading import load_model, load_processor, quiet
from tools.models.sources import Located, locate

__all__ = [
    "Exported",
    "Merged",
    "check_new",
    "export_merged",
    "located_base",
    "merged",
    "pictures_of",
]

_PICTURES = 4
_MERGED_TOLERANCE = 1e-3
_TOLERANCE = {"float32": 1e-3, "bfloat16": 0.02, "float16": 0.005}
"""How far what is written may be from the adapter, as a share of the logits' range."""


@dataclass(frozen=True)
class Exported:
    """Where it is, and how far its logits are from the adapter's, as a share of their range."""

    folder: Path
    dtype: str
    off: float
    tolerance: float
    pictures: int

    @property
    def words(self) -> str:
        """It, in a line."""
        return (
            f"{self.folder}: {self.dtype}, at most {self.off:.2g} of the logits' range from the "
            f"adapter on {self.pictures} pictures (allowed: {self.tolerance:g})"
        )


@dataclass(frozen=True)
class Merged:
    """A run's model with what it learned in its weights, in float32, and what it said before."""

    model: Any
    located: Located
    inputs: list[dict[str, Any]]
    said: list[Tensor]


def export_merged(run: Run, target: Path) -> Exported:
    """Write the best model of ``run`` to the folder ``target``, which must be new.

    Raises :class:`TrainingFailed` where it would not say what the adapter says.
    """
    check_new(target)
    found = merged(run)
    dtype = _dtype_of(found.located)
    tolerance = _TOLERANCE[dtype]
    off = 0.0

    def fill(folder: Path) -> None:
        nonlocal off
        with quiet():
            found.model.to(getattr(torch, dtype)).save_pretrained(folder)
            load_processor(found.located).save_pretrained(folder)
            again, report = _auto(run.settings).from_pretrained(
                folder, dtype=torch.float32, output_loading_info=True, local_files_only=True
            )
        off = _off(found.said, _said(again.eval(), found.inputs))
        if report["missing_keys"] or not off <= tolerance:
            raise TrainingFailed(
                f"The merged model is {off:.2g} of the logits' range from the adapter, and "
                f"{tolerance:g} is allowed in {dtype}: nothing was written; use the adapter itself "
                "(`publish`)."
            )
        write_text(folder / "README.md", _card(run, dtype, off))

    replace_folder(target, fill)
    return Exported(target, dtype, off, tolerance, len(found.said))


def check_new(target: Path) -> None:
    """Raises :class:`TrainingFailed` for a folder that is there already."""
    if target.exists():
        raise TrainingFailed(f"{target} exists already: give --to a folder that does not.")


def merged(run: Run) -> Merged:
    """What was learned in the weights of its base, checked against the adapter beside it."""
    settings = run.settings
    if settings.uses_embedder:
        raise SettingsError(
            f"Run {run.name} is of method {settings.method}, which changes no weights of a model "
            "that could be merged: `--format onnx` exports a linear head with its towers."
        )
    located = located_base(run)
    precise = Hardware("cpu", "float32", "float32: what is merged in less is rounded twice")
    base: Any = SimpleNamespace(
        model=load_model(located, _auto(settings), precise), located=located
    )
    inputs = _inputs(run, located, base.model)
    plain = "lora" if settings.method == "qlora" else settings.method
    adapted = adapt(base, whole(settings).model_copy(update={"method": plain}))
    adapted.load(run.folder / "best_model")
    adapted.model.eval()
    before = _said(adapted.model, inputs)
    model = adapted.model
    if plain == "lora":
        model = model.merge_and_unload()
    off = _off(before, _said(model, inputs))
    if not off <= _MERGED_TOLERANCE:
        raise TrainingFailed(
            f"Merged into {located.source}, what {run.name} learned is {off:.2g} of the logits' "
            f"range off, and {_MERGED_TOLERANCE:g} is allowed: use the adapter itself (`publish`)."
        )
    return Merged(model, located, inputs, before)


def located_base(run: Run) -> Located:
    """The base of ``run``. Raises :class:`TrainingFailed` for another one than it was."""
    if not (run.folder / "best_model").is_dir():
        raise TrainingFailed(
            f"Run {run.name} has no model yet ({run.status}): go on with `runs resume {run.name}`."
        )
    located = locate(ModelChoice(run.settings.base_model))
    trained_on = run.metadata["model"]["base_id"]
    if located.id() != trained_on:
        raise TrainingFailed(
            f"Run {run.name} was trained on {trained_on}, and {located.source} is {located.id()} "
            "now: bring that model back, or train again."
        )
    return located


def pictures_of(run: Run) -> list[Image.Image]:
    """A few of the pictures that measured it."""
    table, plan = run.data()
    rows = table.take(plan.folds[0].test)[:_PICTURES]
    return [row.photo().image for row in rows]


def _inputs(run: Run, located: Located, model: Any) -> list[dict[str, Any]]:
    """What the model is given of each picture: as in use where it is asked something."""
    images, settings = pictures_of(run), run.settings
    if settings.role == "answerer":
        from tools.models.answerer import TransformersAnswerer

        answerer = TransformersAnswerer(located, model, load_processor(located))
        asked = settings.prompt.question.replace("{classes}", ", ".join(run.data()[0].classes))
        return [dict(answerer.inputs(image, asked)) for image in images]
    text = "a picture of" if settings.role == "captioner" else "a picture"
    processor = load_processor(located)
    given = [processor(images=[i], text=[text], return_tensors="pt") for i in images]
    return [{k: v for k, v in one.items() if k != "token_type_ids"} for one in given]


def _said(model: Any, inputs: Sequence[dict[str, Any]]) -> list[Tensor]:
    """Logits of each picture, or the unit vectors of an embedder."""
    with torch.inference_mode():
        found = [model(**one) for one in inputs]
    if hasattr(found[0], "image_embeds") and hasattr(found[0], "text_embeds"):
        return [torch.cat([one.image_embeds, one.text_embeds]).float() for one in found]
    return [one.logits.float() for one in found]


def _off(before: Sequence[Tensor], after: Sequence[Tensor]) -> float:
    """The largest difference, as a share of the range of what was said before."""
    shares = [
        float((a - b).abs().max() / (b.max() - b.min())) for a, b in zip(after, before, strict=True)
    ]
    return max(shares)


def _auto(settings: Settings) -> Any:
    return AutoModel if settings.role == "embedder" else AutoModelForImageTextToText


def _dtype_of(located: Located) -> str:
    """The type its files hold; bfloat16 where they do not say."""
    said = located.config.get("dtype") or located.config.get("torch_dtype") or "bfloat16"
    name = str(said).removeprefix("torch.")
    return name if name in _TOLERANCE else "bfloat16"


def _card(run: Run, dtype: str, off: float) -> str:
    auto = _auto(run.settings).__name__
    report = run.folder / "README.md"
    rest = report.read_text(encoding="utf-8") if report.is_file() else f"# {run.name}\n"
    rest = re.sub(r"\A---\n.*?\n---\n", "", rest, flags=re.DOTALL)
    return f"""---
base_model: {run.settings.base_model}
library_name: transformers
---

# {run.name}, merged

```python
from transformers import {auto}, AutoProcessor

model = {auto}.from_pretrained("FOLDER")
processor = AutoProcessor.from_pretrained("FOLDER")
```

What was learned ({run.settings.method}) is in the weights of {run.settings.base_model}, written in
{dtype}; its logits are at most {off:.2g} of their range from those of the adapter in float32. Of
the run itself:

{rest}"""
