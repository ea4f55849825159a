"""What sources and training agree on: rows of pictures with what to say of them, and a report.

Plain data; knows nothing of files' formats, splits or models.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from finetune.data.boxes import Boxed, boxed_from_json
from tools.errors import DataError
from tools.images import Photo, open_photo

__all__ = ["DESCRIBE", "Box", "Found", "Report", "Row", "Source", "Split", "Table"]

DESCRIBE = "Describe this picture."
"""The question whose answers are captions."""
Split = Literal["train", "val", "test"]
Box = tuple[int, int, int, int]
_AS = {"photo_id": "id", "path": "image"}  # fields under other names in JSON


@dataclass(frozen=True)
class Found:
    """What a source says of one picture, before anybody has looked at the picture.

    ``label`` is set, or ``question`` and ``answer`` are, or ``objects``: what is where.
    ``reasoning``: why it is the label.
    ``box``: left, top, right and bottom in pixels of the part that is meant. ``others``: further
    right answers, of several people; they measure and do not train.
    """

    path: Path
    label: str | None = None
    question: str | None = None
    answer: str | None = None
    split: Split | None = None
    box: Box | None = None
    reasoning: str | None = None
    others: tuple[str, ...] = ()
    objects: tuple[Boxed, ...] | None = None

    @property
    def labels(self) -> list[str]:
        """The classes it shows: one, or one for each of its objects."""
        return [one.label for one in self.objects or ()] if self.label is None else [self.label]


@dataclass(frozen=True)
class Source:
    """What a source says of its pictures."""

    rows: Sequence[Found]
    descriptions: Mapping[str, str] = field(default_factory=dict)
    """What classes look like, by name, as far as it says."""
    bring: Callable[[Path], None] | None = None
    """Writes the picture of a row to its path, where the source does not keep it as a file.
    Raises :class:`tools.errors.PhotoError` for one that is not there."""
    bad: Sequence[str] = ()
    """Rows that can't be used, each with the reason."""


@dataclass(frozen=True)
class Row(Found):
    """One picture that opened, by its content id, and what to say of it."""

    photo_id: str = field(kw_only=True)

    def photo(self) -> Photo:
        """The picture, or its part; raises :class:`DataError` if the file has changed since."""
        photo = open_photo(self.path)
        if photo.id != self.photo_id:
            raise DataError(
                f"{self.path} has changed since this run read it first: start a new run."
            )
        return photo if self.box is None else Photo(photo.image.crop(self.box))

    @property
    def key(self) -> tuple[Any, ...]:
        """Rows of equal keys show the same and ask the same."""
        return (self.photo_id, self.box, self.question)

    @property
    def is_caption(self) -> bool:
        """Whether its answer describes the picture."""
        return self.question == DESCRIBE

    def to_json(self) -> dict[str, Any]:
        """As ``data.json`` and ``rows.jsonl`` hold it."""
        fields = {**vars(self), "path": str(self.path), "box": list(self.box) if self.box else None}
        fields["objects"] = None if self.objects is None else [list(one) for one in self.objects]
        return {_AS.get(k, k): v for k, v in fields.items() if v not in (None, ())}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Row:
        """What :meth:`to_json` wrote."""
        fields: dict[str, Any] = {
            name: data.get(_AS.get(name, name)) for name in cls.__dataclass_fields__
        }
        fields["path"] = Path(fields["path"])
        fields["box"] = tuple(fields["box"]) if fields["box"] else None
        fields["others"] = tuple(fields["others"] or ())
        fields["objects"] = boxed_from_json(fields["objects"])
        return cls(**fields)


@dataclass
class Report:
    """What was found in a source, for a person to read before anything is trained."""

    source: str = ""
    bad: list[str] = field(default_factory=list)
    """Files that could not be used, each with the reason."""
    duplicates: list[str] = field(default_factory=list)
    """Rows left out because the same picture is there already, saying the same."""
    conflicts: list[str] = field(default_factory=list)
    """Pictures left out because they have two classes."""
    leaks: list[str] = field(default_factory=list)
    """Pictures taken out of training because the source also has them for measuring."""

    def to_json(self) -> dict[str, Any]:
        """Everything, with counts."""
        lists = {"bad": self.bad, "duplicates": self.duplicates, "conflicts": self.conflicts}
        lists["leaks"] = self.leaks
        return {
            "source": self.source,
            **{name: {"count": len(entries), "files": entries} for name, entries in lists.items()},
        }


@dataclass(frozen=True)
class Table:
    """Rows ready to be split. ``classes``: names in alphabetical order; empty for questions."""

    rows: tuple[Row, ...]
    report: Report
    descriptions: Mapping[str, str] = field(default_factory=dict)
    """What classes look like, as far as the source says."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, in alphabetical order."""
        return tuple(sorted({label for row in self.rows for label in row.labels}))

    @property
    def boxed(self) -> bool:
        """Whether it says what is where."""
        return any(row.objects is not None for row in self.rows)

    @property
    def counts(self) -> dict[str, int]:
        """Rows of each class, or objects where it says what is where."""
        found = Counter(label for row in self.rows for label in row.labels)
        return {name: found[name] for name in self.classes}

    @property
    def imbalance(self) -> float:
        """Pictures of the largest class for each one of the smallest."""
        counts = self.counts.values()
        return max(counts) / min(counts) if counts else 1.0

    def take(self, numbers: Sequence[int]) -> list[Row]:
        """The rows of those numbers."""
        return [self.rows[i] for i in numbers]

    def to_json(self) -> dict[str, Any]:
        """The report with counts, and every row."""
        return {
            **self.report.to_json(),
            "pictures": len({row.photo_id for row in self.rows}),
            "classes": self.counts,
            "descriptions": dict(self.descriptions),
            "imbalance": round(self.imbalance, 2),
            "rows": [row.to_json() for row in self.rows],
        }
