"""What fits into memory decides the batch, and whether activations are recomputed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from finetune.data.table import Row
from finetune.planning import forecast as forecasts
from finetune.planning.forecast import planned
from finetune.settings.files import load_settings
from finetune.settings.schema import Settings, TrainingSettings
from finetune.speed.memory import settings_that_fit
from tools.errors import TrainingFailed

PICTURE = Path(__file__).parent / "pictures"


class Rows(Dataset):
    """Rows of so many tokens."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths = lengths

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> int:
        return self.lengths[index]


class Small(nn.Module):
    """A model on a machine with memory for so many tokens."""

    device = torch.device("cpu")
    dtype = torch.float32

    def __init__(self, memory: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.memory = memory
        self.tried: list[list[int]] = []

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        self.tried.append(tokens.tolist())
        if len(tokens) * int(tokens.max()) > self.memory:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return {"loss": (self.weight * tokens).sum()}


def _collated(items: Sequence[int]) -> dict[str, Tensor]:
    return {"tokens": torch.tensor(items)}


@pytest.mark.parametrize(
    ("batch", "accumulation", "memory", "found"),
    [
        (8, 1, 1000, (8, 1)),
        (8, 1, 30, (2, 4)),  # 4 rows of 10 are too many
        (6, 2, 30, (3, 4)),
        (7, 3, 30, (1, 21)),  # 7 has no divisor but 1
    ],
)
def test_a_batch_too_large_is_cut_and_accumulated(
    batch: int, accumulation: int, memory: int, found: tuple[int, int]
) -> None:
    model, rows = Small(memory), Rows([3] * 5 + [10] * 8)
    wanted = TrainingSettings(batch=batch, accumulation=accumulation)
    fitting = settings_that_fit(model, rows, _collated, wanted, rows.lengths)
    assert (fitting.batch, fitting.accumulation) == found
    assert fitting.model_copy(update={"batch": batch, "accumulation": accumulation}) == wanted
    assert all(set(t) == {10} for t in model.tried), "the longest rows are tried"
    assert model.weight.grad is None and model.weight.item() == 1


def test_where_not_one_row_fits_it_says_what_to_do() -> None:
    with pytest.raises(TrainingFailed, match=r"Not even one row .*checkpointing=true"):
        settings_that_fit(Small(5), Rows([10]), _collated, TrainingSettings(batch=4))


def test_another_error_is_not_taken_for_a_full_memory() -> None:
    def broken(items: Sequence[Any]) -> dict[str, Tensor]:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        settings_that_fit(Small(99), Rows([1]), broken, TrainingSettings(batch=4))


@pytest.mark.parametrize(("asked", "share", "found"), [
    ("auto", 1.5, False),
    ("auto", 0.9, True),
    (False, 0.9, False),
    (True, 1.5, True),
])  # fmt: skip
def test_activations_are_recomputed_where_it_does_not_fit_otherwise(
    monkeypatch: pytest.MonkeyPatch, asked: bool | str, share: float, found: bool
) -> None:
    picture = next(p for p in sorted(PICTURE.iterdir()) if p.suffix == ".png")
    rows = [Row(picture, name, None, photo_id=name) for name in ("zorb", "blick")]
    settings = load_settings({"training": {"checkpointing": asked, "batch": 2}})
    plain = load_settings({"training": {"checkpointing": False, "batch": 2}})
    expected = forecasts.forecast(plain, rows)
    assert expected is not None
    monkeypatch.setattr(forecasts, "free_memory", lambda device: int(share * expected.peak))
    decided, told = planned(settings, rows)
    assert decided.training.checkpointing is found
    assert told is not None and (told.step < expected.step) is found


def test_what_is_not_forecast_recomputes_nothing_unless_told() -> None:
    decided, told = planned(Settings(method="linear"), [])
    assert decided.training.checkpointing is False and told is None
