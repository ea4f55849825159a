"""The log of a run, one JSON object a line, that whoever follows the run reads as it grows.

Knows nothing of training. After a stop it is cut back to the checkpoint that the run goes on
from, so that it holds every step once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from finetune.files import write_text

__all__ = ["EventLog", "Told"]

Told = Callable[[dict[str, Any]], None]
"""Who is told of events as they happen."""


class EventLog:
    """``events.jsonl``. ``fold`` 0 is the model that is kept; the others measure."""

    def __init__(self, path: Path, *, stage: str = "") -> None:
        """``stage``: everything added is of it, and nothing else is read or cut."""
        self._path = path
        self._stage = {"stage": stage} if stage else {}

    def of(self, stage: str) -> EventLog:
        """The log of a stage, in the same file."""
        return EventLog(self._path, stage=stage)

    def at(self, path: Path) -> EventLog:
        """The same log in another file."""
        return EventLog(path, stage=self._stage.get("stage", ""))

    def text(self) -> str:
        """All of the file."""
        return self._path.read_text(encoding="utf-8") if self._path.exists() else ""

    def add(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Append an event; returns it."""
        event = {"event": kind, "time": datetime.now(UTC).isoformat(timespec="milliseconds")}
        event |= self._stage | fields
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")
        return event

    def read(self, kind: str | None = None, *, fold: int | None = None) -> list[dict[str, Any]]:
        """Every whole line, oldest first; only of a kind, or of a fold."""
        return [
            event
            for event in self._lines()
            if self._mine(event)
            and (kind is None or event["event"] == kind)
            and (fold is None or event.get("fold") == fold)
        ]

    def cut(self, fold: int, step: int) -> None:
        """Forget what happened in ``fold`` after ``step``; half a line at the end goes too."""
        kept = [
            event
            for event in self._lines()
            if not self._mine(event) or event.get("fold") != fold or event.get("step", 0) <= step
        ]
        write_text(self._path, "".join(json.dumps(event) + "\n" for event in kept))

    def _mine(self, event: dict[str, Any]) -> bool:
        return self._stage.items() <= event.items()

    def _lines(self) -> Iterator[dict[str, Any]]:
        if not self._path.exists():
            return
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(line)
            except ValueError:  # the process was killed while it wrote this line
                continue
