"""Finding things: a head on the patches of the embedder's vision tower, which stays as it is.

Every picture is shown whole, in a square, so that a box means the same place in the picture and
in the tower's grid of patches. While pictures are not changed, their patches are computed once.
What the head is and learns by is in :mod:`finetune.learners.box_head`. Knows nothing of splits or
reports.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModel

from finetune.data import Row
from finetune.data.boxes import Boxed, Frame
from finetune.evaluation.boxes import SHOWN
from finetune.evaluation.predictions import Prediction
from finetune.learners.box_head import NO_CLASS, BoxHead, corners, set_loss
from finetune.learners.learner import Session
from finetune.learners.on_embedder import OnEmbedder, with_weights
from finetune.settings.schema import Settings
from finetune.training import loop
from finetune.training.augment import augmentation
from finetune.training.collate import Change
from tools.errors import SettingsError, TrainingFailed
from tools.models.hardware import choose_hardware, choose_threads, inference
from tools.models.loading import input_side, load_model, load_processor

__all__ = ["BoxLearner"]

_BATCH = 32
_WEIGHTS = "boxes.safetensors"
_LAYER = -2  # the last but one, as LLaVA's: the last serves the whole picture's vector
_LEAST = 0.01  # surer boxes are kept; below, they are nearly always nothing


class BoxLearner(OnEmbedder):
    """Implements :class:`finetune.learners.learner.Learner`."""

    base_name = "untrained head"

    def __init__(self, settings: Settings, classes: Sequence[str]) -> None:
        super().__init__(settings, classes)
        change = settings.augmentation
        if change.crop or change.rotation or change.flip:
            raise SettingsError(
                "augmentation: crop, rotation and flip move things away from their boxes; with "
                "method box set them to 0, colour and noise may stay."
            )
        self._images = load_processor(self.located).image_processor
        if getattr(self._images, "max_num_patches", None):
            raise SettingsError(
                f"model.embedder: {settings.model.embedder} cuts each picture into patches of its "
                "own, and boxes need one grid; choose a CLIP or a SigLIP."
            )
        self.side = input_side(self._images)
        self._tower = load_model(self.located, AutoModel, choose_hardware().for_vectors())
        self._threads = choose_threads(self._tower)
        example = self.patches([Image.new("RGB", (self.side, self.side))])
        torch.manual_seed(settings.training.seed)
        self._head = BoxHead(
            example.shape[2],
            math.isqrt(example.shape[1]),
            len(classes),
            hidden=settings.box.width,
            layers=settings.box.layers,
        ).to(example.device)
        self._start = {n: w.clone() for n, w in self._head.state_dict().items()}

    def describe(self) -> dict[str, Any]:
        head = sum(p.numel() for p in self._head.parameters())
        tower = sum(p.numel() for p in self._tower.parameters())
        return {
            **super().describe(),
            "device": self._head.place.device.type,
            "trained": [
                {"part": "box head", "trained": head, "all": head},
                {"part": "embedder", "trained": 0, "all": tower},
            ],
        }

    def fit(self, train: Sequence[Row], val: Sequence[Row], session: Session, fold: int) -> None:
        settings = self.settings
        self._head.load_state_dict(self._start)
        change = augmentation(settings.augmentation, settings.training.seed)

        self._head.train()
        finished = loop.train(
            loop.Job.within(
                session,
                fold,
                self.save,
                model=_Finder(self._head),
                train=_Pictures(self, train, change),
                val=_Pictures(self, val, None) if val else None,
                collate=_collated,
                settings=settings.training,
            )
        )
        self._head.eval()
        if not finished:
            session.check()

    def predict(
        self, rows: Sequence[Row], session: Session, *, base: bool = False
    ) -> list[Prediction]:
        self._head.eval()
        found: list[Prediction] = []
        with with_weights(self._head, self._start) if base else nullcontext():
            for part in session.measuring(rows, _BATCH):
                found += self._found(part)
        return found

    def save(self, folder: Path) -> None:
        self.keep(folder / _WEIGHTS, self._head.state_dict())

    def load(self, folder: Path) -> None:
        try:
            self._head.load_state_dict(load_file(folder / _WEIGHTS))
        except RuntimeError as exc:
            raise TrainingFailed(
                f"The head in {folder} does not fit {self.settings.model.embedder} and these "
                "classes: choose the embedder that it was trained on."
            ) from exc

    def patches(self, squares: Sequence[Image.Image]) -> Tensor:
        """(n, P, d) of pictures in squares: those of the tower's grid, row by row."""
        pixels = self._images(images=list(squares), return_tensors="pt")["pixel_values"]
        with inference(self._threads):
            pixels = pixels.to(self._tower.device, self._tower.dtype)
            made = self._tower.vision_model(pixel_values=pixels, output_hidden_states=True)
            found = made.hidden_states[_LAYER].float()
        whole = found.shape[1] - math.isqrt(found.shape[1]) ** 2  # CLIP has a token for the whole
        # Cloned: what inference mode makes can take no part in training.
        return found[:, whole:].clone()

    def _found(self, rows: Sequence[Row]) -> list[Prediction]:
        began = time.perf_counter()
        photos = [row.photo() for row in rows]
        frames = [Frame(photo.image.size, self.side) for photo in photos]
        squares = [frame.square(p.image) for frame, p in zip(frames, photos, strict=True)]
        patches = self.patches(squares)
        with inference(self._threads):
            logits, boxes = self._head(patches)
            scores, labels = logits.softmax(-1)[..., :-1].max(-1)
            sides = corners(boxes)
        several = [
            self._boxed(frame, *one)
            for frame, *one in zip(frames, scores, labels, sides, strict=True)
        ]
        seconds = (time.perf_counter() - began) / len(rows)
        return [
            Prediction(
                row.photo_id,
                str(row.path),
                _listed([one.label for one in row.objects or ()]),
                _listed([one.label for one in found if one.score >= SHOWN]),
                seconds,
                objects=row.objects,
                found=found,
            )
            for row, found in zip(rows, several, strict=True)
        ]

    def _boxed(
        self, frame: Frame, scores: Tensor, labels: Tensor, sides: Tensor
    ) -> tuple[Boxed, ...]:
        found = []
        for number in scores.argsort(descending=True).tolist():
            score = float(scores[number])
            if score >= _LEAST:
                left, top, right, bottom = (round(x, 5) for x in sides[number].tolist())
                box = frame.outward((left, top, right, bottom))
                found.append(Boxed(self.classes[int(labels[number])], box, round(score, 5)))
        return tuple(found)


