"""A run's folder: everything about one training, readable without us, and what is in it now.

Knows nothing of models or figures. Every file appears whole.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from finetune.data import Fold, Plan, Report, Row, Table
from finetune.events import EventLog
from finetune.files import write_json, write_text
from finetune.settings.files import load_settings, read_yaml
from finetune.settings.schema import Settings
from tools.errors import TrainingFailed

__all__ = ["Run", "create_run", "delete_run", "list_runs", "open_run"]

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_LIBRARIES = ("torch", "transformers", "peft", "accelerate", "bitsandbytes", "numpy", "pillow")


class Run:
    """One run's folder, with paths to what is in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = EventLog(folder / "events.jsonl")
        self._lock = FileLock(folder / ".lock")

    @property
    def name(self) -> str:
        """The folder's."""
        return self.folder.name

    @property
    def settings(self) -> Settings:
        """What it was started with."""
        path = self.folder / "settings.yaml"
        return load_settings(read_yaml(path), where=str(path))

    @property
    def metadata(self) -> dict[str, Any]:
        """``training_metadata.json``."""
        return self._json("training_metadata.json")

    @property
    def results(self) -> dict[str, Any] | None:
        """``results.json``; None before the run has finished."""
        return self._json("results.json") if (self.folder / "results.json").exists() else None

    @property
    def status(self) -> str:
        """created, running, stopped, failed, finished; interrupted when its process is gone."""
        status = str(self.metadata["status"])
        if status != "running" or self._lock.is_locked:
            return status
        try:  # the system gives a dead process's lock back, whatever its number is used for now
            with self._lock.acquire(timeout=0):
                return "interrupted"
        except Timeout:
            return status

    def data(self) -> tuple[Table, Plan]:
        """The rows and which of them measure, as they were when it started."""
        found = self._json("data.json")
        report = Report(source=found["source"])
        for name in ("bad", "duplicates", "conflicts", "leaks"):
            getattr(report, name).extend(found[name]["files"])
        rows = tuple(Row.from_json(row) for row in found["rows"])
        table = Table(rows, report, found["descriptions"])
        plan = found["plan"]
        folds = tuple(_fold(entry) for entry in plan["folds"])
        return table, Plan(plan["how"], _fold(plan["final"]), folds)

    def update(self, **fields: Any) -> None:
        """Change ``training_metadata.json``."""
        path = self.folder / "training_metadata.json"
        before = self.metadata if path.exists() else {}
        write_json(path, {**before, **fields})

    def begin(self) -> None:
        """Note that this process runs it. Raises :class:`TrainingFailed` if another one does."""
        try:
            self._lock.acquire(timeout=1)
        except Timeout as exc:
            raise self._busy() from exc
        self.update(status="running", pid=os.getpid(), begun=_now(), error=None)

    def check_free(self) -> None:
        """Raises :class:`TrainingFailed` while a process runs it."""
        if self.status == "running":
            raise self._busy()

    def end(self, status: str, error: str | None = None) -> None:
        """Note how it ended."""
        try:
            self.update(status=status, ended=_now(), error=error)
        finally:
            self._lock.release()

    def _busy(self) -> TrainingFailed:
        return TrainingFailed(
            f"Run {self.name} is running (process {self.metadata.get('pid')}): wait for it, or "
            "stop it first."
        )

    def _json(self, name: str) -> dict[str, Any]:
        try:
            found = json.loads((self.folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as exc:
            raise TrainingFailed(
                f"{self.folder} is no run that can be read ({name}: {exc}): name one that "
                "`runs list` shows."
            ) from exc
        return dict(found)


def create_run(folder: Path, name: str, settings: Settings, table: Table, plan: Plan) -> Run:
    """A new run in ``folder``; a number is added to a name that is taken."""
    if not _NAME.fullmatch(name):
        raise TrainingFailed(
            f"{name!r} can't be the name of a run: use 1 to 64 of a-z, 0-9, '.', '_' and '-'."
        )
    folder.mkdir(parents=True, exist_ok=True)
    path, number = folder / name, 1
    while True:
        try:
            path.mkdir()
            break
        except FileExistsError:
            number += 1
            path = folder / f"{name}-{number}"
    run = Run(path)
    write_text(path / "settings.yaml", settings.yaml())
    rows = {"how": plan.how, "final": vars(plan.final), "folds": [vars(f) for f in plan.folds]}
    write_json(path / "data.json", {**table.to_json(), "plan": rows})
    run.update(
        status="created",
        created=_now(),
        python=platform.python_version(),
        platform=platform.platform(),
        versions=_versions(),
        command=sys.argv,
    )
    return run


def open_run(folder: Path, name: str) -> Run:
    """The run of that name in ``folder``. Raises :class:`TrainingFailed` if there is none."""
    path = folder / name
    if not _NAME.fullmatch(name) or not (path / "training_metadata.json").is_file():
        known = ", ".join(run.name for run in list_runs(folder)[:5]) or "none"
        raise TrainingFailed(f"There is no run {name!r} in {folder}: there is {known}.")
    return Run(path)


def list_runs(folder: Path) -> list[Run]:
    """Every run in ``folder``, newest first."""
    if not folder.is_dir():
        return []
    found = [Run(p) for p in folder.iterdir() if (p / "training_metadata.json").is_file()]
    return sorted(found, key=lambda run: str(run.metadata.get("created")), reverse=True)


def delete_run(run: Run) -> None:
    """Remove a run's folder. Raises :class:`TrainingFailed` while it runs."""
    run.check_free()
    shutil.rmtree(run.folder)


def _fold(entry: Mapping[str, Any]) -> Fold:
    return Fold(tuple(entry["train"]), tuple(entry["val"]), tuple(entry["test"]))


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
