"""What the command line shows while something runs, and how it words failures.

Knows nothing of training: it is told events.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any

import typer

from finetune.distributed import processes
from tools.errors import ImprintError, SettingsError

__all__ = ["Follower", "echo", "facts_of_data", "following", "show_json", "worded"]

_STAGES = {
    "base": "measuring the model before training",
    "exemplars": "measuring the recogniser with the same pictures",
    "train": "training the model that is kept",
    "test": "measuring it",
    "controls": "looking for what the figures may hide",
}


def echo(text: str) -> None:
    """A line for people, on standard error where programs do not read it."""
    typer.echo(text, err=True)


@contextmanager
def worded() -> Iterator[None]:
    """Expected failures as one line and an exit code: 2 for settings, 130 when stopped, else 1.

    Of several processes the first that fails says why.
    """
    try:
        yield
    except SettingsError as problem:
        _complain(problem)
        raise typer.Exit(2) from problem
    except ImprintError as problem:
        from finetune.learners.learner import Stopped

        _complain(problem)
        raise typer.Exit(130 if isinstance(problem, Stopped) else 1) from problem


def _complain(problem: ImprintError) -> None:
    if processes.claim(str(problem)):
        echo(str(problem))


class Follower:
    """Turns events into a progress bar on a terminal, and into a line an epoch elsewhere."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self._task: Any = None
        self._words = ""

    def __call__(self, event: Mapping[str, Any]) -> None:
        kind = event["event"]
        if kind == "stage":
            stage = str(event["stage"])
            words = _STAGES.get(stage, f"training and measuring {stage}")
            self._begin(f"{words}: {event['part']}" if "part" in event else words)
        elif kind == "forecast":
            echo(f"it will take {event['words']}")
        elif kind == "batch":
            echo(f"a batch of {event['batch']} fits, {event['accumulation']} of them a step")
        elif kind == "opened":
            self._words = self._words or "opening pictures"
            self._advance(event["done"], event["all"], "")
        elif kind == "measured":
            self._advance(event["done"], event["all"], "")
        elif kind == "step":
            self._advance(event["step"], event["steps"], f"loss {event['loss']:.3f}")
        elif kind == "epoch" and self._bar is None:
            echo(f"epoch {event['epoch']:g}: {event['watched']} loss {event['loss']:.4f}")

    def _begin(self, words: str) -> None:
        self._words = words
        if self._bar is None:
            echo(words)
        elif self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None

    def _advance(self, done: int, every: int, more: str) -> None:
        if self._bar is None:
            return
        if self._task is None:
            self._task = self._bar.add_task(self._words, total=every)
        words = f"{self._words}, {more}" if more else self._words
        self._bar.update(self._task, completed=done, total=every, description=words)


@contextmanager
def following(*, quiet: bool) -> Iterator[Follower | None]:
    """A follower for a block; None when ``quiet``.

    What libraries print in it (trackers do) goes to standard error: it is no result.
    """
    with redirect_stdout(sys.stderr), _follower(quiet=quiet) as follower:
        yield follower


@contextmanager
def _follower(*, quiet: bool) -> Iterator[Follower | None]:
    if quiet:
        yield None
        return
    if not sys.stderr.isatty():
        yield Follower(None)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        yield Follower(bar)


def facts_of_data(table: Any, plan: Any) -> list[str]:
    """What a person should know of the data before anything is trained."""
    report = table.report
    pictures = len({row.photo_id for row in table.rows})
    lines = [f"{report.source}: {pictures} pictures, {len(table.rows)} rows"]
    if table.classes:
        counts = table.counts
        shown = ", ".join(f"{name} {counts[name]}" for name in table.classes[:12])
        more = f" and {len(counts) - 12} more" if len(counts) > 12 else ""
        lines.append(f"{len(counts)} classes: {shown}{more}")
        if table.imbalance >= 3:
            lines.append(
                f"imbalance: the largest class has {table.imbalance:.1f} pictures for each one of "
                "the smallest; balanced accuracy is the figure to read"
            )
    for name, words in (
        ("bad", "not usable"),
        ("duplicates", "there twice"),
        ("conflicts", "with two classes, left out"),
        ("leaks", "in two splits, kept for measuring only"),
    ):
        entries = getattr(report, name)
        if entries:
            lines.append(f"{len(entries)} {words}: {'; '.join(entries[:3])}")
    final = plan.final
    parts = f"{len(final.train)} train, {len(final.val)} validate"
    measured = sum(len(fold.test) for fold in plan.folds)
    lines.append(f"measured on {plan.how}: {parts}, {measured} measure")
    return lines


def show_json(content: Any) -> None:
    typer.echo(json.dumps(content, indent=2, ensure_ascii=False))
