"""Stages carried out: each on what the one before learned, done once however often a run goes on.

What a stage has learned is kept beside its checkpoints before the next one begins. Knows nothing
of models or loops.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from finetune.distributed import processes
from finetune.events import EventLog
from finetune.files import replace_folder
from finetune.learners.learner import Session
from finetune.settings.schema import Settings
from finetune.settings.stages import stages_of

__all__ = ["Learned", "Part", "in_turn"]


class Learned(Protocol):
    """What all stages train (:class:`finetune.methods.Adapted`)."""

    def restart(self) -> None:
        """As it was before training."""

    def choose(self, settings: Settings) -> None:
        """Let move what ``settings`` train, and nothing else."""

    def save(self, folder: Path) -> None:
        """What was learned."""

    def load(self, folder: Path) -> None:
        """What :meth:`save` wrote."""


@dataclass(frozen=True)
class Part:
    """One stage, and where it writes. ``best``: the folder of its best model by validation."""

    settings: Settings
    log: EventLog
    checkpoints: Path
    best: Path


def in_turn(settings: Settings, session: Session, fold: int, learned: Learned) -> Iterator[Part]:
    """The stages of ``fold`` that are left to do; the next is asked for when one is done.

    The best model of a stage starts the next. That of the last is the run's ``best_model``.
    """
    learned.restart()
    place = session.folder / "checkpoints" / f"fold-{fold}"
    stages = stages_of(settings)
    for number, stage in enumerate(stages, 1):
        folder = place / f"{number}-{stage.name}" if stage.name else place
        if (folder / "learned").is_dir():
            learned.load(folder / "learned")
            continue
        if stage.name:
            session.tell(event="stage", stage=f"fold-{fold}" if fold else "train", part=stage.name)
        learned.choose(stage.settings)
        last = number == len(stages)
        best = session.folder / "best_model" if last else folder / "best"
        yield Part(stage.settings, session.log.of(stage.name), folder, best)
        if not last:
            if best.is_dir():
                learned.load(best)
            processes.once(partial(replace_folder, folder / "learned", learned.save))
