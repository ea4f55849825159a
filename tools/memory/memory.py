"""The memory of one workspace: what was taught, and the vectors to recognise by.

Knows nothing of sentences or recognition. A change is an event in the journal first; the index
follows, and is brought in line with the journal whenever the two differ.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tools.memory.changes import Changes
from tools.memory.ledger import Ledger
from tools.memory.mirror import Mirror, OpenIndex
from tools.memory.photos import PhotoStore
from tools.memory.state import Exemplar
from tools.models.roles import Embedder

if TYPE_CHECKING:
    from tools.memory.journal import Journal

__all__ = ["Match", "Memory"]


@dataclass(frozen=True)
class Match:
    """An exemplar and its cosine similarity to what was looked for, in [-1, 1]."""

    exemplar: Exemplar
    similarity: float


class Memory(Changes):
    """Labels, exemplars, answers and the journal of one workspace. Thread-safe."""

    def __init__(
        self, workspace: str, journal: "Journal", photos: PhotoStore, open_index: OpenIndex
    ) -> None:
        super().__init__(Ledger(journal), photos)
        self.workspace = workspace
        self._mirror = Mirror(workspace, photos, open_index)

    def vectors(self, embedder: Embedder) -> dict[str, NDArray[np.float32]]:
        """Photo id → unit vector (d,) of all that was taught, after bringing the index in line."""
        with self._lock:
            return self._mirror.vectors(self.state, embedder)

    def remember_vector(
        self, embedder: Embedder, photo_id: str, vector: NDArray[np.float32]
    ) -> None:
        """Offer a vector that was computed anyway, so that it is not computed again."""
        with self._lock:
            self._mirror.remember(embedder, photo_id, vector)

    def search(
        self,
        embedder: Embedder,
        vector: NDArray[np.float32],
        k: int,
        label_id: str | None = None,
    ) -> list[Match]:
        """The ``k`` exemplars nearest to ``vector``, best first."""
        with self._lock:
            found = self._mirror.search(self.state, embedder, vector, k, label_id)
            by_id = {e.id: e for e in self.state.exemplars.values()}
            return [Match(by_id[i], similarity) for i, similarity in found if i in by_id]

    def rebuild(self, embedder: Embedder) -> int:
        """Make the index anew from the photos; returns how many rows it holds."""
        with self._lock:
            return self._mirror.rebuild(self.state, embedder)

    def close(self) -> None:
        """Release the database."""
        self._ledger.close()
