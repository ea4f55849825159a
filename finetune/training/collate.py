"""Rows to batches: a prompt and its answer as ids, the loss on the answer's tokens only.

Knows nothing of optimisers. Nothing is ever cut: a row that is too long is an error, for the cut
would go through the picture or the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from finetune.data.table import Row
from finetune.prompts import Prompts
from finetune.speed.tower import FrozenTower
from finetune.training.loop import EpochDataset
from finetune.vlm import IGNORED, Vlm, padded
from tools.errors import DataError

__all__ = ["Change", "Collator", "RowDataset", "Shown", "check_rows"]

Change = Callable[[Image.Image, int, int], Image.Image]
"""A picture, the view (the epoch, where each has its own) and a number of the picture to the
picture as it is shown. Its ``repr`` says what it does."""


@dataclass(frozen=True)
class Shown:
    """A row, and its picture in one view; the picture is opened when somebody looks at it."""

    row: Row
    view: int = 0
    change: Change | None = None

    @property
    def key(self) -> str:
        """Equal keys show equal pixels."""
        view = f"{self.view}|{self.change!r}" if self.change is not None else ""
        return f"{self.row.photo_id}|{self.row.box}|{view}"

    def image(self) -> Image.Image:
        """The picture as it is shown."""
        image = self.row.photo().image
        if self.change is None:
            return image
        # By the picture, not by its place: a fold, or another run, shows the same views of it.
        return self.change(image, self.view, int(self.row.photo_id[:8], 16))


_ANSWERED = {"token_type_ids": 1, "mm_token_type_ids": 0}
"""What tells the kinds of a prompt's tokens, and the kind of an answer's: for PaliGemma what is
read word by word, for Qwen-VL text."""


class RowDataset(EpochDataset):
    """Rows as they are shown, in each epoch otherwise."""

    def __init__(self, rows: Sequence[Row], change: Change | None = None, *, views: int = 0):
        """``views``: so many different ones of each picture, in turn; 0: a new one each epoch."""
        self.rows = rows
        self._change = change
        self._views = views

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Shown:
        view = self.epoch % self._views if self._views else self.epoch
        return Shown(self.rows[number], view, self._change)


class Collator:
    """What a :class:`RowDataset` shows to a batch for the model."""

    def __init__(
        self,
        vlm: Vlm,
        prompts: Prompts,
        *,
        max_length: int | None = None,
        tower: FrozenTower | None = None,
        supervised_only: bool = False,
    ) -> None:
        """``tower``: gives what it has seen in place of pixels. ``supervised_only``: have logits
        computed where there is something to learn, and nowhere else."""
        self._vlm = vlm
        self._prompts = prompts
        self._longest = min(max_length or vlm.longest, vlm.longest)
        self._tower = tower
        self._supervised_only = supervised_only

    def __call__(self, items: Sequence[Shown]) -> dict[str, Any]:
        """``input_ids``, ``attention_mask`` and ``labels`` (N, L), padded at the right, and what
        the model takes of the pictures. Raises :class:`DataError` for a row too long, or without
        anything to learn."""
        ids, pictures = self._prompts_of(items)
        answers = [self._vlm.answer_ids(self._prompts.answer(i.row)) for i in items]
        for item, before, after in zip(items, ids, answers, strict=True):
            self._check(item.row, before, after)
        both = list(zip(ids, answers, strict=True))
        batch: dict[str, Any] = {
            "input_ids": padded([a + b for a, b in both], self._vlm.pad),
            "attention_mask": padded([[1] * (len(a) + len(b)) for a, b in both], 0),
            "labels": padded([[IGNORED] * len(a) + b for a, b in both], IGNORED),
        }
        if self._supervised_only:
            batch |= _supervised(batch["labels"])
        for name in _ANSWERED.keys() & pictures.keys():
            rows = [
                kinds + [_ANSWERED[name]] * len(b)
                for kinds, b in zip(pictures[name], answers, strict=True)
            ]
            batch[name] = padded(rows, 0)
        return pictures | batch

    def _prompts_of(self, items: Sequence[Shown]) -> tuple[list[list[int]], dict[str, Any]]:
        """The ids of each prompt, and the pictures as the model takes them."""
        questions = [self._prompts.asked(item.row) for item in items]
        if self._tower is not None:
            seen = self._tower.look(items)
            ids = [self._vlm.prompt_ids(q, s.size) for q, s in zip(questions, seen, strict=True)]
            return ids, self._tower.batch(seen)
        prompts = [self._vlm.prompt(i.image(), q) for i, q in zip(items, questions, strict=True)]
        names = set(prompts[0]) - {"input_ids", "attention_mask", "labels"}
        pictures = {
            name: [p[name][0].tolist() for p in prompts]
            if name in _ANSWERED
            else torch.cat([p[name] for p in prompts])
            for name in names
        }
        return [p["input_ids"][0].tolist() for p in prompts], pictures

    def _check(self, row: Row, before: Sequence[int], after: Sequence[int]) -> None:
        if len(before) + len(after) > self._longest:
            raise DataError(_too_long(str(row.path), len(before) + len(after), self._longest))
        _needs_answer(self._vlm, row, self._prompts.answer(row))
        if self._vlm.image_token not in before:
            raise DataError(
                f"{row.path}: the model's prompt has no place for the picture; its chat template "
                "or processor is damaged: fetch or save the model again."
            )


def check_rows(
    vlm: Vlm, prompts: Prompts, rows: Sequence[Row], max_length: int | None
) -> list[int]:
    """Tokens of each row, those of its picture as of a small one.

    Raises :class:`DataError` before training if a row would not fit, or has no answer.
    """
    for row in rows:
        _needs_answer(vlm, row, prompts.answer(row))
    longest = min(max_length or vlm.longest, vlm.longest)
    needed = vlm.questions_fit([prompts.asked(r) for r in rows], [prompts.answer(r) for r in rows])
    if needed > longest:
        raise DataError(_too_long("The longest row", needed, longest))
    return [
        len(vlm.prompt_ids(prompts.asked(row))) + len(vlm.answer_ids(prompts.answer(row)))
        for row in rows
    ]


def _supervised(labels: Tensor) -> dict[str, Tensor]:
    """Where logits are wanted (N, L), and the tokens that are right there.

    The token at a place is what the place before it should say.
    """
    wanted = torch.zeros_like(labels, dtype=torch.bool)
    wanted[:, :-1] = labels[:, 1:] != IGNORED
    return {"logits_to_keep": wanted, "shift_labels": labels[:, 1:][wanted[:, :-1]]}


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
