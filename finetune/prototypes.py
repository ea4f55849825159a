"""Nothing trained: the recogniser with the training pictures as exemplars.

Knows nothing of vision-language models. What it keeps are the exemplars' vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from finetune.data import Row
from finetune.exemplars import Exemplars, open_sight, zero_shot
from finetune.files import write_json
from finetune.learner import Session
from finetune.predictions import Prediction
from finetune.settings import Settings
from tools.config import ModelChoice
from tools.errors import SettingsError, TrainingFailed
from tools.models.sources import locate

__all__ = ["PrototypeLearner", "embedder_facts", "needs_classes"]

_VECTORS = "prototypes.safetensors"


class PrototypeLearner:
    """Implements :class:`finetune.learner.Learner`."""

    base_name = "names alone"

    def __init__(self, settings: Settings, classes: Sequence[str]) -> None:
        needs_classes(settings, classes)
        self.settings = settings
        self.classes = tuple(classes)
        self._sight = open_sight(settings)
        self._exemplars: Exemplars | None = None

    def describe(self) -> dict[str, Any]:
        return {**embedder_facts(self.settings), "trained": []}

    def fit(self, train: Sequence[Row], val: Sequence[Row], session: Session, fold: int) -> None:
        session.check()
        self._exemplars = Exemplars.of(self._sight, self.classes, train)

    def predict(
        self, rows: Sequence[Row], session: Session, *, base: bool = False
    ) -> list[Prediction]:
        session.check()
        if base or self._exemplars is None:
            return zero_shot(self._sight, self.classes, rows)
        return self._exemplars.predict(rows)

    def save(self, folder: Path) -> None:
        if self._exemplars is None:
            raise TrainingFailed("Nothing has been learned yet, so there is nothing to save.")
        numbers = [self.classes.index(s.label_id) for s in self._exemplars.samples]
        vectors = np.stack([s.vector for s in self._exemplars.samples])
        save_file({"vectors": vectors, "classes": np.array(numbers)}, folder / _VECTORS)
        write_json(folder / "classes.json", list(self.classes))

    def load(self, folder: Path) -> None:
        found = load_file(folder / _VECTORS)
        labels = [self.classes[i] for i in found["classes"]]
        self._exemplars = Exemplars(self._sight, self.classes, labels, list(found["vectors"]))


def embedder_facts(settings: Settings) -> dict[str, Any]:
    """What the report and the manifest say of the embedder."""
    located = locate(ModelChoice(settings.model.embedder))
    return {
        "base_model": settings.model.embedder,
        "base_id": located.id(),
        "revision": located.folder.name if located.folder.parent.name == "snapshots" else None,
        "precision": "float32",
    }


def needs_classes(settings: Settings, classes: Sequence[str]) -> None:
    """Raises :class:`SettingsError` for a method of classes on rows that have none."""
    if not classes:
        raise SettingsError(
            f"method: {settings.method} names classes, and {settings.data.source} has questions "
            "and answers; choose lora, qlora, projector or full."
        )
