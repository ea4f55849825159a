"""The statistics of the embedder that runs: beside its weights, in the cache, or measured now.

Knows nothing of what was taught, nor of torch. An embedder is measured once, when recognition first
needs its statistics, with the pictures that ship (:mod:`tools.reference`) or, when told to, with a
folder of the user's own, which then go before all others. A cache file that is damaged, or made
with other reference pictures, is measured again.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import RLock
from typing import Protocol
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from tools.background import Background
from tools.errors import ModelFailed, PhotoError, SettingsError
from tools.images import Photo, open_photo
from tools.measuring import Pictures, measure, named
from tools.reference import YOURS, Collection, check_count, edition, read_folder, read_reference
from tools.whole import whole_file

__all__ = ["Survey", "Surveyed", "Surveyor", "Words"]

log = logging.getLogger(__name__)
_BATCH = 32
_LOGGED = 5.0  # seconds between two log lines of progress
_EPISODES = 70  # up to d = 512; an episode costs O(d³), and fewer were measured to do
_SIDE = 512  # pixels of the longer side that are kept of a user's picture until it is embedded

Features = NDArray[np.float32]
Words = Callable[[Sequence[str]], Features]
"""Names → (n, d) unit prototypes (:meth:`tools.sight.Sight.words`)."""


class Surveyor(Protocol):
    """What is needed of an embedder here; one of pictures alone will do."""

    @property
    def id(self) -> str:
        """Names these weights and their preprocessing."""

    @property
    def dimension(self) -> int:
        """Length d of a vector."""

    @property
    def background_path(self) -> Path | None:
        """Where its own statistics lie, or would lie."""

    def embed_photos(self, photos: Sequence[Photo]) -> Features:
        """(n, d) unit vectors, float32."""


@dataclass(frozen=True)
class Surveyed:
    """What measuring with a folder told.

    ``results`` per domain: ``auroc``, ``true_accepts``, ``false_accepts``, ``threshold`` and
    ``asked`` (:func:`tools.measuring.measure`); ``skipped``: why pictures were left out.
    """

    embedder: str
    pictures: int
    things: int
    results: dict[str, dict[str, float]]
    skipped: tuple[str, ...]
    seconds: float


class _Alike(Exception):
    """Vectors of which no statistics can be made."""


class Survey:
    """Finds or makes the statistics of embedders. Thread-safe: who comes second waits."""

    def __init__(self, folder: Path | None = None) -> None:
        """``folder``: the cache; None keeps what was measured for this object's life only."""
        self._folder = folder
        self._known: dict[str, Background] = {}
        self._lock = RLock()
        self.doing = ""
        """What is being measured, in words, for people who wait; empty otherwise."""

    def background(self, embedder: Surveyor, words: Words | None) -> Background:
        """The statistics of ``embedder``. Without ``words`` (no text tower) names say nothing.

        Measures at first need. Raises :class:`ModelFailed` when it cannot be measured.
        """
        known = self._known.get(embedder.id)
        if known is not None:
            return known
        with self._lock:
            if embedder.id not in self._known:
                self._known[embedder.id] = self._found(embedder) or self._first(embedder, words)
            return self._known[embedder.id]

    def learn(self, embedder: Surveyor, words: Words | None, folder: Path) -> Surveyed:
        """Measure with a folder of pictures, one folder per thing, and keep that for later starts.

        Raises :class:`SettingsError` when the folder will not do.
        """
        started = time.perf_counter()
        with self._lock:
            collection = read_folder(folder)
            try:
                pictures, names, skipped = self._embedded(embedder, collection)
                check_count(len(names), folder)
                made, results = self._measured(embedder, {YOURS: pictures}, {YOURS: names}, words)
            except _Alike as exc:
                raise SettingsError(
                    f"{folder} can't be measured with, because {exc}: "
                    "show different pictures of each thing."
                ) from exc
            finally:
                self.doing = ""
            own = _read(embedder.background_path, embedder)
            if own is not None:  # what is outside the embedder's world stays there
                made = replace(made, edge=own.edge)
            path = self._own(embedder)
            if path is not None:
                try:
                    with whole_file(path) as temporary:
                        made.save(temporary)
                except OSError as exc:
                    raise SettingsError(
                        f"What was measured can't be kept in {path.parent} ({exc}): "
                        "make it a folder that can be written to."
                    ) from exc
            self._known[embedder.id] = made
        seconds = time.perf_counter() - started
        return Surveyed(embedder.id, len(pictures.thing), len(names), results, skipped, seconds)

    def forget(self, embedder: Surveyor) -> bool:
        """Remove all that is cached of ``embedder``; says whether anything was."""
        with self._lock:
            self._known.pop(embedder.id, None)
            paths = self._cached(embedder)
            for path in paths:
                path.unlink(missing_ok=True)
        return bool(paths)

    def _own(self, embedder: Surveyor) -> Path | None:
        return self._folder and self._folder / f"{embedder.id}.yours.npz"

    def _shipped(self, embedder: Surveyor) -> Path | None:
        return self._folder and self._folder / f"{embedder.id}.{edition()}.npz"

    def _cached(self, embedder: Surveyor) -> list[Path]:
        return sorted(self._folder.glob(f"{embedder.id}.*.npz")) if self._folder else []

    def _found(self, embedder: Surveyor) -> Background | None:
        for path in (self._own(embedder), embedder.background_path):
            found = _read(path, embedder)
            if found is not None:
                return found
        return _read(self._shipped(embedder), embedder)

    def _first(self, embedder: Surveyor, words: Words | None) -> Background:
        """Measured with the pictures that ship, and kept."""
        started = time.perf_counter()
        collections = read_reference()
        count = sum(len(c.pictures) for c in collections)
        log.info("measuring %s, once, with %d pictures", embedder.id, count)
        pictures, names = {}, {}
        try:
            for collection in collections:
                made = self._embedded(embedder, collection)
                pictures[collection.domain], names[collection.domain] = made[:2]
            embedded = time.perf_counter() - started
            background, results = self._measured(embedder, pictures, names, words)
        except _Alike as exc:
            raise ModelFailed(
                f"The embedder {embedder.id} can't be used for recognition, because {exc}: "
                "choose another one."
            ) from exc
        finally:
            self.doing = ""
        self._keep(embedder, background)
        told = "; ".join(f"{name}: AUROC {row['auroc']:.2f}" for name, row in results.items())
        log.info(
            "measured %s in %.1f s, of which %.1f s for its vectors (%s)",
            embedder.id, time.perf_counter() - started, embedded, told,
        )  # fmt: skip
        return background

    def _keep(self, embedder: Surveyor, background: Background) -> None:
        """For later starts; where nothing can be written, those will measure again."""
        path = self._shipped(embedder)
        if path is None:
            return
        try:
            with whole_file(path) as temporary:
                background.save(temporary)
            for other in self._cached(embedder):
                if other not in (path, self._own(embedder)):
                    other.unlink(missing_ok=True)  # of another edition
        except OSError as exc:
            log.warning("%s can't be written, so this will be measured again: %s", path, exc)

    def _measured(
        self,
        embedder: Surveyor,
        pictures: dict[str, Pictures],
        names: dict[str, dict[int, str]],
        words: Words | None,
    ) -> tuple[Background, dict[str, dict[str, float]]]:
        self._tell(f"Measuring {embedder.id}: working out the statistics")
        episodes = _EPISODES if embedder.dimension <= 512 else 2 * _EPISODES // 5
        try:
            background, results = measure(pictures, episodes=episodes)
        except ValueError as exc:  # LinAlgError is one
            raise _Alike(f"the vectors do not tell the pictures apart ({exc})") from exc
        if words is None:
            return background, results
        texts = {
            domain: dict(zip(row, words(list(row.values())), strict=True))
            for domain, row in names.items()
        }
        return named(background, pictures, texts), results

    def _embedded(
        self, embedder: Surveyor, collection: Collection
    ) -> tuple[Pictures, dict[int, str], tuple[str, ...]]:
        """Vectors of the pictures that can be read, of things that two pictures are left of."""
        total, logged = len(collection.pictures), time.perf_counter()
        rows: list[int] = []
        parts: list[Features] = []
        skipped: list[str] = []
        seen: set[tuple[int, str]] = set()
        for start in range(0, total, _BATCH):
            self.doing = f"Measuring {embedder.id} with {collection.domain}: {start} of {total}"
            batch = []
            for i in range(start, min(start + _BATCH, total)):
                try:
                    photo = _small(collection.pictures[i])
                except PhotoError as exc:
                    skipped.append(str(exc))
                    continue
                key = (int(collection.thing[i]), photo.id)
                if key not in seen:  # a copy tells nothing new
                    seen.add(key)
                    batch.append(photo)
                    rows.append(i)
            if batch:
                parts.append(embedder.embed_photos(batch))
            if time.perf_counter() - logged > _LOGGED:
                log.info("%s", self.doing)
                logged = time.perf_counter()
        vectors = np.concatenate(parts) if parts else np.zeros((0, embedder.dimension), np.float32)
        index = np.array(rows, np.intp)
        thing = collection.thing[index]
        things, counts = np.unique(thing, return_counts=True)
        keep = np.isin(thing, things[counts > 1])
        index = index[keep]
        names = {t: collection.names[t] for t in map(int, things[counts > 1])}
        made = Pictures(
            vectors[keep], thing[keep], collection.manner[index], collection.family[index]
        )
        return made, names, tuple(skipped)

    def _tell(self, text: str) -> None:
        self.doing = text
        log.info("%s", text)


def _small(picture: Photo | Path) -> Photo:
    if isinstance(picture, Photo):
        return picture
    photo = open_photo(picture, name=f"{picture.parent.name}/{picture.name}")
    return Photo(photo.thumbnail(_SIDE)) if max(photo.size) > _SIDE else photo


def _read(path: Path | None, embedder: Surveyor) -> Background | None:
    """The statistics in a file; None when there is none, or it is of no use."""
    if path is None or not path.exists():
        return None
    try:
        found = Background.load(path)
    except (OSError, KeyError, ValueError, EOFError, BadZipFile, IndexError, TypeError) as exc:
        log.warning("the statistics in %s are damaged and left aside: %s", path, exc)
        return None
    if found.dimension != embedder.dimension:
        log.warning("the statistics in %s are of another embedder and left aside", path)
        return None
    return found
