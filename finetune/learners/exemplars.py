"""The recogniser with the same pictures as exemplars: what every training has to beat.

Knows nothing of vision-language models. It is the recogniser of the chat, so what it reaches is
what the assistant reaches without any training.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import softmax

from finetune.data import Plan, Row, Table
from finetune.evaluation.predictions import Prediction
from finetune.learners.learner import Session
from finetune.settings.schema import Settings
from tools.config import load_config
from tools.models import open_models
from tools.recognizer import Recognizer, Sample
from tools.sight import Sight

__all__ = ["Exemplars", "by_exemplars", "embedded", "open_sight", "predictions_of", "zero_shot"]

_BATCH = 32


def open_sight(settings: Settings) -> Sight:
    """The embedder of ``settings`` with its statistics; loads it when first used."""
    config = load_config(profile="pocket", embedder=settings.model.embedder)
    return Sight(open_models(config), config.cache_folder)


class Exemplars:
    """A recogniser taught pictures of classes; classes go by their names."""

    def __init__(
        self,
        sight: Sight,
        classes: Sequence[str],
        labels: Sequence[str],
        vectors: Sequence[np.ndarray],
    ) -> None:
        self._sight, self._classes = sight, tuple(classes)
        names = dict(zip(classes, sight.words(list(classes)), strict=True))
        self.samples = [
            Sample(str(number), label, vector)
            for number, (label, vector) in enumerate(zip(labels, vectors, strict=True))
        ]
        self.recognizer = Recognizer(self.samples, sight.background, names)

    @classmethod
    def of(cls, sight: Sight, classes: Sequence[str], rows: Sequence[Row]) -> Exemplars:
        """The recogniser of some rows."""
        return cls(sight, classes, [str(row.label) for row in rows], embedded(sight, rows))

    def predict(self, rows: Sequence[Row]) -> list[Prediction]:
        """The likeliest class of each row, with the probabilities of all."""
        return predictions_of(self._sight, rows, self._classes, self._shares)

    def _shares(self, vectors: np.ndarray) -> np.ndarray:
        """(n, d) → (n, C), columns also for classes that had no exemplar."""
        shares = self.recognizer.posteriors(vectors)
        columns = [self._classes.index(name) for name in self.recognizer.labels]
        every = np.zeros((len(shares), len(self._classes)))
        every[:, columns] = shares
        return every


def by_exemplars(
    settings: Settings, table: Table, plan: Plan, session: Session
) -> list[Prediction]:
    """Predictions of every measured row, by the pictures that train in its fold."""
    sight = open_sight(settings)
    found: list[Prediction] = []
    for fold in plan.folds:
        session.check()
        taught = Exemplars.of(sight, table.classes, table.take(fold.train))
        found += taught.predict(table.take(fold.test))
    return found


def zero_shot(sight: Sight, classes: Sequence[str], rows: Sequence[Row]) -> list[Prediction]:
    """What the embedder says by the classes' names alone."""
    names = sight.words(list(classes))
    scale = sight.embedder.logit_scale
    return predictions_of(sight, rows, classes, lambda v: softmax(scale * (v @ names.T), axis=1))


def predictions_of(
    sight: Sight,
    rows: Sequence[Row],
    classes: Sequence[str],
    shares: Callable[[np.ndarray], np.ndarray],
) -> list[Prediction]:
    """The likeliest class of each row by ``shares``: (n, d) vectors → (n, C) probabilities."""
    found = []
    for start in range(0, len(rows), _BATCH):
        began = time.perf_counter()
        part = rows[start : start + _BATCH]
        several = shares(np.stack(embedded(sight, part)))
        seconds = (time.perf_counter() - began) / len(part)
        for row, mine in zip(part, several, strict=True):
            answer, numbers = classes[int(mine.argmax())], tuple(round(float(x), 6) for x in mine)
            found.append(
                Prediction(row.photo_id, str(row.path), str(row.label), answer, seconds, numbers)
            )
    return found


def embedded(sight: Sight, rows: Sequence[Row]) -> list[np.ndarray]:
    """The unit vectors of the rows' pictures, opened a few at a time."""
    return [
        vector
        for start in range(0, len(rows), _BATCH)
        for vector in sight.vectors([row.photo() for row in rows[start : start + _BATCH]])
    ]
