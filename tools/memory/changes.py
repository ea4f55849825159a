"""Every change of what was taught: what it needs, what it refuses, and the event it becomes.

Knows nothing of sentences, vectors or recognition. A change is done when its event is in the
journal; a change that would change nothing is not written.
"""

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from threading import RLock

from tools.errors import ToolError, UnknownLabel
from tools.images import Photo
from tools.memory.events import FORGETTING, Event
from tools.memory.joining import joined
from tools.memory.labels import clean_name, name_key, question_key, unknown_name
from tools.memory.ledger import Ledger
from tools.memory.photos import PhotoStore
from tools.memory.retraction import Retraction
from tools.memory.state import Label, State

__all__ = ["Changes", "Taught"]


@dataclass(frozen=True)
class Taught:
    """What teaching did: photo ids added, known already, or moved from another label."""

    label: Label
    added: tuple[str, ...]
    known: tuple[str, ...]
    moved_from: tuple[Label, ...]


class Changes:
    """What is taught in one workspace, and the ways to change it. Thread-safe."""

    def __init__(self, ledger: Ledger, photos: PhotoStore) -> None:
        self.photos = photos
        self._lock = RLock()
        self._ledger = ledger
        photos.sweep()

    @property
    def state(self) -> State:
        """What is taught now: an immutable snapshot."""
        return self._ledger.state

    @property
    def events(self) -> tuple[Event, ...]:
        """The whole journal, oldest first."""
        return self._ledger.events

    @property
    def revision(self) -> int:
        """Rises with every change; equal revisions mean equal states."""
        return self._ledger.revision

    @property
    def last_change(self) -> Event | None:
        """What :meth:`undo` would take back now."""
        return self._ledger.last_change

    def refresh(self) -> None:
        """Take in what other processes wrote to the same journal since."""
        with self._lock:
            self._ledger.refresh()

    def label(self, name: str) -> Label:
        """The label called ``name``; raises :class:`UnknownLabel` with the nearest names."""
        found = self.state.find(name)
        if found is None:
            shown = (x for x in self.state.labels.values() if self.state.of(x.id))
            seen = [name for label in shown for name in label.names]
            raise UnknownLabel(unknown_name(name, self.state.names, seen))
        return found

    def teach(self, name: str, photos: Sequence[Photo], description: str = "") -> Taught:
        """Add ``photos`` under ``name``, making the label when it is new."""
        name = clean_name(name)
        with self._lock:
            known = self.state.find(name)
            label = known or Label(_new_id(), name, description)
            ids = tuple(dict.fromkeys(p.id for p in photos))
            owners = {i: self.state.label_of(i) for i in ids}
            already = tuple(i for i, owner in owners.items() if owner and owner.id == label.id)
            added = tuple(i for i in ids if i not in already)
            moved = tuple({o.id: o for o in owners.values() if o and o.id != label.id}.values())
            if added or not known or (description and description != known.description):
                self._store(photos)
                self._ledger.append(
                    "taught",
                    label_id=label.id,
                    name=label.name,
                    photo_ids=list(added),
                    description=description,
                )
            return Taught(self.state.labels.get(label.id, label), added, already, moved)

    def correct(
        self, name: str, photos: Sequence[Photo], wrong: str | Mapping[str, str] | None = None
    ) -> Taught:
        """The photos are ``name``, and not ``wrong``: exemplars of one, negatives of the other.

        ``wrong`` may differ by photo: names by photo id. One that is no label has no negatives.
        """
        name = clean_name(name)
        with self._lock:
            label = self.state.find(name) or Label(_new_id(), name)
            said = {
                p.id: wrong if isinstance(wrong, str) else (wrong or {}).get(p.id) for p in photos
            }
            found = {i: self.state.find(w) for i, w in said.items() if w}
            wrong_ids = {i: x.id for i, x in found.items() if x is not None and x.id != label.id}
            owners = [self.state.label_of(p.id) for p in photos]
            moved = tuple({o.id: o for o in owners if o and o.id != label.id}.values())
            known = tuple(
                p.id for p, o in zip(photos, owners, strict=True) if o and o.id == label.id
            )
            self._store(photos)
            each = {wrong_ids.get(p.id) for p in photos}
            self._ledger.append(
                "corrected",
                label_id=label.id,
                name=label.name,
                photo_ids=[p.id for p in photos],
                wrong_id=each.pop() if len(each) == 1 else None,
                wrong_ids=wrong_ids if each else {},
            )
            added = tuple(p.id for p in photos if p.id not in known)
            return Taught(self.state.labels[label.id], added, known, moved)

    def reject(self, name: str, photos: Sequence[Photo]) -> Label:
        """The photos are not ``name``: negatives of it."""
        with self._lock:
            label = self.label(name)
            self._store(photos)
            self._ledger.append("rejected", label_id=label.id, photo_ids=[p.id for p in photos])
            return label

    def rename(self, name: str, new: str) -> tuple[Label, Label]:
        """Give a label another name; returns it before and after. Its aliases stay."""
        new = clean_name(new)
        with self._lock:
            label = self.label(name)
            other = self.state.find(new)
            if other is not None and other.id != label.id:
                raise ToolError(
                    f"There is already a label called {other.told(new)}: merge {label.name} "
                    "into it, or choose another name."
                )
            if label.name != new:
                self._ledger.append("renamed", label_id=label.id, old=label.name, new=new)
            return label, self.state.labels[label.id]

    def alias(self, name: str, alias: str) -> tuple[Label, bool]:
        """Another name for a label; returns it afterwards, and whether the name is new to it."""
        alias = clean_name(alias)
        with self._lock:
            label = self.label(name)
            other = self.state.find(alias)
            if other is not None and other.id != label.id:
                raise ToolError(
                    f"There is already a label called {other.told(alias)}: merge {other.name} "
                    f"into {label.name} if they are the same thing, or choose another name."
                )
            if other is None:
                self._ledger.append("aliased", label_id=label.id, alias=alias)
            return self.state.labels[label.id], other is None

    def merge(self, name: str, into: str) -> tuple[Label, Label]:
        """Move all exemplars and names of one label to another and drop the first."""
        with self._lock:
            source, target = self.label(name), self.label(into)
            if source.id == target.id:
                raise ToolError(f"{source.name} and {into} are the same label already.")
            self._ledger.append(
                "merged", label_id=source.id, into_id=target.id, aliases=list(source.names)
            )
            return source, target

    def split(self, name: str, new: str, photo_ids: Sequence[str]) -> tuple[Label, Label]:
        """Move some of a label's pictures to a new label; returns both."""
        new = clean_name(new)
        with self._lock:
            label = self.label(name)
            other = self.state.find(new)
            if other is not None and (
                other.id != label.id or name_key(new) == name_key(other.name)
            ):
                raise ToolError(
                    f"There is already a label called {other.told(new)}: "
                    "choose another name for the new one."
                )
            mine = {e.photo_id for e in self.state.of(label.id)}
            if not photo_ids or not set(photo_ids) < mine:
                raise ToolError(
                    f"Some of the pictures of {label.name}, and not all, can become a label of "
                    f"their own: name {len(mine) - 1 if len(mine) > 1 else 'more'} at most."
                )
            new_id = _new_id()
            self._ledger.append(
                "split", label_id=label.id, new_id=new_id, new=new, photo_ids=list(photo_ids)
            )
            return self.state.labels[label.id], self.state.labels[new_id]

    def remember(self, question: str, answer: str, photos: Sequence[Photo]) -> bool:
        """Keep an answer to a question about each photo; False when it was known already."""
        key = question_key(question)
        with self._lock:
            known = [self.state.answers.get((p.id, key)) for p in photos]
            if all(k is not None and k.answer == answer for k in known):
                return False
            self._store(photos)
            self._ledger.append(
                "answered", photo_ids=[p.id for p in photos], question=question, answer=answer
            )
            return True

    def take_in(self, theirs: State, photo: Callable[[str], Photo]) -> None:
        """Add what another memory knows and this one does not; ``photo`` opens its pictures."""
        with self._lock:
            parts = joined(self.state, theirs)
            for photo_id in {i for part in parts for i in part.data.get("photo_ids", ())}:
                self.photos.put(photo(photo_id))
            if parts:
                said = [{"kind": part.kind, "data": part.data} for part in parts]
                self._ledger.append("imported", events=said)

    def forget(self, name: str) -> tuple[Label, int]:
        """Drop a label and its exemplars; returns it and how many pictures it had.

        Of an alias only the alias goes.
        """
        with self._lock:
            label = self.label(name)
            if name_key(name) != name_key(label.name):
                self._ledger.append("unaliased", label_id=label.id, alias=clean_name(name))
                return label, 0
            count = len(self.state.of(label.id))
            self._ledger.append("forgotten", label_id=label.id)
            return label, count

    def drop(self, photo_ids: Sequence[str]) -> tuple[str, ...]:
        """Drop all that was taught of these photos; returns those of which something was."""
        with self._lock:
            known = {e.photo_id for e in self.state.exemplars.values()}
            known |= {a.photo_id for a in self.state.answers.values()}
            gone = tuple(i for i in dict.fromkeys(photo_ids) if i in known)
            if gone:
                self._ledger.append("dropped", photo_ids=list(gone))
            return gone

    def revert(self, since: datetime, when: str) -> list[Event]:
        """Take back what was taught and changed from a moment on; returns those changes.

        What was forgotten since stays forgotten. ``when`` is what the user called the time.
        """
        with self._lock:
            back = [
                e
                for e in self._ledger.in_force()
                if e.kind not in FORGETTING and datetime.fromisoformat(e.at) >= since
            ]
            if back:
                self._ledger.append("reverted", seqs=[e.seq for e in back], when=when)
            return back

    def clear(self) -> State:
        """Drop everything; returns what there was."""
        with self._lock:
            before = self.state
            if before.labels or before.answers:
                self._ledger.append("cleared")
            return before

    def undo(self) -> tuple[Event, State]:
        """Take the last change back; returns it and the state before the undoing."""
        with self._lock:
            return self._ledger.undo()

    def retract(self, seqs: Collection[int], along: Collection[int] = ()) -> Retraction:
        """Take back the events of these numbers; what others' later ones rest on stays.

        Of ``along``, those go too that rest on one of them.
        """
        with self._lock:
            return self._ledger.retract(seqs, along)

    def _store(self, photos: Sequence[Photo]) -> None:
        for photo in photos:
            self.photos.put(photo)


def _new_id() -> str:
    return secrets.token_hex(6)
