"""The journal's events, and which of them count: no disk, no clock.

An *undone* event names the event that it takes back, a *retracted* one names several, of any kind;
a *reverted* one names several too, and is a change that can be undone itself. What was taken back
takes nothing back. Knows nothing of what they add up to (:mod:`tools.memory.state`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

__all__ = ["CHANGES", "FORGETTING", "Event", "Kind", "in_force", "standing"]

Kind = Literal[
    "taught",
    "corrected",
    "rejected",
    "renamed",
    "merged",
    "aliased",
    "split",
    "answered",
    "imported",
    "unaliased",
    "forgotten",
    "dropped",
    "reverted",
    "cleared",
    "undone",
    "retracted",
]
CHANGES: tuple[Kind, ...] = tuple(k for k in get_args(Kind) if k not in ("undone", "retracted"))
FORGETTING: tuple[Kind, ...] = ("unaliased", "forgotten", "dropped", "reverted", "cleared")
"""Changes that only take away: they leave no two labels with one name, whatever they follow."""


@dataclass(frozen=True)
class Event:
    """One line of the journal. ``seq`` rises by time; ``at`` is ISO 8601 in UTC."""

    seq: int
    kind: Kind
    data: Mapping[str, Any]
    at: str

    @property
    def targets(self) -> set[int]:
        """The numbers of the events that it takes back."""
        if self.kind == "undone":
            return {self.data["seq"]}
        return set(self.data["seqs"]) if self.kind in ("reverted", "retracted") else set()

    @property
    def parts(self) -> "tuple[Event, ...]":
        """The changes that it is made of: itself, or those of a pack that was taken in."""
        if self.kind != "imported":
            return (self,)
        return tuple(Event(self.seq, p["kind"], p["data"], self.at) for p in self.data["events"])


def in_force(events: Iterable[Event]) -> list[Event]:
    """The changes that count: neither undone, nor taken back by one that counts."""
    return [e for e in standing(events) if e.kind in CHANGES and e.kind != "reverted"]


def standing(events: Iterable[Event]) -> list[Event]:
    """The events that no standing one has taken back, oldest first."""
    gone: set[int] = set()
    left = []
    for event in reversed(list(events)):
        if event.seq not in gone:
            left.append(event)
            gone |= event.targets
    return left[::-1]
