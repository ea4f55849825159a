"""One run by several processes: the first carries it out, the others train along with it.

Only training is shared. The first process reads the data, measures, writes and talks; the others
load the same model and wait to be told what to learn. What is trained is split as
:func:`finetune.distributed.processes.engine` says. Knows nothing of signals or failures.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any, cast

from safetensors.torch import load_file

from finetune.data import Plan, Row, Table
from finetune.distributed import processes, sharding
from finetune.files import replace_folder
from finetune.learners.learner import Learner, Session, Stopped
from finetune.pipeline import make_learner
from finetune.settings.schema import Settings
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
    return cast(Learner, _Led(settings, table, plan))


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
    """Learn whatever the first process tells, until it ends (:class:`processes.Lost`)."""
    opened = processes.heard()
    learner = make_learner(*opened)
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
            if sharding.cut_up():
                learner = make_learner(*opened)


class _Led:
    """A learner that fits in every process at once; all else happens here alone."""

    def __init__(self, settings: Settings, table: Table, plan: Plan) -> None:
        self._opened = (settings, table, plan)
        self._learner: Any = make_learner(*self._opened)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._learner, name)

    def fit(self, train: Sequence[Row], val: Sequence[Row], session: Session, fold: int) -> None:
        told = replace(session, stop=None, on_event=None)  # type: ignore[arg-type]
        processes.tell(_Fit((train, val, fold), told, session.log.text()))
        self._learner.fit(train, val, session, fold)
        if sharding.cut_up():
            self._put_together(session, fold)

    def _put_together(self, session: Session, fold: int) -> None:
        """A whole model in place of this process's part of one, with what was learned."""
        self._learner = make_learner(*self._opened)
        adapted, written = self._learner.adapted, session.folder / "checkpoints" / f"fold-{fold}"
        if (written / sharding.BEST).exists():
            adapted.put(load_file(written / sharding.BEST))
            replace_folder(session.folder / "best_model", adapted.save)
        adapted.put(load_file(written / sharding.LAST))


def _check_shareable(settings: Settings) -> None:
    engine = processes.engine()
    if settings.method == "linear" and settings.linear.unfreeze_layers:
        raise SettingsError(
            f"linear.unfreeze_layers: {settings.linear.unfreeze_layers}, and layers that join in "
            "later can't be kept the same in several processes: set 0, or train in one process."
        )
    whole = {
        f"method: {settings.method}": settings.method not in ("lora", "full", "projector"),
        f"role: {settings.role}": settings.role != "answerer",
        "stages: a model that is cut up for each": bool(settings.stages),
    }
    problems = [what for what, wrong in whole.items() if wrong]
    if engine != "ddp" and problems:
        raise SettingsError(
            f"{problems[0]} is not trained with {engine}: launch it with the configuration ddp, "
            "which gives each process the whole model."
        )
