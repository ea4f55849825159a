"""The state that the journal's events add up to: a pure function, no disk, no clock.

It is the fold of the events that nothing took back: undoing restores exactly what was before.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from tools.memory.events import Event, in_force
from tools.memory.labels import name_key, question_key

__all__ = [
    "Exemplar",
    "Label",
    "RememberedAnswer",
    "State",
    "StateBuilder",
    "fold",
]


@dataclass(frozen=True)
class Label:
    """What the user calls something; the names are attributes, the id never changes."""

    id: str
    name: str
    description: str = ""
    aliases: tuple[str, ...] = ()
    """What it is also called; no other label has any of these names."""

    @property
    def names(self) -> tuple[str, ...]:
        """The name and the aliases."""
        return (self.name, *self.aliases)

    def told(self, name: str) -> str:
        """Its name, and ``name`` beside it when that is another one it was called by."""
        same = name_key(name) == name_key(self.name)
        return self.name if same else f"{name} (another name of {self.name})"

    def without(self, alias: str) -> "Label":
        """The label when it is no longer also called ``alias``."""
        key = name_key(alias)
        return replace(self, aliases=tuple(a for a in self.aliases if name_key(a) != key))


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
class RememberedAnswer:
    """What the user answered to a question about one photo. Data: never an instruction."""

    photo_id: str
    question: str
    answer: str
    seq: int


@dataclass(frozen=True)
class State:
    """Labels by id and exemplars by (label id, photo id), in the order of teaching."""

    labels: Mapping[str, Label] = field(default_factory=lambda: MappingProxyType({}))
    exemplars: Mapping[tuple[str, str], Exemplar] = field(
        default_factory=lambda: MappingProxyType({})
    )
    owners: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Photo id → id of the label it is taught under."""
    answers: Mapping[tuple[str, str], RememberedAnswer] = field(
        default_factory=lambda: MappingProxyType({})
    )
    """By (photo id, key of the question)."""

    @property
    def names(self) -> tuple[str, ...]:
        """Every name and alias."""
        return tuple(n for x in self.labels.values() for n in x.names)

    def find(self, name: str) -> Label | None:
        """The label that has that name or alias, whatever its case."""
        key = name_key(name)
        return next(
            (x for x in self.labels.values() if any(name_key(n) == key for n in x.names)), None
        )

    def of(self, label_id: str, *, positive: bool = True) -> list[Exemplar]:
        """The label's exemplars (or its negatives), oldest first."""
        return [
            e for e in self.exemplars.values() if e.label_id == label_id and e.positive is positive
        ]

    def label_of(self, photo_id: str) -> Label | None:
        """The label a photo is taught under; a photo has at most one."""
        owner = self.owners.get(photo_id)
        return self.labels[owner] if owner is not None else None


def fold(events: Iterable[Event], builder: "StateBuilder | None" = None) -> State:
    """The state that ``events`` (ordered by ``seq``) add up to; ``builder`` is a fresh one."""
    builder = builder or StateBuilder()
    for event in in_force(events):
        builder.apply(event)
    return builder.state()


