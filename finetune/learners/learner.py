"""What can be trained on pictures and measured: the one shape behind every method.

Knows nothing of how: see :mod:`finetune.learners.answering`, :mod:`finetune.learners.linear` and
:mod:`finetune.learners.prototypes`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any, Protocol, runtime_checkable

from finetune.data.table import Row
from finetune.evaluation.predictions import Prediction
from finetune.events import EventLog, Told
from finetune.settings.schema import Settings
from tools.errors import TrainingError
from tools.models.sources import Located

__all__ = ["InEpisodes", "Learner", "Session", "Stopped", "base_facts"]


class Stopped(TrainingError):
    """The run was asked to stop, and has saved what it had."""


@dataclass(frozen=True)
class Session:
    """Where a learner writes while it learns, who is told, and how it is stopped."""

    folder: Path
    log: EventLog
    stop: Event = field(default_factory=Event)
    on_event: Told | None = None

    def tell(self, **event: Any) -> None:
        """Tell whoever follows, without a line in the log."""
        if self.on_event is not None:
            self.on_event(event)

    def check(self) -> None:
        """Raises :class:`Stopped` once the run was asked to stop."""
        if self.stop.is_set():
            raise Stopped(f"Stopped. Go on with: python -m finetune runs resume {self.folder.name}")

    def measuring(self, rows: Sequence[Row], size: int = 1) -> Iterator[Sequence[Row]]:
        """``rows`` in parts of ``size``: checked before each, and told after it."""
        for start in range(0, len(rows), size):
            self.check()
            part = rows[start : start + size]
            yield part
            self.tell(event="measured", done=start + len(part), all=len(rows))


class Learner(Protocol):
    """Something that learns from rows; all folds of a run use the same one."""

    base_name: str
    """What the untrained model is called in the report."""

    def describe(self) -> dict[str, Any]:
        """Model, its revision and precision, what trains: for people and the manifest."""

    def fit(self, train: Sequence[Row], val: Sequence[Row], session: Session, fold: int) -> None:
        """Learn from scratch, or from the checkpoint of ``fold`` where there is one.

        Raises :class:`Stopped` after saving when asked to.
        """

    def predict(
        self, rows: Sequence[Row], session: Session, *, base: bool = False
    ) -> list[Prediction]:
        """What it says of each row; ``base``: what it said before it learned."""

    def save(self, folder: Path) -> None:
        """What was learned, in a folder that exists."""

    def load(self, folder: Path) -> None:
        """What :meth:`save` wrote."""


def base_facts(settings: Settings, located: Located) -> dict[str, Any]:
    """Which model a learner starts from: what `describe` begins with."""
    return {
        "base_model": settings.base_model,
        "base_id": located.id(),
        "revision": located.revision,
    }


@runtime_checkable
class InEpisodes(Protocol):
    """A learner that learns to learn: it is measured by what it can tell after a few pictures."""

    def examined(
        self, rows: Sequence[Row], session: Session, *, base: bool = False
    ) -> list[Prediction]:
        """What it says of each row, having just been shown a few others."""

    def by_recogniser(self, rows: Sequence[Row], session: Session) -> list[Prediction]:
        """What the recogniser says, having been shown the same."""
