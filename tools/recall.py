"""What a workspace's memory makes of a photo: the recognizer over its exemplars, kept up to date.

Knows nothing of sentences. The recognizer is rebuilt from memory when its revision has changed.
"""

from collections.abc import Collection
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from tools.artifacts import Candidate, Recognition, Shown
from tools.images import Photo
from tools.memory import Memory
from tools.recognizer import Ranking, Recognizer, Sample
from tools.sight import Sight

__all__ = ["Recall"]


class Recall:
    """Recognises photos by what one workspace was taught. Thread-safe."""

    def __init__(self, sight: Sight, memory: Memory) -> None:
        self.sight = sight
        self.memory = memory
        self._lock = Lock()
        self._fitted: tuple[int, str, Recognizer] | None = None

    def recognizer(self) -> Recognizer:
        """The recognizer of the memory as it is now."""
        with self._lock:
            embedder = self.sight.embedder
            key = (self.memory.revision, embedder.id)
            if self._fitted is None or self._fitted[:2] != key:
                vectors = self.memory.vectors(embedder)
                samples = [
                    Sample(e.id, e.label_id, vectors[e.photo_id], e.positive)
                    for e in self.memory.state.exemplars.values()
                ]
                self._fitted = (*key, Recognizer(samples, self.sight.background, self._names()))
            return self._fitted[2]

    def _names(self) -> dict[str, NDArray[np.float32]]:
        """What the labels are called, as the embedder reads it, by label id."""
        labels = list(self.memory.state.labels.values())
        if not labels:
            return {}
        vectors = self.sight.words([x.name for x in labels])
        return {x.id: v for x, v in zip(labels, vectors, strict=True)}

    def recognise(self, photo: Photo, among: Collection[str] | None = None) -> Recognition:
        """What ``photo`` is by memory; ``among`` limits it to these label ids."""
        ranking = self.recognizer().recognise(self.sight.vector(photo), among=among)
        return self._named(photo, ranking)

    def offer(self, photo: Photo) -> None:
        """Give memory the vector of a photo that is about to be taught."""
        vector = self.sight.vector(photo)
        self.memory.remember_vector(self.sight.embedder, photo.id, vector)

    def _named(self, photo: Photo, ranking: Ranking) -> Recognition:
        state = self.memory.state
        exemplars = {e.id: e for e in state.exemplars.values()}
        return Recognition(
            photo_id=photo.id,
            decision=ranking.decision,
            candidates=tuple(
                Candidate(state.labels[x.label_id].name, x.probability)
                for x in ranking.labels
                if x.label_id in state.labels
            ),
            source="taught",
            unknown=ranking.unknown,
            threshold=ranking.threshold,
            evidence=tuple(
                Shown(exemplars[e.sample_id].photo_id, state.labels[e.label_id].name, e.similarity)
                for e in ranking.evidence
                if e.sample_id in exemplars
            ),
            outside=self.sight.outside(photo),
        )