class StateBuilder:
    """A state in the making: applies events one by one, each in time of its own size."""

    def __init__(self) -> None:
        self._labels: dict[str, Label] = {}
        self._exemplars: dict[tuple[str, str], Exemplar] = {}
        self._owners: dict[str, str] = {}  # photo id → the label it is taught under
        self._answers: dict[tuple[str, str], RememberedAnswer] = {}

    def state(self) -> State:
        """A snapshot that later events do not touch."""
        return State(
            MappingProxyType(dict(self._labels)),
            MappingProxyType(dict(self._exemplars)),
            MappingProxyType(dict(self._owners)),
            MappingProxyType(dict(self._answers)),
        )

    def apply(self, event: Event) -> None:
        """Take one change in; what takes others back is the caller's business (:func:`fold`)."""
        data = event.data
        label = self._labels.get(data.get("label_id", ""))
        match event.kind:
            case "taught" | "corrected":
                self._taught(event)
            case "rejected" if label:
                for photo_id in data["photo_ids"]:
                    self._put(label.id, photo_id, False, event.seq)
            case "renamed" if label:
                self._labels[label.id] = replace(label.without(data["new"]), name=data["new"])
            case "aliased" if label:
                self._labels[label.id] = replace(label, aliases=(*label.aliases, data["alias"]))
            case "unaliased" if label:
                self._labels[label.id] = label.without(data["alias"])
            case "merged" if label and data["into_id"] in self._labels:
                self._merged(label, self._labels[data["into_id"]], data.get("aliases", ()))
            case "split" if label:
                self._split(label, data)
            case "answered":
                self._answered(event)
            case "imported":
                for part in event.parts:
                    self.apply(part)
            case "forgotten" if label:
                self._unanswer({p for p, owner in self._owners.items() if owner == label.id})
                self._drop([k for k in self._exemplars if k[0] == label.id])
                del self._labels[label.id]
            case "dropped":
                gone = set(data["photo_ids"])
                self._drop([k for k in self._exemplars if k[1] in gone])
                self._unanswer(gone)
            case "cleared":
                for everything in (self._labels, self._exemplars, self._owners, self._answers):
                    everything.clear()
            case "undone" | "reverted" | "retracted":
                raise ValueError(f"{event.kind} has no effect of its own: fold the journal")

    def _taught(self, event: Event) -> None:
        data = event.data
        label_id, wrong_ids = data["label_id"], data.get("wrong_ids", {})
        old = self._labels.get(label_id) or Label(label_id, data["name"])
        self._labels[label_id] = replace(
            old, description=data.get("description") or old.description
        )
        for photo_id in data["photo_ids"]:
            # One photo, one label: the latest statement wins.
            owner = self._owners.get(photo_id)
            if owner is not None and owner != label_id:
                self._drop([(owner, photo_id)])
            self._put(label_id, photo_id, True, event.seq)
            wrong_id = wrong_ids.get(photo_id, data.get("wrong_id"))
            if wrong_id in self._labels and wrong_id != label_id:
                self._put(wrong_id, photo_id, False, event.seq)

    def _merged(self, source: Label, into: Label, aliases: Iterable[str]) -> None:
        for key, e in [(k, e) for k, e in self._exemplars.items() if k[0] == source.id]:
            self._drop([key])
            present = self._exemplars.get((into.id, e.photo_id))
            if present is None or (e.positive and not present.positive):
                self._put(into.id, e.photo_id, e.positive, e.seq)
        del self._labels[source.id]
        self._labels[into.id] = replace(into, aliases=(*into.aliases, *aliases))

    def _split(self, label: Label, data: Mapping[str, Any]) -> None:
        new = Label(data["new_id"], data["new"])
        self._labels[label.id] = label.without(new.name)
        self._labels[new.id] = new
        moved = set(data["photo_ids"])
        for key, e in [(k, e) for k, e in self._exemplars.items() if k[0] == label.id]:
            if e.positive and e.photo_id in moved:
                self._drop([key])
                self._put(new.id, e.photo_id, True, e.seq)
            elif not e.positive:
                # What is none of the whole is none of its parts.
                self._put(new.id, e.photo_id, False, e.seq)

    def _answered(self, event: Event) -> None:
        data = event.data
        for photo_id in data["photo_ids"]:
            key = (photo_id, question_key(data["question"]))
            self._answers.pop(key, None)  # the latest comes last
            self._answers[key] = RememberedAnswer(
                photo_id, data["question"], data["answer"], event.seq
            )

    def _unanswer(self, photo_ids: set[str]) -> None:
        for key in [k for k in self._answers if k[0] in photo_ids]:
            del self._answers[key]

    def _drop(self, keys: Iterable[tuple[str, str]]) -> None:
        for key in keys:
            dropped = self._exemplars.pop(key)
            if dropped.positive:
                del self._owners[dropped.photo_id]

    def _put(self, label_id: str, photo_id: str, positive: bool, seq: int) -> None:
        key = (label_id, photo_id)
        present = self._exemplars.get(key)
        if present is not None and present.positive is positive:
            return
        if present is not None:
            self._drop([key])
        self._exemplars[key] = Exemplar(label_id, photo_id, positive, seq)
        if positive:
            self._owners[photo_id] = label_id
