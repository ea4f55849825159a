"""Carrying a run out from the outside: what is needed first, signals, failures, how it ended.

Knows nothing of flags or progress bars.
"""

from __future__ import annotations

import errno
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from threading import Event, current_thread, main_thread
from typing import Any

from safetensors import SafetensorError

from finetune.data import Plan, Table, gather, make_plan
from finetune.distributed import processes
from finetune.distributed.team import learn_along, shared_learner
from finetune.events import Told
from finetune.learners.episodes import episode_plan
from finetune.learners.learner import Learner, Session, Stopped
from finetune.pipeline import execute
from finetune.planning.forecast import check_memory, planned
from finetune.runs import Run, create_run
from finetune.settings.schema import Settings
from tools.config import Config
from tools.errors import SettingsError, TrainingFailed
from tools.models.hardware import gpu_gigabytes
from tools.models.loading import quiet

__all__ = ["assist", "carry_out", "failures", "look_at", "prepare_run", "signals"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_UNWRITTEN = re.compile(
    r"no space left|quota exceeded|file too large|failed writing|unexpected pos|os error 2[78]",
    re.I,
)
_MARGIN = 50_000_000  # bytes for everything that is not weights


def look_at(settings: Settings, config: Config, on_event: Told | None) -> tuple[Table, Plan]:
    """The rows of the source, and which measure. Raises what is wrong with them."""

    def progress(done: int, every: int) -> None:
        if on_event is not None:
            on_event({"event": "opened", "done": done, "all": every})

    table = gather(settings.data, config, on_progress=progress)
    if settings.method == "maml":
        return table, episode_plan(table, settings)
    cheap = settings.method in ("linear", "prototypes") and not settings.linear.unfreeze_layers
    return table, make_plan(table, settings.data, cheap=cheap)


def prepare_run(
    settings: Settings,
    config: Config,
    *,
    name: str | None,
    on_event: Told | None = None,
    on_data: Callable[[Table, Plan], None] | None = None,
) -> tuple[Run, Learner]:
    """A new run and its learner, everything checked that can be before anything is trained."""
    absent = [name for name in settings.training.report_to if find_spec(name) is None]
    if absent:
        raise SettingsError(
            f"training.report_to: {', '.join(absent)} is not installed; install it with `pip "
            "install 'imprint-assistant[track]'`, or leave it out."
        )
    has = gpu_gigabytes() if settings.needs_gpu_gb else 0.0
    if has < settings.needs_gpu_gb:
        there = f"this machine's has {has:.0f} GB" if has else "this machine has none"
        raise SettingsError(
            f"These settings need a GPU of {settings.needs_gpu_gb:g} GB, and {there}: choose a "
            "pocket strategy, or run on a machine with one."
        )
    table, plan = look_at(settings, config, on_event)
    if on_data is not None:
        on_data(table, plan)
    if table.boxed and settings.method != "box":
        raise SettingsError(
            f"{settings.data.source} says what is where, which method box learns: set --method box."
        )
    settings = _described(settings, table)
    settings, expected = planned(settings, table.rows)
    if expected is not None:
        if on_event is not None:
            on_event({"event": "forecast", "words": expected.words})
        if settings.training.check_memory:
            check_memory(expected, settings)
    learner = shared_learner(settings, table, plan)
    folder = config.home / "runs"
    _room(folder, learner.describe(), settings)
    stem = re.sub(r"[^a-z0-9]+", "-", Path(settings.data.source).stem.lower()).strip("-")
    with failures(folder):
        run = create_run(
            folder, name or f"{stem or 'run'}-{settings.method}"[:60], settings, table, plan
        )
    if expected is not None:
        run.update(forecast=expected.to_json())
    return run, learner


def carry_out(run: Run, learner: Learner, *, on_event: Told | None = None) -> dict[str, Any]:
    """Everything of ``run`` that is not done yet. Ctrl-C saves and stops (:class:`Stopped`)."""
    run.begin()
    run.update(processes=processes.count())
    with quiet(), signals() as stop, failures(run.folder):
        session = Session(run.folder, run.log, stop, on_event)
        try:
            results = execute(run, learner, session)
            run.end("finished")
            return results
        finally:
            problem = sys.exception()
            if isinstance(problem, Stopped):
                run.end("stopped")
            elif problem is not None:
                with suppress(OSError):  # the disk may be what is wrong
                    run.end("failed", str(problem) or type(problem).__name__)


def assist() -> None:
    """What a process that does not lead does for a run, until the first one ends."""
    with quiet(), signals() as stop, suppress(processes.Lost), failures(Path.cwd()):
        learn_along(stop)


@contextmanager
def signals() -> Iterator[Event]:
    """An event that the first Ctrl-C (or SIGTERM) sets; a second one ends the process."""
    stop = Event()
    if current_thread() is not main_thread():
        yield stop
        return

    def asked(number: int, frame: Any) -> None:
        if stop.is_set() and processes.count() == 1:  # a launcher may send several for one
            raise KeyboardInterrupt
        stop.set()

    before = {s: signal.signal(s, asked) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def failures(folder: Path) -> Iterator[None]:
    """A full disk and a full GPU as one sentence each. ``folder``: what is written to."""
    full = (
        f"The disk of {folder} is full, so not everything could be written; what was there before "
        "is whole: free some space, then do it again (a run goes on with `runs resume`)."
    )
    try:
        yield
    except OSError as exc:
        # Copying a folder gathers what went wrong into one error that has no number.
        if exc.errno in _FULL or _UNWRITTEN.search(str(exc)):
            raise TrainingFailed(full) from exc
        raise
    except (RuntimeError, SafetensorError) as exc:
        import torch

        if isinstance(exc, torch.OutOfMemoryError):
            raise TrainingFailed(
                "The GPU has no memory left: lower training.batch and raise training.accumulation "
                "by as much, set training.checkpointing, or train an answerer with qlora."
            ) from exc
        if _UNWRITTEN.search(str(exc)):  # torch and safetensors say it in their own words
            raise TrainingFailed(full) from exc
        raise


def _described(settings: Settings, table: Table) -> Settings:
    """The settings with what the source says of its classes, where the prompt asks for it."""
    prompt = settings.prompt
    if "{description" not in prompt.question + prompt.answer:
        return settings
    said = {c: table.descriptions[c] for c in table.classes if c in table.descriptions}
    prompt = prompt.model_copy(update={"descriptions": {**said, **prompt.descriptions}})
    return settings.model_copy(update={"prompt": prompt})


def _room(folder: Path, model: dict[str, Any], settings: Settings) -> None:
    """Raises :class:`TrainingFailed` if two checkpoints and two models would not fit."""
    trained = sum(share["trained"] for share in model["trained"])
    needed = 32 * trained + _MARGIN  # float32 and Adam's two moments, twice; two models
    if settings.method in ("projector", "full", "linear"):  # a checkpoint holds the whole model
        needed += 8 * sum(share["all"] for share in model["trained"])
    place = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(place).free
    if free < needed:
        raise TrainingFailed(
            f"The disk of {place} has {free / 1e6:.0f} MB left, and the run needs about "
            f"{needed / 1e6:.0f} MB: free some space, or choose another --home."
        )
