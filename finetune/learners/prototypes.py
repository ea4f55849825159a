"""Nothing trained: the recogniser with the training pictures as exemplars.

Knows nothing of vision-language models. What it keeps are the exemplars' vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file

from finetune.data import Row
from finetune.evaluation.predictions import Prediction
from finetune.learners.exemplars import Exemplars
from finetune.learners.learner import Session
from finetune.learners.on_embedder import OnEmbedder
from finetune.settings.schema import Settings
from tools.errors import TrainingFailed

__all__ = ["PrototypeLearner"]

_VECTORS = "prototypes.safetensors"


class PrototypeLearner(OnEmbedder):
    """Implements :class:`finetune.learners.learner.Learner`."""

    def __init__(self, settings: Settings, classes: Sequence[str]) -> None:
        super().__init__(settings, classes)
        self._exemplars: Exemplars | None = None

    def fit(self, train: Sequence[Row], val: Sequence[Row], session: Session, fold: int) -> None:
        session.check()
        self._exemplars = Exemplars.of(self.sight, self.classes, train)

    def predict(
        self, rows: Sequence[Row], session: Session, *, base: bool = False
    ) -> list[Prediction]:
        session.check()
        if base or self._exemplars is None:
            return self.by_names(rows)
        return self._exemplars.predict(rows)

    def save(self, folder: Path) -> None:
        if self._exemplars is None:
            raise TrainingFailed("Nothing has been learned yet, so there is nothing to save.")
        numbers = [self.classes.index(s.label_id) for s in self._exemplars.samples]
        vectors = torch.from_numpy(np.stack([s.vector for s in self._exemplars.samples]))
        self.keep(folder / _VECTORS, {"vectors": vectors, "classes": torch.tensor(numbers)})

    def load(self, folder: Path) -> None:
        found = load_file(folder / _VECTORS)
        labels = [self.classes[i] for i in found["classes"]]
        self._exemplars = Exemplars(self.sight, self.classes, labels, list(found["vectors"]))
