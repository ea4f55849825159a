"""A vision tower that does not train: what it makes of a picture is computed once and kept.

The projector behind it belongs to it as long as it does not train either. Knows nothing of
questions or losses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPooling

from finetune.speed.features import FeatureStore
from finetune.vlm import Vlm
from tools.models.loading import on_device

if TYPE_CHECKING:
    from finetune.training.collate import Shown

__all__ = ["FrozenTower", "Seen", "why_not"]

_FORMAT = "1"
_PARTS = {
    "llava": ("vision_tower", "multi_modal_projector"),
    "idefics3": ("vision_model", "connector"),
    "smolvlm": ("vision_model", "connector"),
}
"""The tower and the projector of each layout whose pictures can be given as features."""


@dataclass(frozen=True)
class Seen:
    """A picture's ``features`` (tokens, width), or what the projector makes them of (tiles,
    patches, width), and the picture's ``size``, which decides on the prompt."""

    features: Tensor
    size: tuple[int, int]


def why_not(vlm: Vlm) -> str | None:
    """Why what the tower of ``vlm`` sees can't be kept; None if it can."""
    parts = _PARTS.get(vlm.located.model_type)
    if parts is None:
        return f"pictures of a {vlm.located.model_type} model can't be given to it as features"
    if any(p.requires_grad for p in getattr(vlm.model.model, parts[0]).parameters()):
        return "the vision tower trains"
    return None


class FrozenTower:
    """Looks at each picture once, and keeps in ``folder`` what it has seen."""

    def __init__(self, vlm: Vlm, folder: Path, *, limit: int) -> None:
        """``limit``: bytes on disk. :func:`why_not` must have nothing against it."""
        self._vlm = vlm
        self._inner: nn.Module = vlm.model.model
        tower, self._projector_name = _PARTS[vlm.located.model_type]
        self._raw = any(p.requires_grad for p in self._projector.parameters())
        frozen = [getattr(self._inner, tower), *([] if self._raw else [self._projector])]
        self._store = FeatureStore(folder, self._way(frozen), limit=limit)
        if self._raw:
            self._hook = self._inner.register_forward_pre_hook(self._project, with_kwargs=True)

    def look(self, items: Sequence[Shown]) -> list[Seen]:
        """What is seen in each; what has not been seen before is computed together."""
        found = [self._read(item) for item in items]
        new = [n for n, seen in enumerate(found) if seen is None]
        for number, seen in zip(new, self._computed([items[n] for n in new]), strict=True):
            found[number] = seen
            size = torch.tensor(seen.size)
            self._store.write(items[number].key, {"features": seen.features, "size": size})
        return [seen for seen in found if seen is not None]

    def batch(self, seen: Sequence[Seen]) -> dict[str, Any]:
        """What the model takes in place of pixels."""
        return _given([s.features for s in seen])

    def close(self) -> None:
        """The model as it was."""
        if self._raw:
            self._hook.remove()

    @property
    def _projector(self) -> nn.Module:
        projector: nn.Module = getattr(self._inner, self._projector_name)
        return projector

    def _read(self, item: Shown) -> Seen | None:
        kept = self._store.read(item.key)
        if kept is None:
            return None
        width, height = kept["size"].tolist()
        return Seen(kept["features"], (width, height))

    def _computed(self, items: Sequence[Shown]) -> list[Seen]:
        if not items:
            return []
        images = [item.image() for item in items]
        inputs = [self._vlm.pixels(image) for image in images]
        shapes = {tuple(t.shape for t in one.values()) for one in inputs}
        if len(shapes) > 1:  # cut into tiles by their own shapes
            features = [f for one in inputs for f in self._features([one])]
        else:
            features = self._features(inputs)
        return [Seen(f, image.size) for f, image in zip(features, images, strict=True)]

    def _features(self, inputs: Sequence[dict[str, Tensor]]) -> list[Tensor]:
        """Of pictures of one shape."""
        pixels = {name: torch.cat([one[name] for one in inputs]) for name in inputs[0]}
        model = self._vlm.model
        raw: list[Tensor] = []
        hook = self._projector.register_forward_pre_hook(lambda _, taken: raw.append(taken[0]))
        half = model.dtype in (torch.bfloat16, torch.float16)
        try:
            # As in training, where the loop computes so.
            with (
                torch.no_grad(),
                torch.autocast(model.device.type, dtype=model.dtype, enabled=half),
            ):
                outputs = self._inner.get_image_features(  # type: ignore[operator]
                    **on_device(pixels, model), return_dict=True
                )
        finally:
            hook.remove()
        if self._raw:
            return list(raw[0].cpu().chunk(len(inputs)))
        return [one.cpu() for one in outputs.pooler_output]

    def _project(self, module: nn.Module, args: Any, keywords: dict[str, Any]) -> Any:
        """In front of the model: features that the projector has still to learn from."""
        given = keywords.get("mm_encoder_outputs")
        if given is None:
            return None
        tiles = torch.cat(list(given["image"].pooler_output))
        projected = self._projector(tiles.to(self._vlm.model.device))
        return args, {**keywords, **_given([projected.flatten(0, 1)])}

    def _way(self, frozen: Sequence[nn.Module]) -> str:
        """A name that changes with anything that changes what is seen."""
        model = self._vlm.model
        digest = hashlib.sha256()
        for text in (
            _FORMAT,
            transformers.__version__,
            model.device.type,
            str(model.dtype),
            model.config.to_json_string(),
            self._vlm.answerer.processor.image_processor.to_json_string(),
            "raw" if self._raw else "projected",
        ):
            digest.update(text.encode() + b"\0")
        for part in frozen:
            for name, weight in part.state_dict().items():
                digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
                digest.update(weight.detach().cpu().contiguous().view(torch.uint8).numpy().data)
        return digest.hexdigest()[:32]


def _given(features: Any) -> dict[str, Any]:
    """As models take the features of pictures, a tensor (tokens, width) each."""
    return {"mm_encoder_outputs": {"image": BaseModelOutputWithPooling(pooler_output=features)}}
