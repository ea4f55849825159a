"""A linear head on the embedder, which starts from the classes' names; then its last layers too.

The head alone trains first; after every so many epochs the next layer of the vision tower from
the top joins in (gradual unfreezing; Howard & Ruder 2018). While no layer trains and pictures are
not changed, their vectors are computed once. Knows nothing of splits or reports.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModel

from finetune.data import Row
from finetune.evaluation.predictions import Prediction
from finetune.learners.learner import Session
from finetune.learners.on_embedder import OnEmbedder
from finetune.settings.schema import Settings
from finetune.training import loop
from finetune.training.augment import augmentation
from finetune.training.collate import Change
from tools.errors import SettingsError, TrainingFailed
from tools.models.hardware import choose_hardware, choose_threads, inference
from tools.models.loading import input_side, load_model, load_processor, shrink

__all__ = ["LinearHead", "LinearLearner"]

_BATCH = 32
_WEIGHTS = "head.safetensors"


class LinearLearner(OnEmbedder):
    """Implements :class:`finetune.learners.learner.Learner`."""

    def __init__(self, settings: Settings, classes: Sequence[str]) -> None:
        super().__init__(settings, classes)
        hardware = choose_hardware().for_vectors()
        if settings.linear.unfreeze_layers:
            hardware = type(hardware)(hardware.device, "float32", "float32: its layers train")
        self._images = load_processor(self.located).image_processor
        self._side = input_side(self._images)
        names = torch.from_numpy(self.sight.words(list(classes)))
        tower = load_model(self.located, AutoModel, hardware)
        scale = float(self.sight.embedder.logit_scale)
        self._head = LinearHead(tower, names, scale, settings.linear.unfreeze_layers)
        self._threads = choose_threads(tower)
        self._start = {n: p.detach().clone() for n, p in self._head.trained().items()}
        self._vectors: dict[tuple[Any, ...], Tensor] = {}

    @property
    def head(self) -> nn.Module:
        """``vectors`` or ``pixel_values`` to ``logits``; ``features`` of pixels, by ``tower``."""
        return self._head

    def describe(self) -> dict[str, Any]:
        trained = {n: p.numel() for n, p in self._head.trained().items()}
        head = sum(size for name, size in trained.items() if not name.startswith("tower."))
        tower = sum(p.numel() for p in self._head.tower.parameters())
        return {
            **super().describe(),
            "device": self._head.weight.device.type,
            "trained": [
                {"part": "linear head", "trained": head, "all": head},
                {"part": "embedder", "trained": sum(trained.values()) - head, "all": tower},
            ],
        }

    def fit(self, train: Sequence[Row], val: Sequence[Row], session: Session, fold: int) -> None:
        settings = self.settings
        self._put(self._start)
        change = augmentation(settings.augmentation, settings.training.seed)

        def at_epoch(epoch: int) -> None:
            self._head.unfreeze(epoch // settings.linear.unfreeze_every)

        finished = loop.train(
            loop.Job.within(
                session,
                fold,
                self.save,
                model=self._head,
                train=self._dataset(train, change),
                val=self._dataset(val, None) if val else None,
                collate=_collated,
                settings=settings.training,
                groups=self._groups,
                on_epoch=at_epoch,
            )
        )
        self._head.eval()
        if not finished:
            session.check()

    def predict(
        self, rows: Sequence[Row], session: Session, *, base: bool = False
    ) -> list[Prediction]:
        if base:
            return self.by_names(rows)
        found = []
        for part in session.measuring(rows, _BATCH):
            began = time.perf_counter()
            with inference(self._threads):
                pixels = torch.stack([self._pixels(row, None) for row in part])
                logits = self._head(pixel_values=pixels.to(self._head.weight.device))["logits"]
                shares = logits.double().softmax(-1).cpu().numpy()
            seconds = (time.perf_counter() - began) / len(part)
            for row, mine in zip(part, shares, strict=True):
                answer, numbers = self.classes[int(mine.argmax())], tuple(np.round(mine, 6))
                found.append(
                    Prediction(
                        row.photo_id,
                        str(row.path),
                        str(row.label),
                        answer,
                        seconds,
                        tuple(float(x) for x in numbers),
                    )
                )
        return found

    def save(self, folder: Path) -> None:
        self.keep(folder / _WEIGHTS, self._head.trained())

    def load(self, folder: Path) -> None:
        self._put(load_file(folder / _WEIGHTS))

    def _put(self, weights: dict[str, Tensor]) -> None:
        trained = self._head.trained()
        if {n: p.shape for n, p in weights.items()} != {n: p.shape for n, p in trained.items()}:
            raise TrainingFailed(
                f"The head does not fit {self.settings.model.embedder} and these classes: choose "
                "the embedder that it was trained on."
            )
        with torch.no_grad():
            for name, weight in weights.items():
                trained[name].copy_(weight)

    def _groups(self) -> list[dict[str, Any]]:
        trained = self._head.trained()
        tower = [p for n, p in trained.items() if n.startswith("tower.")]
        groups: list[dict[str, Any]] = [{"params": [self._head.weight, self._head.bias]}]
        if tower:
            groups.append({"params": tower, "lr": self.settings.linear.tower_lr})
        return groups

    def _dataset(self, rows: Sequence[Row], change: Change | None) -> _Pictures:
        if self.settings.linear.unfreeze_layers or change is not None:
            return _Pictures(self, rows, change)
        missing = [row for row in rows if row.key not in self._vectors]
        for start in range(0, len(missing), _BATCH):
            part = missing[start : start + _BATCH]
            with inference(self._threads):
                pixels = torch.stack([self._pixels(row, None) for row in part])
                found = self._head.features(pixels.to(self._head.weight.device)).cpu()
            # Cloned: what inference mode makes can take no part in training.
            self._vectors.update((row.key, v.clone()) for row, v in zip(part, found, strict=True))
        return _Pictures(self, rows, None, [self._vectors[row.key].numpy() for row in rows])

    def _pixels(self, row: Row, change: tuple[Change, int, int] | None) -> Tensor:
        image = shrink(row.photo().image, self._side)
        if change is not None:
            image = change[0](image, *change[1:])
        pixels: Tensor = self._images(images=[image], return_tensors="pt")["pixel_values"][0]
        return pixels


class _Pictures(loop.EpochDataset):
    """Rows as vectors where those stay the same, else as pixels."""

    def __init__(
        self,
        learner: LinearLearner,
        rows: Sequence[Row],
        change: Change | None,
        vectors: Sequence[np.ndarray] | None = None,
    ) -> None:
        self._learner, self._rows, self._change = learner, rows, change
        self._vectors = vectors

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> dict[str, Any]:
        row = self._rows[number]
        label = self._learner.classes.index(str(row.label))
        if self._vectors is not None:
            return {"vectors": torch.tensor(self._vectors[number]), "labels": label}
        change = None if self._change is None else (self._change, self.epoch, number)
        return {"pixel_values": self._learner._pixels(row, change), "labels": label}


class LinearHead(nn.Module):
    """Unit vectors to logits; ``weight`` (C, d) starts as the unit vectors of the names."""

    def __init__(self, tower: Any, names: Tensor, scale: float, layers: int) -> None:
        super().__init__()
        self.tower = tower.requires_grad_(False)
        self._layers = _last_layers(tower, layers)
        device = next(tower.parameters()).device
        self.weight = nn.Parameter(names.float().to(device))
        self.bias = nn.Parameter(torch.zeros(len(names), device=device))
        self._scale = scale

    def forward(
        self,
        vectors: Tensor | None = None,
        pixel_values: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> dict[str, Tensor]:
        if vectors is None:
            if pixel_values is None:
                raise ValueError("give vectors or pixel_values")
            vectors = self.features(pixel_values)
        logits = self._scale * F.linear(vectors, self.weight) + self.bias
        found = {"logits": logits}
        return found if labels is None else {"loss": F.cross_entropy(logits, labels), **found}

    def features(self, pixels: Tensor) -> Tensor:
        """(n, d) unit vectors of pictures."""
        made = self.tower.get_image_features(pixel_values=pixels.to(self.tower.dtype))
        return F.normalize(made.pooler_output.float(), dim=-1)

    def unfreeze(self, count: int) -> None:
        """Let the last ``count`` of the layers that may train do so."""
        for number, layer in enumerate(reversed(self._layers)):
            layer.requires_grad_(number < count)

    def trained(self) -> dict[str, nn.Parameter]:
        """The head, and the layers that train sooner or later, by name."""
        ours = {id(p) for layer in self._layers for p in layer.parameters()}
        tower = {f"tower.{n}": p for n, p in self.tower.named_parameters() if id(p) in ours}
        return {"weight": self.weight, "bias": self.bias, **tower}


def _last_layers(tower: Any, count: int) -> list[nn.Module]:
    """The last layers of the vision tower. Raises :class:`SettingsError` if it has fewer."""
    stacks = [
        part
        for name, part in tower.named_modules()
        if isinstance(part, nn.ModuleList) and "vision" in name
    ]
    layers = max((list(stack) for stack in stacks), key=len, default=[])
    if count > len(layers):
        raise SettingsError(
            f"linear.unfreeze_layers: {count}, and the embedder's vision tower has {len(layers)}."
        )
    return layers[len(layers) - count :]


def _collated(items: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
    labels = torch.tensor([item["labels"] for item in items])
    name = next(name for name in items[0] if name != "labels")
    return {name: torch.stack([item[name] for item in items]), "labels": labels}
