"""The journal's events, and the state they add up to: a pure function, no disk, no clock.

An *undone* event names the event that it takes back; the state is the fold of all others, so
undoing restores exactly what was before.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from tools.memory.labels import name_key

__all__ = [
    "CHANGES",
    "Event",
    "Exemplar",
    "Kind",
    "Label",
    "State",
    "StateBuilder",
    "fold",
    "last_change",
]

Kind = Literal["taught", "corrected", "rejected", "renamed", "merged", "forgotten", "undone"]
CHANGES: tuple[Kind, ...] = (
    "taught",
    "corrected",
    "rejected",
    "renamed",
    "merged",
    "forgotten",
)


@dataclass(frozen=True)
class Event:
    """One line of the journal. ``seq`` rises by time; ``at`` is ISO 8601 in UTC."""

    seq: int
    kind: Kind
    data: Mapping[str, Any]
    at: str


@dataclass(frozen=True)
class Label:
    """What the user calls something; the name is an attribute, the id never changes."""

    id: str
    name: str
    description: str = ""


@dataclass(frozen=True)
class Exemplar:
    """One photo taught under a label, or (``positive`` false) rejected for it."""

    label_id: str
    photo_id: str
    positive: bool
    seq: int

    @property
    def id(self) -> str:
        """Unique among the exemplars of a workspace."""
        return f"{self.label_id}.{self.photo_id}"


@dataclass(frozen=True)
class State:
    """Labels by id and exemplars by (label id, photo id), in the order of teaching."""

    labels: Mapping[str, Label] = field(default_factory=lambda: MappingProxyType({}))
    exemplars: Mapping[tuple[str, str], Exemplar] = field(
        default_factory=lambda: MappingProxyType({})
    )
    owners: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Photo id → id of the label it is taught under."""

    def find(self, name: str) -> Label | None:
        """The label of that name, whatever its case."""
        key = name_key(name)
        return next((x for x in self.labels.values() if name_key(x.name) == key), None)

    def of(self, label_id: str, *, positive: bool = True) -> list[Exemplar]:
        """The label's exemplars (or its negatives), oldest first."""
        return [
            e for e in self.exemplars.values() if e.label_id == label_id and e.positive is positive
        ]

    def label_of(self, photo_id: str) -> Label | None:
        """The label a photo is taught under; a photo has at most one."""
        owner = self.owners.get(photo_id)
        return self.labels[owner] if owner is not None else None


def last_change(events: Iterable[Event]) -> Event | None:
    """The newest change that is not undone: what *undo* takes back."""
    events = list(events)
    undone = {e.data["seq"] for e in events if e.kind == "undone"}
    live = [e for e in events if e.kind in CHANGES and e.seq not in undone]
    return live[-1] if live else None


def fold(events: Iterable[Event], builder: "StateBuilder | None" = None) -> State:
    """The state that ``events`` (ordered by ``seq``) add up to; ``builder`` is a fresh one."""
    events = list(events)
    undone = {e.data["seq"] for e in events if e.kind == "undone"}
    builder = builder or StateBuilder()
    for event in events:
        if event.seq not in undone and event.kind != "undone":
            builder.apply(event)
    return builder.state()


class StateBuilder:
    """A state in the making: applies events one by one, each in time of its own size."""

    def __init__(self) -> None:
        self._labels: dict[str, Label] = {}
        self._exemplars: dict[tuple[str, str], Exemplar] = {}
        self._owners: dict[str, str] = {}  # photo id → the label it is taught under

    def state(self) -> State:
        """A snapshot that later events do not touch."""
        return State(
            MappingProxyType(dict(self._labels)),
            MappingProxyType(dict(self._exemplars)),
            MappingProxyType(dict(self._owners)),
        )

    def apply(self, event: Event) -> None:
        """Take one change in; *undone* events are the caller's business (:func:`fold`)."""
        data = event.data
        match event.kind:
            case "taught" | "corrected":
                self._taught(event)
            case "rejected":
                if data["label_id"] in self._labels:
                    for photo_id in data["photo_ids"]:
                        self._put(data["label_id"], photo_id, False, event.seq)
            case "renamed":
                old = self._labels.get(data["label_id"])
                if old:
                    self._labels[old.id] = replace(old, name=data["new"])
            case "merged":
                self._merged(data["label_id"], data["into_id"])
            case "forgotten":
                self._labels.pop(data["label_id"], None)
                for key in [k for k in self._exemplars if k[0] == data["label_id"]]:
                    self._drop(key)
            case "undone":
                raise ValueError("an undone event has no effect of its own: fold the journal")

    def _taught(self, event: Event) -> None:
        data = event.data
        label_id, wrong_id = data["label_id"], data.get("wrong_id")
        old = self._labels.get(label_id)
        description = data.get("description") or (old.description if old else "")
        self._labels[label_id] = Label(label_id, old.name if old else data["name"], description)
        for photo_id in data["photo_ids"]:
            # One photo, one label: the latest statement wins.
            owner = self._owners.get(photo_id)
            if owner is not None and owner != label_id:
                self._drop((owner, photo_id))
            self._put(label_id, photo_id, True, event.seq)
            if wrong_id in self._labels and wrong_id != label_id:
                self._put(wrong_id, photo_id, False, event.seq)

    def _merged(self, source: str, into: str) -> None:
        if source not in self._labels or into not in self._labels:
            return
        for key, e in [(k, e) for k, e in self._exemplars.items() if k[0] == source]:
            self._drop(key)
            present = self._exemplars.get((into, e.photo_id))
            if present is None or (e.positive and not present.positive):
                self._put(into, e.photo_id, e.positive, e.seq)
        del self._labels[source]

    def _drop(self, key: tuple[str, str]) -> None:
        dropped = self._exemplars.pop(key)
        if dropped.positive:
            del self._owners[dropped.photo_id]

    def _put(self, label_id: str, photo_id: str, positive: bool, seq: int) -> None:
        key = (label_id, photo_id)
        present = self._exemplars.get(key)
        if present is not None and present.positive is positive:
            return
        if present is not None:
            self._drop(key)
        self._exemplars[key] = Exemplar(label_id, photo_id, positive, seq)
        if positive:
            self._owners[photo_id] = label_id
