"""The adapter that is set for a role, noticed when it changes, and the model made with it.

The captioner and the embedder are made anew with their adapter in their weights, so that whoever
works with the one before goes on with it unharmed. Knows nothing of the answerer's adapters, which
change places in a model that stays (:mod:`tools.models.adapters`).
"""

import logging
from collections.abc import Callable
from pathlib import Path
from threading import RLock
from typing import Generic, TypeVar

from tools.errors import ImprintError
from tools.shelf import ACTIVE, Adapter, active_adapter, open_adapter

__all__ = ["Fitted", "News", "mark_of"]

log = logging.getLogger(__name__)
_Model = TypeVar("_Model")


class News:
    """What has changed, until it is told. Thread-safe."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}
        self._lock = RLock()

    def note(self, role: str, text: str) -> None:
        """The last change of a role; "" is none."""
        with self._lock:
            self._told[role] = text

    def take(self) -> str:
        """All of it, once."""
        with self._lock:
            texts, self._told = [t for t in self._told.values() if t], {}
            return " ".join(texts)


class Fitted(Generic[_Model]):
    """A model with the adapter that is set for its role, made when first used. Thread-safe."""

    def __init__(
        self,
        role: str,
        shelf: Path | None,
        load: Callable[[Adapter | None], _Model],
        news: News,
    ) -> None:
        """``load``: makes the model; raises :class:`tools.errors.ImprintError`."""
        self._role, self._shelf, self._load, self._news = role, shelf, load, news
        self._lock = RLock()
        self._seen: object = None
        self._made: tuple[Adapter | None, _Model] | None = None

    def model(self) -> _Model:
        """The model as it is set now.

        An adapter that can't be used is told by the news, and the model stays as it was. Raises
        what the model itself can't be loaded for.
        """
        mark = mark_of(self._shelf)
        made = self._made
        if made is not None and mark == self._seen:
            return made[1]
        with self._lock:
            if self._made is None or mark != self._seen:
                self._made = self._follow()
                self._seen = mark
            return self._made[1]

    def _follow(self) -> tuple[Adapter | None, _Model]:
        made = self._made
        before = None if made is None else made[0]
        try:
            adapter = self._set()
            if made is not None and _digest(adapter) == _digest(before):
                return made
            if adapter is not None:
                found = adapter, self._load(adapter)
                # What was in use at a start is no news.
                told = f"The {self._role} now runs with {adapter.name}."
                self._news.note(self._role, told if made is not None else "")
                return found
        except ImprintError as problem:
            kept = f"it goes on with {before.name}" if before is not None else "it runs without one"
            told = f"The adapter that is set for the {self._role} can't be used: {problem}"
            log.warning("%s", told)
            self._news.note(self._role, f"{told} Until then {kept}.")
            return made or (None, self._load(None))
        if before is not None:
            self._news.note(self._role, f"The {self._role} no longer runs with {before.name}.")
        return None, self._load(None)

    def _set(self) -> Adapter | None:
        if self._shelf is None:
            return None
        name = active_adapter(self._shelf, self._role)
        return None if name is None else open_adapter(self._shelf, name, self._role)


def mark_of(shelf: Path | None) -> object:
    """What tells one ``active.json`` from another; None where there is none."""
    if shelf is None:
        return None
    try:
        found = (shelf / ACTIVE).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _digest(adapter: Adapter | None) -> str | None:
    return None if adapter is None else adapter.digest
