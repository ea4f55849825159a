"""One run by several processes: the first carries it out, the others train along with it.

Only training is shared. The first process reads the data, measures, writes and talks; the others
load the same model and wait to be told what to learn. What is trained is split as
:func:`finetune.processes.engine` says. Knows nothing of signals or failures.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any, cast

from finetune import processes
from finetune.data import Plan, Row, Table
from finetune.learner import Learner, Session, Stopped
from finetune.pipeline import make_learner
from finetune.settings import Settings
from tools.errors import SettingsError, TrainingFailed

__all__ = ["check_processes", "learn_along", "shared_learner"]


@dataclass(frozen=True)
class _Fit:
    """What the others are told to learn. ``events``: the log so far."""

    arguments: tuple[Sequence[Row], Sequence[Row], int]
    session: Session
    events: str


def shared_learner(settings: Settings, table: Table, plan: Plan) -> Learner:
    """The learner of ``settings``, whose training all processes share.

    Raises :class:`SettingsError` for what can't be shared.
    """
    if processes.count() == 1:
        return make_learner(settings, table, plan)
    _check_shareable(settings)
    processes.tell((settings, table, plan))
    return cast(Learner, _Led(make_learner(settings, table, plan)))


def check_processes(metadata: dict[str, Any], name: str) -> None:
    """Raises :class:`TrainingFailed` if a run was begun by another number of processes."""
    begun = metadata.get("processes", 1)
    if begun != processes.count():
        raise TrainingFailed(
            f"Run {name} was begun by {begun} process{'es' * (begun > 1)}, and now there "
            f"{'is' if processes.count() == 1 else 'are'} {processes.count()}: its steps would be "
            "of other pictures; go on with as many."
        )


def learn_along(stop: Event) -> None:
    """Learn whatever the first process tells, until it ends (:class:`finetune.processes.Lost`)."""
    learner = make_learner(*processes.heard())
    with tempfile.TemporaryDirectory(prefix="imprint-") as scratch:
        events = Path(scratch) / "events.jsonl"
        while True:
            task = processes.heard()
            events.write_text(task.events, encoding="utf-8")
            train, val, fold = task.arguments
            # What it notes itself decides when it stops; the first process writes the same down.
            session = replace(task.session, log=task.session.log.at(events), stop=stop)
            try:
                learner.fit(train, val, session, fold)
            except Stopped:
                continue  # the first process says so


class _Led:
    """A learner that fits in every process at once; all else happens here alone."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._learner, name)

    def fit(self, train: Sequence[Row], val: Sequence[Row], session: Session, fold: int) -> None:
        told = replace(session, stop=None, on_event=None)  # type: ignore[arg-type]
        processes.tell(_Fit((train, val, fold), told, session.log.text()))
        self._learner.fit(train, val, session, fold)


def _check_shareable(settings: Settings) -> None:
    engine = processes.engine()
    if settings.method == "linear" and settings.linear.unfreeze_layers:
        raise SettingsError(
            f"linear.unfreeze_layers: {settings.linear.unfreeze_layers}, and layers that join in "
            "later can't be kept the same in several processes: set 0, or train in one process."
        )
    if engine == "ddp":
        return
    if settings.method in ("qlora", "linear"):
        what = "4-bit weights" if settings.method == "qlora" else "a linear head"
        raise SettingsError(
            f"method: {settings.method}, and {what} can't be cut up among processes by {engine}: "
            "launch it with the configuration ddp, which gives each process the whole model."
        )
