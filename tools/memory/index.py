"""The Chroma side of memory: collections of exemplar vectors, a lock, and a health check.

Chroma rewrites its graph files in place now and then, and a kill at that moment can destroy them,
so nothing here is the only copy of anything: whoever opens a store that was not closed cleanly
probes it in a process of its own first, and one that fails is moved aside and rebuilt.
This is the only module that imports chromadb.
"""

import logging
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import chromadb
import numpy as np
from chromadb.api import ClientAPI
from chromadb.api.client import Client
from chromadb.config import Settings
from chromadb.errors import ChromaError, NotFoundError
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from tools.errors import MemoryFailed, MemoryInUse

__all__ = ["ChromaStore", "ExemplarIndex", "Row", "open_client", "sparse_damage"]

log = logging.getLogger(__name__)
_BATCH = 5_000  # Chroma refuses more than 5,461 at once
_PROBE_SECONDS = 60.0


@dataclass(frozen=True)
class Row:
    """One exemplar in the index; ``vector`` has shape (d,) and unit length."""

    id: str
    photo_id: str
    label_id: str
    positive: bool
    vector: NDArray[np.float32]


def open_client(folder: Path) -> Client:
    """An embedded client that reads no ``.env`` and sends nothing anywhere."""
    # chromadb.Settings would read ./.env of whatever folder the program runs in.
    settings = Settings(_env_file=None, anonymized_telemetry=False)
    # The factory is annotated with the interface, which lacks close().
    return cast(Client, chromadb.PersistentClient(path=str(folder), settings=settings))


