"""One training: transformers' Trainer with our log, early stopping, and checkpoints to go on from.

Knows nothing of what the model is: it has a loss, a data set and a collator. A loss that is not
a number, or LoRA matrices that get no gradient, stop it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import Dataset
from transformers import PrinterCallback, Trainer, TrainingArguments

from finetune.distributed import processes, sharding
from finetune.events import EventLog, Told
from finetune.files import replace_folder
from finetune.learners.learner import Session
from finetune.settings.schema import TrainingSettings
from finetune.speed.batches import LengthSampler
from finetune.speed.memory import settings_that_fit
from finetune.training.callbacks import Follow
from tools.errors import TrainingFailed

__all__ = ["EpochDataset", "Job", "last_checkpoint", "train"]

Groups = Callable[[], list[dict[str, Any]]]


class EpochDataset(Dataset):
    """What may be shown otherwise in each epoch, of which the loop sets the number."""

    epoch: int = 0


@dataclass(frozen=True)
class Job:
    """What is trained, and where it writes. ``checkpoints``: the folder for them."""

    model: nn.Module
    train: EpochDataset
    val: Dataset | None
    collate: Callable[[Sequence[Any]], dict[str, torch.Tensor]]
    settings: TrainingSettings
    checkpoints: Path
    log: EventLog
    fold: int
    keep_best: Callable[[], None]
    """Called when the validation loss is the lowest so far."""
    stop: Event
    """Set from outside to save and stop."""
    groups: Groups | None = None
    """Optimiser groups (``params``, ``lr``) where not all weights have one learning rate."""
    dtype: torch.dtype = torch.float32
    """Of the weights that do not train."""
    on_event: Told | None = None
    on_epoch: Callable[[int], None] | None = None
    """What else changes from epoch to epoch."""
    lengths: Sequence[int] | None = None
    """Tokens of each row of ``train``: rows of like length come together. None: no matter."""
    find_batch: bool = False
    """Whether a batch that does not fit on the GPU is cut into smaller ones."""

    @property
    def name(self) -> str:
        """For trackers: of the run, the fold and the stage."""
        run, _, inner = self.checkpoints.as_posix().rpartition("/checkpoints/")
        return f"{Path(run).name}-{inner.replace('/', '-')}"

    @classmethod
    def within(cls, session: Session, fold: int, save: Callable[[Path], None], **what: Any) -> Job:
        """A job that writes and stops as ``session`` says; ``save`` keeps the best model."""
        best = session.folder / "best_model"
        return cls(
            checkpoints=session.folder / "checkpoints" / f"fold-{fold}",
            log=session.log,
            fold=fold,
            keep_best=lambda: replace_folder(best, save),
            stop=session.stop,
            on_event=session.on_event,
            **what,
        )


def train(job: Job) -> bool:
    """Train, from the last checkpoint if there is one. False if it was stopped before its end.

    Raises :class:`TrainingFailed` for a loss that is not finite, and for a LoRA without gradients.
    """
    start = last_checkpoint(job.checkpoints)
    job.log.cut(job.fold, _step_of(start) if start else 0)
    job = replace(job, keep_best=_keep_best(job))
    if job.find_batch and torch.cuda.is_available() and processes.count() == 1:
        job = _with_batch_that_fits(job)
    if processes.engine() == "fsdp":
        sharding.name_layers(job.model)
    follow = Follow(job)
    trainer = _Trainer(job, _arguments(job))
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(follow)
    with processes.losing():
        trainer.train(resume_from_checkpoint=str(start) if start else None)
        if sharding.cut_up():
            sharding.gather(job.model, job.checkpoints / sharding.LAST)
    return not job.stop.is_set()


def _with_batch_that_fits(job: Job) -> Job:
    wanted = job.settings
    found = settings_that_fit(job.model, job.train, job.collate, wanted, job.lengths, job.dtype)
    if found.batch < wanted.batch and job.on_event is not None:
        job.on_event({"event": "batch", "batch": found.batch, "accumulation": found.accumulation})
    return replace(job, settings=found)


def _keep_best(job: Job) -> Callable[[], None]:
    """``job.keep_best`` for all processes: only the first one writes."""
    if sharding.cut_up():
        return lambda: sharding.gather(job.model, job.checkpoints / sharding.BEST)
    return lambda: processes.once(job.keep_best)


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that is whole: its state file is written last."""
    found = [p for p in folder.glob("checkpoint-*") if p.name.rpartition("-")[2].isdigit()]
    for path in sorted(found, key=_step_of, reverse=True):
        try:
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        return path
    return None


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _arguments(job: Job) -> TrainingArguments:
    settings = job.settings
    cuda = torch.cuda.is_available()
    return TrainingArguments(
        output_dir=str(job.checkpoints),
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps or -1,
        per_device_train_batch_size=settings.batch,
        per_device_eval_batch_size=settings.batch,
        gradient_accumulation_steps=settings.accumulation,
        activation_checkpointing=settings.checkpointing is True,
        learning_rate=settings.lr,
        lr_scheduler_type="constant" if settings.schedule == "step" else settings.schedule,
        warmup_steps=settings.warmup,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.clip,
        bf16=job.dtype == torch.bfloat16,
        fp16=job.dtype == torch.float16,
        eval_strategy="epoch" if job.val is not None else "no",
        prediction_loss_only=True,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=settings.save_steps,
        save_total_limit=2,
        seed=settings.seed,
        data_seed=settings.seed,
        report_to=list(settings.report_to) or "none",
        run_name=job.name,
        project="imprint",
        use_cpu=not cuda,
        dataloader_pin_memory=cuda,
        remove_unused_columns=False,
        label_names=["labels"],
        disable_tqdm=True,
        ddp_find_unused_parameters=False,
        restore_callback_states_from_checkpoint=False,
    )


