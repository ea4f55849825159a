"""The index kept in line with the journal: whatever the state has, the index has, and no more.

Knows nothing of how a state comes about. Not thread-safe: the memory that owns it locks.
"""

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tools.errors import MemoryFailed
from tools.memory.photos import PhotoStore
from tools.memory.state import Exemplar, State
from tools.models.roles import Embedder

if TYPE_CHECKING:
    from tools.memory.index import ExemplarIndex

__all__ = ["Mirror", "OpenIndex"]

log = logging.getLogger(__name__)
OpenIndex = Callable[[str, str, int], "ExemplarIndex"]
_EMBED_BATCH = 32


class Mirror:
    """The indexes of one workspace, one for each embedder that was used."""

    def __init__(self, workspace: str, photos: PhotoStore, open_index: OpenIndex) -> None:
        self._workspace = workspace
        self._photos = photos
        self._open_index = open_index
        self._indexes: dict[str, ExemplarIndex] = {}
        self._indexed: dict[str, dict[str, bool]] = {}  # embedder id → exemplar id → positive
        self._vectors: dict[str, dict[str, NDArray[np.float32]]] = {}  # → photo id → (d,)

    def vectors(self, state: State, embedder: Embedder) -> dict[str, NDArray[np.float32]]:
        """Photo id → unit vector (d,) of every photo that ``state`` knows something of."""
        self._sync(state, embedder)
        known = self._vectors[embedder.id]
        return {e.photo_id: known[e.photo_id] for e in _wanted(state)}

    def remember(self, embedder: Embedder, photo_id: str, vector: NDArray[np.float32]) -> None:
        """Take a vector that was computed anyway."""
        self._vectors.setdefault(embedder.id, {}).setdefault(photo_id, vector)

    def search(
        self,
        state: State,
        embedder: Embedder,
        vector: NDArray[np.float32],
        k: int,
        label_id: str | None,
    ) -> list[tuple[str, float]]:
        """Exemplar ids with their cosine to ``vector``, best first."""
        return self._sync(state, embedder).query(vector, k, label_id)

    def rebuild(self, state: State, embedder: Embedder) -> int:
        """Drop the index and make it anew from the photos; returns its size."""
        self._index(embedder).clear()
        self._indexed[embedder.id] = {}
        self._vectors[embedder.id] = {}
        return self._sync(state, embedder).count()

    def _index(self, embedder: Embedder) -> "ExemplarIndex":
        if embedder.id not in self._indexes:
            index = self._open_index(self._workspace, embedder.id, embedder.dimension)
            rows = index.rows()
            self._indexes[embedder.id] = index
            self._indexed[embedder.id] = {r.id: r.positive for r in rows}
            cache = self._vectors.setdefault(embedder.id, {})
            cache.update({r.photo_id: r.vector for r in rows})
        return self._indexes[embedder.id]

    def _sync(self, state: State, embedder: Embedder, rebuilt: bool = False) -> "ExemplarIndex":
        """Reconcile: after this the index holds exactly what it is to hold of the state."""
        from tools.memory.index import Row

        index = self._index(embedder)
        indexed = self._indexed[embedder.id]
        wanted = {e.id: e for e in _wanted(state)}
        missing = [e for e in wanted.values() if indexed.get(e.id) is not e.positive]
        extra = [i for i in indexed if i not in wanted]
        if missing:
            cache = self._embedded(embedder, missing)
            rows = [
                Row(e.id, e.photo_id, e.label_id, e.positive, cache[e.photo_id]) for e in missing
            ]
            index.upsert(rows)
            indexed.update({e.id: e.positive for e in missing})
        if extra:
            index.delete(extra)
            for i in extra:
                del indexed[i]
        if (missing or extra) and index.count() != len(wanted):
            if rebuilt:
                raise MemoryFailed(
                    f"The index of workspace {self._workspace} loses what is written to it: "
                    "stop Imprint, delete the chroma folder beside the memory, and start again."
                )
            log.warning("index of %s is out of line with the journal: rebuilding", self._workspace)
            index.clear()
            indexed.clear()
            return self._sync(state, embedder, rebuilt=True)
        return index

    def _embedded(
        self, embedder: Embedder, exemplars: Sequence[Exemplar]
    ) -> dict[str, NDArray[np.float32]]:
        cache = self._vectors.setdefault(embedder.id, {})
        todo = list(dict.fromkeys(e.photo_id for e in exemplars if e.photo_id not in cache))
        for start in range(0, len(todo), _EMBED_BATCH):
            part = todo[start : start + _EMBED_BATCH]
            vectors = embedder.embed_photos([self._photos.get(i) for i in part])
            cache.update(zip(part, vectors, strict=True))
            if len(todo) > _EMBED_BATCH:
                log.info("indexing %d of %d pictures", start + len(part), len(todo))
        return cache


def _wanted(state: State) -> list[Exemplar]:
    """The exemplars, and beside them the photos with answers, as no find of any label."""
    answered = {a.photo_id: a.seq for a in state.answers.values()}
    rows = [Exemplar("answered", photo_id, False, seq) for photo_id, seq in answered.items()]
    return [*state.exemplars.values(), *rows]
