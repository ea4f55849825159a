"""Rows to batches: a prompt and its answer as ids, the loss on the answer's tokens only.

Knows nothing of optimisers. Nothing is ever cut: a row that is too long is an error, for the cut
would go through the picture or the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from finetune.data.table import Row
from finetune.prompts import Prompts
from finetune.vlm import IGNORED, Vlm
from tools.errors import DataError

__all__ = ["Change", "Collator", "RowDataset", "check_rows"]

Change = Callable[[Image.Image, int, int], Image.Image]
"""A picture, the epoch and the row's number to the picture as it is shown."""


class RowDataset(Dataset):
    """Rows with their pictures; ``epoch`` is set at each epoch's start, for augmentation."""

    def __init__(self, rows: Sequence[Row], change: Change | None = None) -> None:
        self.rows = rows
        self.epoch = 0
        self._change = change

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> dict[str, Any]:
        row = self.rows[number]
        image = row.photo().image
        if self._change is not None:
            image = self._change(image, self.epoch, number)
        return {"image": image, "row": row}


class Collator:
    """Items of a :class:`RowDataset` to a batch for the model."""

    def __init__(self, vlm: Vlm, prompts: Prompts, *, max_length: int | None = None) -> None:
        self._vlm = vlm
        self._prompts = prompts
        self._longest = min(max_length or vlm.longest, vlm.longest)

    def __call__(self, items: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """``input_ids``, ``attention_mask`` and ``labels`` (N, L), padded at the right, and the
        processor's tensors of the pictures. Raises :class:`DataError` for a row too long, or
        without anything to learn."""
        prompts = [self._vlm.prompt(i["image"], self._prompts.asked(i["row"])) for i in items]
        answers = [self._vlm.answer_ids(self._prompts.answer(i["row"])) for i in items]
        ids = [p["input_ids"][0].tolist() for p in prompts]
        for item, before, after in zip(items, ids, answers, strict=True):
            self._check(item["row"], before, after)
        length = max(len(a) + len(b) for a, b in zip(ids, answers, strict=True))

        def padded(rows: list[list[int]], fill: int) -> Tensor:
            return torch.tensor([row + [fill] * (length - len(row)) for row in rows])

        both = list(zip(ids, answers, strict=True))
        batch = {
            "input_ids": padded([a + b for a, b in both], self._vlm.pad),
            "attention_mask": padded([[1] * (len(a) + len(b)) for a, b in both], 0),
            "labels": padded([[IGNORED] * len(a) + b for a, b in both], IGNORED),
        }
        pictures = set(prompts[0]) - {"input_ids", "attention_mask"}
        return batch | {name: torch.cat([p[name] for p in prompts]) for name in pictures}

    def _check(self, row: Row, before: list[int], after: list[int]) -> None:
        if len(before) + len(after) > self._longest:
            raise DataError(_too_long(str(row.path), len(before) + len(after), self._longest))
        _needs_answer(self._vlm, row, self._prompts.answer(row))
        if self._vlm.image_token not in before:
            raise DataError(
                f"{row.path}: the model's prompt has no place for the picture; its chat template "
                "or processor is damaged: fetch or save the model again."
            )


def check_rows(vlm: Vlm, prompts: Prompts, rows: Sequence[Row], max_length: int | None) -> None:
    """Raises :class:`DataError` before training if a row would not fit, or has no answer."""
    for row in rows:
        _needs_answer(vlm, row, prompts.answer(row))
    longest = min(max_length or vlm.longest, vlm.longest)
    needed = vlm.questions_fit([prompts.asked(r) for r in rows], [prompts.answer(r) for r in rows])
    if needed > longest:
        raise DataError(_too_long("The longest row", needed, longest))


def _needs_answer(vlm: Vlm, row: Row, answer: str) -> None:
    if not vlm.answerer.plain(answer):
        raise DataError(
            f"{row.path}: nothing of its answer {answer!r} is left to learn once special tokens "
            "are taken out, so all its labels would be masked; give it another label or answer."
        )


def _too_long(what: str, needed: int, longest: int) -> str:
    return (
        f"{what} takes {needed} tokens with its picture, and {longest} fit (--max-length, or the "
        "model's own limit); cutting it would cut the picture or the answer: shorten the question, "
        "the class descriptions or the answers, or raise the limit."
    )
