"""What follows a training step by step: the log, the time left, early stopping, and stopping.

Knows nothing of models. Early stopping is computed from the log, so that a run that goes on after
a stop decides as if it had not stopped.
"""

from __future__ import annotations

import resource
import sys
import time
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback

from finetune.distributed import processes
from finetune.training.gradients import check_gradients

if TYPE_CHECKING:
    from finetune.training.loop import Job

__all__ = ["Follow"]

_CHECKED = 2  # the step whose gradients are looked at
_FAR = 1_000_003  # between the seeds of two runs' steps: more than a run has steps


class Follow(TrainerCallback):
    """Writes ``events.jsonl`` and stops the training when it is time."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._began = time.monotonic()
        self._first = 0
        self._losses: list[float] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._began, self._first = time.monotonic(), state.global_step
        log, fold = self._job.log, self._job.fold
        judged = max((e["step"] for e in log.read("epoch", fold=fold)), default=0)
        self._losses = [e["loss"] for e in log.read("step", fold=fold) if e["step"] > judged]

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        epoch = self._epoch(state)
        self._job.train.epoch = epoch
        if self._job.on_epoch is not None:
            self._job.on_epoch(epoch)

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        # Dropout draws by the step alone: validation draws too, and a run that goes on between two
        # epochs has not just validated.
        torch.manual_seed(self._job.settings.seed * _FAR + state.global_step)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step + 1 == _CHECKED and processes.engine() == "ddp":
            check_gradients(self._job.model)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if processes.any_of(self._job.stop.is_set()):
            self._job.stop.set()
            control.should_save = control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if not logs or "loss" not in logs:
            return
        self._losses.append(float(logs["loss"]))
        seconds = time.monotonic() - self._began
        steps = max(1, state.global_step - self._first)
        left = (state.max_steps - state.global_step) * seconds / steps
        per_step = processes.count() * self._job.settings.batch * self._job.settings.accumulation
        self._tell(
            "step",
            step=state.global_step,
            steps=state.max_steps,
            epoch=round(float(state.epoch or 0), 4),
            loss=float(logs["loss"]),
            lr=logs.get("learning_rate"),
            grad_norm=logs.get("grad_norm"),
            samples_per_second=round(steps * per_step / max(seconds, 1e-9), 2),
            memory_gb=_memory(),
            eta_seconds=round(left, 1),
        )

    def on_evaluate(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self._judge(state, control, float(more["metrics"]["eval_loss"]), "validation")

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        losses, self._losses = self._losses, []
        if self._job.val is None and losses:
            self._judge(state, control, sum(losses) / len(losses), "training")

    def _judge(self, state: Any, control: Any, loss: float, watched: str) -> None:
        log, fold = self._job.log, self._job.fold
        before = [e["loss"] for e in log.read("epoch", fold=fold)]
        self._tell("epoch", step=state.global_step, epoch=state.epoch, loss=loss, watched=watched)
        best = min(before, default=float("inf"))
        if watched == "validation" and loss < best:
            self._job.keep_best()
        losses = [*before, loss]
        since = len(losses) - 1 - losses.index(min(losses))
        patience = self._job.settings.patience
        if patience is not None and since >= patience:
            control.should_training_stop = True

    def _tell(self, kind: str, **fields: Any) -> None:
        event = self._job.log.add(kind, fold=self._job.fold, **fields)
        if self._job.on_event is not None:
            self._job.on_event(event)

    @staticmethod
    def _epoch(state: Any) -> int:
        """Epochs that are behind; the state's own number is a little below a whole one."""
        return int(float(state.epoch or 0) + 1e-6)


def _memory() -> float:
    """GB at most so far, of the GPU where there is one, else of this process."""
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 1e9, 3)
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9, 3)
