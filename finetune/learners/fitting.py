"""What training the captioner and the embedder have in common: the loop around a loss of pairs.

A pair is a picture and a text that belongs to it. Knows nothing of the loss, of splits or reports.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from finetune.data import Row
from finetune.learners.learner import Session, base_facts
from finetune.methods import Adapted, adapt
from finetune.settings.schema import Settings
from finetune.training import loop
from finetune.training.augment import augmentation
from finetune.training.collate import RowDataset, Shown
from tools.models.hardware import Hardware
from tools.models.sources import Located

__all__ = ["Fitting"]

Batch = dict[str, Tensor]


class Fitting(ABC):
    """The part of a :class:`learner.Learner` that is the same whatever the loss is."""

    def __init__(
        self, settings: Settings, located: Located, model: nn.Module, hardware: Hardware
    ) -> None:
        self.settings = settings
        self.located = located
        self.model: Any = model
        self.hardware = hardware
        self.adapted: Adapted = adapt(self, settings)

    @abstractmethod
    def collate(self, items: Sequence[Shown]) -> Batch:
        """Pictures and their rows to a batch with ``labels``."""

    @abstractmethod
    def loss(self, batch: Batch) -> Tensor:
        """Of a batch, a scalar."""

    def describe(self) -> dict[str, Any]:
        """What the report and the manifest say of it."""
        return {
            **base_facts(self.settings, self.located),
            "precision": str(self.model.dtype).removeprefix("torch."),
            "device": self.hardware.device,
            "trained": [vars(share) for share in self.adapted.shares()],
        }

    def fit(self, train: Sequence[Row], val: Sequence[Row], session: Session, fold: int) -> None:
        """Learn from scratch, or from the checkpoint of ``fold`` where there is one."""
        settings = self.settings.training
        self.adapted.precise(True)
        self.adapted.restart()
        change = augmentation(self.settings.augmentation, settings.seed)

        self.adapted.model.train()
        finished = loop.train(
            loop.Job.within(
                session,
                fold,
                self.adapted.save,
                model=_Loop(self.adapted, self.loss),
                train=RowDataset(train, change),
                val=RowDataset(val) if val else None,
                collate=self.collate,
                settings=settings,
                dtype=self.hardware.torch_dtype,
                groups=lambda: self.adapted.groups(self.settings),
            )
        )
        self.adapted.model.eval()
        self.adapted.precise(False)
        if not finished:
            session.check()

    def save(self, folder: Path) -> None:
        """What was learned, in a folder that exists."""
        self.adapted.save(folder)

    def load(self, folder: Path) -> None:
        """What :meth:`save` wrote."""
        self.adapted.load(folder)
        self.adapted.precise(False)


class _Loop(nn.Module):
    """A model as the loop sees it: a batch to its loss, and what trains to its checkpoint."""

    # The Trainer's: a loss is a mean, to be divided by accumulation; and no weights are tied.
    accepts_loss_kwargs = False
    _keys_to_ignore_on_save = None

    def __init__(self, adapted: Adapted, loss: Callable[[Batch], Tensor]) -> None:
        super().__init__()
        self.model = adapted.model
        self._trained = {f"model.{name}" for name, _ in adapted.trained()}
        self._loss = loss

    def forward(self, **batch: Tensor) -> dict[str, Tensor]:
        return {"loss": self._loss(batch)}

    def activation_checkpointing_enable(self, **keywords: Any) -> None:
        """What the Trainer asks of a model whose activations are to be recomputed."""
        self.model.activation_checkpointing_enable(**keywords)

    def state_dict(self, *args: Any, **keywords: Any) -> dict[str, Any]:  # type: ignore[override]
        whole = super().state_dict(*args, **keywords)
        return {name: weight for name, weight in whole.items() if name in self._trained}
