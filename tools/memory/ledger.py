"""The journal of a workspace and the state it adds up to, always in step.

Knows nothing of photos, vectors or names. Not thread-safe: the memory that owns it locks.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, get_args

from tools.errors import MemoryFailed, ToolError
from tools.memory.events import CHANGES, Event, Kind, in_force, standing
from tools.memory.retraction import Retraction, retraction
from tools.memory.state import State, StateBuilder, fold

if TYPE_CHECKING:
    from tools.memory.journal import Journal

__all__ = ["Ledger", "noting"]

_NOTES: ContextVar[list[int] | None] = ContextVar("notes", default=None)


@contextmanager
def noting(seqs: list[int]) -> Iterator[None]:
    """Add to ``seqs`` the numbers of the events that this thread appends meanwhile.

    Whoever else writes to the same journal is left out, as a comparison of before and after
    could not.
    """
    token = _NOTES.set(seqs)
    try:
        yield
    finally:
        _NOTES.reset(token)


class Ledger:
    """Events read from a journal or appended to it, folded as they come."""

    def __init__(self, journal: "Journal") -> None:
        self._journal = journal
        self._events: list[Event] = []
        self._builder = StateBuilder()
        self.state = State()
        """What is taught now: an immutable snapshot."""
        self.refresh()

    @property
    def events(self) -> tuple[Event, ...]:
        """The whole journal, oldest first."""
        return tuple(self._events)

    @property
    def revision(self) -> int:
        """Rises with every event."""
        return self._events[-1].seq if self._events else 0

    @property
    def last_change(self) -> Event | None:
        """The newest change that stands: what :meth:`undo` would take back."""
        return next((e for e in reversed(standing(self._events)) if e.kind in CHANGES), None)

    def refresh(self) -> None:
        """Take in what was written to the journal since, by whomever.

        Raises :class:`MemoryFailed` for a kind of event that this version does not know.
        """
        self._take(self._journal.read(after=self.revision))

    def append(self, kind: Kind, **data: Any) -> Event:
        """Commit one change, then take it in."""
        event = self._journal.append(kind, data)
        self._take([event])
        if (notes := _NOTES.get()) is not None:
            notes.append(event.seq)
        return event

    def undo(self) -> tuple[Event, State]:
        """Take the last change back; returns it and the state before the undoing."""
        change = self.last_change
        if change is None:
            raise ToolError("There is nothing to undo: nothing has been taught or changed yet.")
        before = self.state
        self.append("undone", seq=change.seq)
        return change, before

    def retract(self, seqs: Collection[int], along: Collection[int] = ()) -> Retraction:
        """Take back the events of these numbers, save those on which later ones rest."""
        found = retraction(self._events, seqs, along=along)
        if found:
            self.append("retracted", seqs=list(found.seqs))
        return found

    def in_force(self) -> list[Event]:
        """The changes that make up the state, oldest first."""
        return in_force(self._events)

    def close(self) -> None:
        """Release the database."""
        self._journal.close()

    def _take(self, events: Sequence[Event]) -> None:
        if not events:
            return
        strange = {e.kind for e in events} - set(get_args(Kind))
        if strange:
            # To leave such changes out would show, and then build on, a memory that never was.
            raise MemoryFailed(
                f"A newer version of Imprint has written to this memory ({min(strange)!r:.40} is "
                "no kind of change that this one knows): update Imprint, or choose another folder "
                "with --home."
            )
        self._events.extend(events)
        if any(e.targets for e in events):
            self._builder = StateBuilder()
            fold(self._events, self._builder)
        else:
            for event in events:
                self._builder.apply(event)
        self.state = self._builder.state()
