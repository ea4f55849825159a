"""The training loop alone, around a model of one weight."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import torch
from torch import Tensor, nn

from finetune.events import EventLog
from finetune.settings.schema import TrainingSettings
from finetune.training.loop import EpochDataset, Job, train


class OneWeight(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, labels: Tensor) -> dict[str, Tensor]:
        return {"loss": ((self.weight - labels) ** 2).mean()}


class Watched(EpochDataset):
    """Four rows; remembers in which epoch each was shown."""

    def __init__(self, stop: Event, *, until: int | None = None) -> None:
        self.shown: list[tuple[int, int]] = []
        self._stop, self._until = stop, until

    def __len__(self) -> int:
        return 4

    def __getitem__(self, number: int) -> Tensor:
        self.shown.append((self.epoch, number))
        if len(self.shown) == self._until:
            self._stop.set()
        return torch.tensor([float(self.epoch)])


def job_in(folder: Path, *, until: int | None = None) -> tuple[Job, Watched]:
    stop = Event()
    rows = Watched(stop, until=until)

    def collate(items: Sequence[Any]) -> dict[str, Tensor]:
        return {"labels": torch.cat(list(items))}

    folder.mkdir(exist_ok=True)
    job = Job(
        model=OneWeight(),
        train=rows,
        val=None,
        collate=collate,
        settings=TrainingSettings(epochs=3, batch=2, accumulation=1, patience=None, lr=0.1),
        checkpoints=folder / "checkpoints",
        log=EventLog(folder / "events.jsonl"),
        fold=0,
        keep_best=lambda: None,
        stop=stop,
    )
    return job, rows


def test_rows_are_shown_in_the_epoch_that_it_is(tmp_path: Path) -> None:
    epochs: list[int] = []
    job, rows = job_in(tmp_path)
    assert train(replace(job, on_epoch=epochs.append))
    assert epochs == [0, 1, 2]
    assert [epoch for epoch, _ in rows.shown] == [0] * 4 + [1] * 4 + [2] * 4
    assert all({n for e, n in rows.shown if e == epoch} == set(range(4)) for epoch in epochs)


def test_gone_on_with_it_is_the_epoch_that_it_was(tmp_path: Path) -> None:
    whole, _ = job_in(tmp_path / "whole")
    assert train(whole)
    first, seen = job_in(tmp_path / "parts", until=6)
    assert not train(first)
    assert {epoch for epoch, _ in seen.shown} == {0, 1}
    second, left = job_in(tmp_path / "parts")
    assert train(second)
    # In the epoch that was broken off, rows that trained before the stop are passed over.
    assert {epoch for epoch, _ in left.shown} == {1, 2}
    losses = [[e["loss"] for e in one.log.read("step", fold=0)] for one in (whole, second)]
    assert losses[0] == losses[1] and len(losses[0]) == 6
