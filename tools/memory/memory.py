"""The memory of one workspace: every change of what was taught, and the vectors to recognise by.

Knows nothing of sentences or recognition. A change is an event in the journal first; the index
follows, and is brought in line with the journal whenever the two differ.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.errors import ToolError, UnknownLabel
from tools.images import Photo
from tools.memory.journal import Journal
from tools.memory.labels import clean_name, name_key
from tools.memory.mirror import Mirror, OpenIndex
from tools.memory.photos import PhotoStore
from tools.memory.state import Event, Exemplar, Kind, Label, State, StateBuilder, fold, last_change
from tools.models.roles import Embedder

__all__ = ["Match", "Memory", "Taught"]


@dataclass(frozen=True)
class Match:
    """An exemplar and its cosine similarity to what was looked for, in [-1, 1]."""

    exemplar: Exemplar
    similarity: float


@dataclass(frozen=True)
class Taught:
    """What teaching did: photo ids added, known already, or moved from another label."""

    label: Label
    added: tuple[str, ...]
    known: tuple[str, ...]
    moved_from: tuple[Label, ...]


class Memory:
    """Labels, exemplars and the journal of one workspace. Thread-safe."""

    def __init__(
        self, workspace: str, journal: Journal, photos: PhotoStore, open_index: OpenIndex
    ) -> None:
        self.workspace = workspace
        self.photos = photos
        self._journal = journal
        self._lock = RLock()
        self._mirror = Mirror(workspace, photos, open_index)
        self._events: list[Event] = []
        self._builder = StateBuilder()
        self._state = State()
        self.refresh()
        photos.sweep()

    @property
    def state(self) -> State:
        """What is taught now: an immutable snapshot."""
        return self._state

    @property
    def events(self) -> tuple[Event, ...]:
        """The whole journal, oldest first."""
        return tuple(self._events)

    @property
    def revision(self) -> int:
        """Rises with every change; equal revisions mean equal states."""
        return self._events[-1].seq if self._events else 0

    def refresh(self) -> None:
        """Take in what other processes wrote to the same journal since."""
        with self._lock:
            self._take(self._journal.read(after=self.revision))

    def label(self, name: str) -> Label:
        """The label called ``name``; raises :class:`UnknownLabel` with the nearest names."""
        found = self._state.find(name)
        if found is None:
            raise UnknownLabel(self._unknown(name))
        return found

    # --- changes -------------------------------------------------------------------------------

    def teach(self, name: str, photos: Sequence[Photo], description: str = "") -> Taught:
        """Add ``photos`` under ``name``, making the label when it is new."""
        name = clean_name(name)
        with self._lock:
            known = self._state.find(name)
            label = known or Label(_new_id(), name, description)
            ids = tuple(dict.fromkeys(p.id for p in photos))
            owners = {i: self._state.label_of(i) for i in ids}
            already = tuple(i for i, owner in owners.items() if owner and owner.id == label.id)
            added = tuple(i for i in ids if i not in already)
            moved = tuple({o.id: o for o in owners.values() if o and o.id != label.id}.values())
            if added or not known or (description and description != known.description):
                self._store(photos)
                self._append(
                    "taught",
                    label_id=label.id,
                    name=label.name,
                    photo_ids=list(added),
                    description=description,
                )
            return Taught(self._state.labels.get(label.id, label), added, already, moved)

    def correct(self, name: str, photos: Sequence[Photo], wrong: str | None = None) -> Taught:
        """The photos are ``name``, and not ``wrong``: exemplars of one, negatives of the other."""
        name = clean_name(name)
        with self._lock:
            wrong_label = self._state.find(wrong) if wrong else None
            label = self._state.find(name) or Label(_new_id(), name)
            if wrong_label is not None and wrong_label.id == label.id:
                wrong_label = None
            owners = [self._state.label_of(p.id) for p in photos]
            moved = tuple({o.id: o for o in owners if o and o.id != label.id}.values())
            known = tuple(
                p.id for p, o in zip(photos, owners, strict=True) if o and o.id == label.id
            )
            self._store(photos)
            self._append(
                "corrected",
                label_id=label.id,
                name=label.name,
                photo_ids=[p.id for p in photos],
                wrong_id=wrong_label.id if wrong_label else None,
            )
            added = tuple(p.id for p in photos if p.id not in known)
            return Taught(self._state.labels[label.id], added, known, moved)

    def reject(self, name: str, photos: Sequence[Photo]) -> Label:
        """The photos are not ``name``: negatives of it."""
        with self._lock:
            label = self.label(name)
            self._store(photos)
            self._append("rejected", label_id=label.id, photo_ids=[p.id for p in photos])
            return label

    def rename(self, name: str, new: str) -> tuple[Label, Label]:
        """Give a label another name; returns it before and after."""
        new = clean_name(new)
        with self._lock:
            label = self.label(name)
            other = self._state.find(new)
            if other is not None and other.id != label.id:
                raise ToolError(
                    f"There is already a label called {other.name}: merge {label.name} into it, "
                    "or choose another name."
                )
            if label.name != new:
                self._append("renamed", label_id=label.id, old=label.name, new=new)
            return label, self._state.labels[label.id]

    def merge(self, name: str, into: str) -> tuple[Label, Label]:
        """Move all exemplars of one label to another and drop the first."""
        with self._lock:
            source, target = self.label(name), self.label(into)
            if source.id == target.id:
                raise ToolError(f"{source.name} and {into} are the same label already.")
            self._append("merged", label_id=source.id, into_id=target.id)
            return source, target

    def forget(self, name: str) -> tuple[Label, int]:
        """Drop a label and its exemplars; returns it and how many pictures it had."""
        with self._lock:
            label = self.label(name)
            count = len(self._state.of(label.id))
            self._append("forgotten", label_id=label.id)
            return label, count

    def undo(self) -> tuple[Event, State]:
        """Take the last change back; returns it and the state before the undoing."""
        with self._lock:
            change = last_change(self._events)
            if change is None:
                raise ToolError("There is nothing to undo: nothing has been taught or changed yet.")
            before = self._state
            self._append("undone", seq=change.seq)
            return change, before

    # --- vectors -------------------------------------------------------------------------------

    def vectors(self, embedder: Embedder) -> dict[str, NDArray[np.float32]]:
        """Photo id → unit vector (d,) for every exemplar, after bringing the index in line."""
        with self._lock:
            return self._mirror.vectors(self._state, embedder)

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
            found = self._mirror.search(self._state, embedder, vector, k, label_id)
            by_id = {e.id: e for e in self._state.exemplars.values()}
            return [Match(by_id[i], similarity) for i, similarity in found if i in by_id]

    def rebuild(self, embedder: Embedder) -> int:
        """Make the index anew from the photos; returns how many exemplars it holds."""
        with self._lock:
            return self._mirror.rebuild(self._state, embedder)

    def close(self) -> None:
        """Release the database."""
        self._journal.close()

    # --- the journal ---------------------------------------------------------------------------

    def _store(self, photos: Sequence[Photo]) -> None:
        for photo in photos:
            self.photos.put(photo)

    def _append(self, kind: Kind, **data: Any) -> None:
        self._take([self._journal.append(kind, data)])

    def _take(self, events: Sequence[Event]) -> None:
        if not events:
            return
        self._events.extend(events)
        if any(e.kind == "undone" for e in events):
            self._builder = StateBuilder()
            fold(self._events, self._builder)
        else:
            for event in events:
                self._builder.apply(event)
        self._state = self._builder.state()

    def _unknown(self, name: str) -> str:
        from difflib import get_close_matches

        names = {name_key(x.name): x.name for x in self._state.labels.values()}
        near = get_close_matches(name_key(name), names, n=1, cutoff=0.6)
        if near:
            return f"I don't know a label called {name}. Did you mean {names[near[0]]}?"
        if not names:
            return f"I don't know a label called {name}: nothing has been taught yet."
        return f"I don't know a label called {name}. I know: {', '.join(names.values())}."


def _new_id() -> str:
    return secrets.token_hex(6)