class _Trainer(Trainer):
    """Trainer with learning rates by group, a step schedule, and a check of every loss."""

    def __init__(self, job: Job, arguments: TrainingArguments) -> None:
        super().__init__(
            model=job.model,
            args=arguments,
            data_collator=job.collate,
            train_dataset=job.train,
            eval_dataset=job.val,
        )
        self._job = job

    def training_step(self, *args: Any, **keywords: Any) -> torch.Tensor:
        loss = super().training_step(*args, **keywords)
        bad = not math.isfinite(float(loss))
        if processes.any_of(bad):
            value, step = float(loss) if bad else math.nan, self.state.global_step + 1
            raise TrainingFailed(
                f"The loss is {value} at step {step}, so nothing of this step was kept: lower "
                "training.lr, or look at the rows with `prepare`; "
                "`runs resume` goes on from the last checkpoint."
            )
        return loss

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        return 0  # nobody reads it, and it walks through all weights at every step

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Any:
        lengths, settings = list(self._job.lengths or ()), self._job.settings
        if len(set(lengths)) < 2:
            return super()._get_train_sampler(train_dataset)
        step = settings.batch * settings.accumulation * processes.count()
        return LengthSampler(lengths, step, settings.seed)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        if self.optimizer is None:
            groups: Iterable[Any]
            if self._job.groups is not None:
                groups = self._job.groups()
            else:
                groups = [p for p in self._job.model.parameters() if p.requires_grad]
            settings = self._job.settings
            self.optimizer = torch.optim.AdamW(
                groups, lr=settings.lr, weight_decay=settings.weight_decay
            )
        return self.optimizer

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> Any:
        if self._job.settings.schedule == "step" and self.lr_scheduler is None:
            warm = max(1, round(self._job.settings.warmup * num_training_steps))

            def factor(step: int) -> float:
                done = step / max(1, num_training_steps)
                fall = 1.0 if done < 0.5 else 0.1 if done < 0.75 else 0.01
                return min(1.0, (step + 1) / warm) * fall

            self.lr_scheduler = LambdaLR(optimizer or self.create_optimizer(), factor)
        return super().create_scheduler(num_training_steps, optimizer)