class _Pictures(loop.EpochDataset):
    """Rows as patches, kept while pictures stay the same, with what is where in them."""

    def __init__(self, learner: BoxLearner, rows: Sequence[Row], change: Change | None) -> None:
        self._learner, self._rows, self._change = learner, rows, change
        self._frames: list[Frame] = []
        self._kept: list[Tensor] = []
        for start in range(0, len(rows), _BATCH):
            images = [row.photo().image for row in rows[start : start + _BATCH]]
            frames = [Frame(image.size, learner.side) for image in images]
            self._frames += frames
            if change is None:
                squares = [frame.square(i) for frame, i in zip(frames, images, strict=True)]
                self._kept += list(learner.patches(squares).half().cpu())

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        row, frame = self._rows[number], self._frames[number]
        if self._change is None:
            patches = self._kept[number].float()
        else:
            image = self._change(row.photo().image, self.epoch, number)
            patches = self._learner.patches([frame.square(image)])[0].cpu()
        objects = row.objects or ()
        labels = [self._learner.classes.index(one.label) for one in objects]
        sides = torch.tensor([frame.inward(one.box) for one in objects]).reshape(-1, 4)
        centre, size = (sides[:, :2] + sides[:, 2:]) / 2, sides[:, 2:] - sides[:, :2]
        boxes = torch.cat([centre, size], dim=1)
        return {
            "patches": patches,
            "labels": torch.tensor(labels, dtype=torch.long),
            "boxes": boxes,
        }


class _Finder(nn.Module):
    """The head with its loss, as the loop wants it."""

    def __init__(self, head: BoxHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, patches: Tensor, labels: Tensor, boxes: Tensor) -> dict[str, Tensor]:
        logits, found = self.head(patches)
        return {"loss": set_loss(logits, found, labels, boxes)}


def _collated(items: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """One place a box, as many as the fullest picture has."""
    labels = pad_sequence([i["labels"] for i in items], batch_first=True, padding_value=NO_CLASS)
    boxes = pad_sequence([i["boxes"] for i in items], batch_first=True)
    return {"patches": torch.stack([i["patches"] for i in items]), "labels": labels, "boxes": boxes}


def _listed(labels: Sequence[str]) -> str:
    return ", ".join(sorted(labels)) or "nothing"
