"""The memory of a home folder: one database and one Chroma store, shared by its workspaces.

Knows nothing of what is in a memory (:mod:`tools.memory.memory`).
"""

from threading import RLock
from typing import TYPE_CHECKING

from tools.config import Config
from tools.memory.memory import Memory
from tools.memory.photos import PhotoStore

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from tools.memory.index import ChromaStore, ExemplarIndex

__all__ = ["MemoryHome"]


class MemoryHome:
    """Opens memories by workspace; Chroma is opened, and its folder owned, at first need."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._memories: dict[str, Memory] = {}
        self._store: ChromaStore | None = None
        self._lock = RLock()
        url = config.database_url
        self._url = url.get_secret_value() if url else None
        self._shared: Engine | None = None

    def workspace(self, name: str) -> Memory:
        """The memory of workspace ``name``; the same object for the same name."""
        from tools.memory.journal import Journal  # SQLAlchemy takes 0.2 s to import

        config = self._config.model_copy(update={"workspace": name})
        with self._lock:
            if name not in self._memories:
                folder = config.memory_folder
                journal = Journal(self._engine(config), name)
                photos = PhotoStore(folder / "photos")
                self._memories[name] = Memory(name, journal, photos, self._index)
            return self._memories[name]

    def _engine(self, config: Config) -> "Engine":
        from tools.memory.journal import connect

        if self._url is None:
            return connect(config.memory_folder, None)
        if self._shared is None:
            self._shared = connect(config.memory_folder, self._url)
        return self._shared

    def _index(self, workspace: str, embedder_id: str, dimension: int) -> "ExemplarIndex":
        with self._lock:
            if self._store is None:
                from tools.memory.index import ChromaStore  # chromadb takes 0.8 s to import

                self._store = ChromaStore(self._config.chroma_folder, self._config.chroma_url)
            return self._store.index(workspace, embedder_id, dimension)

    def close(self) -> None:
        """Close the store and the database; everything acknowledged is on disk already."""
        with self._lock:
            for memory in self._memories.values():
                memory.close()
            self._memories.clear()
            if self._store is not None:
                self._store.close()
                self._store = None