class ChromaStore:
    """The store of one home folder (or a server), owned by this process until closed."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        self._folder = folder
        self._lock: FileLock | None = None
        if url is not None:
            self._client = _server(url)
            return
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        if self._dirty.exists() and folder.exists() and not self._healthy():
            self.discard()
        self._dirty.touch()
        try:
            self._client = open_client(folder)
        except (ChromaError, OSError, ValueError) as exc:
            log.warning("the index %s cannot be opened (%s): rebuilding it", folder, exc)
            self.discard()
            self._client = open_client(folder)

    @property
    def _dirty(self) -> Path:
        return self._folder.with_name(".chroma-open")

    def _take_lock(self) -> None:
        self._lock = FileLock(self._folder.with_name(".chroma-lock"), thread_local=False)
        owner = self._folder.with_name(".chroma-owner")
        try:
            self._lock.acquire(timeout=0)
        except Timeout as exc:
            pid = owner.read_text().strip() if owner.exists() else "unknown"
            raise MemoryInUse(
                f"The memory in {self._folder.parent} is open in another process (pid {pid}): "
                "close that one first, or choose another folder with --home."
            ) from exc
        owner.write_text(str(os.getpid()))

    def _healthy(self) -> bool:
        """Whether a process of its own can open, count and query it (a damaged one may crash)."""
        if sparse_damage(self._folder):
            return False
        command = [sys.executable, "-m", "tools.memory.probe", str(self._folder)]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                timeout=_PROBE_SECONDS,
                check=False,
                cwd=Path(__file__).parents[2],
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0

    def discard(self) -> None:
        """Move a broken store aside by rename (never by copy: a sparse file may be terabytes)."""
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
        aside = self._folder.with_name(f"chroma-broken-{stamp}")
        if self._folder.exists():
            self._folder.rename(aside)
            log.warning("the index was damaged; it is now %s and a new one is built", aside)

    def index(self, workspace: str, embedder_id: str, dimension: int) -> "ExemplarIndex":
        """The collection of a workspace under one embedder, made when it is not there."""
        return ExemplarIndex(self._client, f"exemplars-{workspace}-{embedder_id}", dimension)

    def close(self) -> None:
        """Close the store and say that it was closed; closing twice is harmless."""
        if self._lock is None or not self._lock.is_locked:
            return
        self._client.close()
        self._dirty.unlink(missing_ok=True)
        self._lock.release()


class ExemplarIndex:
    """One collection; its rows mirror the exemplars of the journal's state."""

    def __init__(self, client: ClientAPI, name: str, dimension: int) -> None:
        self._client = client
        self._name = name
        self._dimension = dimension
        self._collection = self._open()

    def _open(self) -> chromadb.Collection:
        return self._client.get_or_create_collection(
            self._name,
            embedding_function=None,
            configuration={"hnsw": {"space": "cosine"}},
            metadata={"dimension": self._dimension},
        )

    def rows(self) -> list[Row]:
        """Every row. Rows that make no sense are left out, so that they are written again."""
        got = self._collection.get(include=["embeddings", "metadatas"])
        vectors, metadatas = got["embeddings"], got["metadatas"]
        if vectors is None or metadatas is None:
            return []
        rows = []
        for id_, vector, data in zip(got["ids"], vectors, metadatas, strict=True):
            array = np.asarray(vector, dtype=np.float32)
            if array.shape != (self._dimension,) or not data or "photo_id" not in data:
                continue
            rows.append(
                Row(id_, str(data["photo_id"]), str(data["label_id"]), data["positive"] == 1, array)
            )
        return rows

    def upsert(self, rows: Sequence[Row]) -> None:
        """Write rows; existing ones are replaced."""
        for start in range(0, len(rows), _BATCH):
            part = rows[start : start + _BATCH]
            metadatas: list[Any] = [
                {"photo_id": r.photo_id, "label_id": r.label_id, "positive": int(r.positive)}
                for r in part
            ]
            self._collection.upsert(
                ids=[r.id for r in part],
                embeddings=np.stack([r.vector for r in part]),
                metadatas=metadatas,
            )

    def delete(self, ids: Iterable[str]) -> None:
        """Remove rows; unknown ids are no error."""
        all_ids = list(ids)
        for start in range(0, len(all_ids), _BATCH):
            self._collection.delete(ids=all_ids[start : start + _BATCH])

    def count(self) -> int:
        """How many rows there are."""
        return int(self._collection.count())

    def query(
        self, vector: NDArray[np.float32], k: int, label_id: str | None = None
    ) -> list[tuple[str, float]]:
        """The ids of the ``k`` nearest positive rows with their cosine in [-1, 1], best first."""
        where: dict[str, Any] = {"positive": 1}
        if label_id is not None:
            where = {"$and": [{"positive": 1}, {"label_id": label_id}]}
        got = self._collection.query(
            query_embeddings=np.asarray(vector, dtype=np.float32)[None],
            n_results=k,
            where=where,
            include=["distances"],
        )
        distances = got["distances"] or [[]]
        return [(i, 1.0 - float(d)) for i, d in zip(got["ids"][0], distances[0], strict=True)]

    def clear(self) -> None:
        """Drop the collection and make it anew."""
        try:
            self._client.delete_collection(self._name)
        except (NotFoundError, ValueError):
            log.debug("no collection %s to drop", self._name)
        self._collection = self._open()


def sparse_damage(folder: Path) -> bool:
    """Whether a graph file has the size of a known corruption (ten times its data and more)."""
    for links in folder.glob("*/link_lists.bin"):
        data = links.with_name("data_level0.bin")
        base = data.stat().st_size if data.exists() else 0
        if links.stat().st_size > 10 * max(base, 1_000_000):
            return True
    return False


def _server(url: str) -> Client:
    parts = urlsplit(url)
    ssl = parts.scheme == "https"
    settings = Settings(_env_file=None, anonymized_telemetry=False)
    try:
        client = chromadb.HttpClient(
            host=parts.hostname or "localhost",
            port=parts.port or (443 if ssl else 8000),
            ssl=ssl,
            settings=settings,
        )
        return cast(Client, client)
    except (ChromaError, ValueError, OSError) as exc:
        raise MemoryFailed(
            f"The Chroma server {url} does not answer ({exc}): start it with `chroma run`, "
            "or unset IMPRINT_CHROMA_URL to use the embedded store."
        ) from exc
