"""A captioner that learns to describe pictures as its user does: BLIP or BLIP-2, by the captions.

It is shown a picture and no prompt, as the assistant's captioner is; of each caption every token
and its end are supervised, and what stands before it (a start, the places of a BLIP-2's picture)
is not. Knows nothing of splits or reports.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from finetune.data import Row
from finetune.evaluation.predictions import Prediction
from finetune.learners.fitting import Batch, Fitting
from finetune.learners.learner import Session
from finetune.learners.speaking import Speaker, open_speaker
from finetune.settings.schema import Settings
from finetune.training.collate import Shown
from finetune.vlm import IGNORED, padded
from tools.errors import DataError
from tools.models.hardware import choose_threads, inference
from tools.models.loading import on_device

__all__ = ["CaptionLearner"]


class CaptionLearner(Fitting):
    """Implements :class:`finetune.learners.learner.Learner`."""

    base_name = "base model"

    def __init__(
        self, settings: Settings, rows: Sequence[Row], speaker: Speaker | None = None
    ) -> None:
        """``rows``: all of them; ``speaker``: the model, where it has been opened before.

        Raises :class:`DataError` for rows that are no captions, and :class:`SettingsError` for a
        model that is not trained to caption.
        """
        strange = next((row for row in rows if not row.is_caption), None)
        if strange is not None:
            raise DataError(
                f"{strange.path} has no caption, and a captioner learns from nothing else: give a "
                "table with a column of captions (--task caption, --caption-column), or COCO's."
            )
        self.speaker = speaker or open_speaker(settings)
        self.captioner = self.speaker.captioner
        self._before = self.speaker.before
        self._longest = min(
            settings.training.max_length or self.speaker.longest, self.speaker.longest
        )
        for row in rows:
            self.ids(row)
        super().__init__(
            settings, self.speaker.located, self.captioner.model, self.speaker.hardware
        )
        self._threads = choose_threads(self.model)

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "precision": self.speaker.precision}

    def collate(self, items: Sequence[Shown]) -> Batch:
        """``input_ids``, ``attention_mask`` and ``labels`` (N, L) beside the pictures."""
        rows = [self.ids(item.row) for item in items]
        first = len(self._before)
        return {
            "pixel_values": self.captioner.inputs([item.image() for item in items])["pixel_values"],
            "input_ids": padded(rows, self.speaker.pad),
            "attention_mask": padded([[1] * len(row) for row in rows], 0),
            "labels": padded([[IGNORED] * first + row[first:] for row in rows], IGNORED),
        }

    def loss(self, batch: Batch) -> Tensor:
        """Mean cross-entropy of the supervised tokens."""
        given = on_device({k: v for k, v in batch.items() if k != "labels"}, self.model)
        wanted = batch["labels"][:, len(self._before) :]
        # Of what stands before a caption only the last place says something of it.
        said = self.adapted.model(**given, **self.speaker.only_last(wanted.shape[1] + 1)).logits
        logits = said[:, -wanted.shape[1] - 1 : -1].float()
        return torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), wanted.flatten().to(logits.device)
        )

    def predict(
        self, rows: Sequence[Row], session: Session, *, base: bool = False
    ) -> list[Prediction]:
        """What it says of each picture, and how likely it held what people wrote of it."""
        found: list[Prediction] = []
        with self.adapted.without() if base else nullcontext():
            self.adapted.model.eval()
            for (row,) in session.measuring(rows):
                photo = row.photo()
                began = time.perf_counter()
                text = self.captioner.caption(photo)
                seconds = time.perf_counter() - began
                found.append(
                    Prediction(
                        row.photo_id,
                        str(row.path),
                        row.answer or "",
                        text,
                        seconds,
                        response=text,
                        likelihood=self._likelihood(row),
                    )
                )
        return found

    def ids(self, row: Row) -> list[int]:
        """What stands before it, the caption, its end. Raises :class:`DataError` for a caption
        that is empty or too long."""
        tokenizer = self.captioner.tokenizer
        text = " ".join((row.answer or "").split())
        words = list(tokenizer(text, add_special_tokens=False)["input_ids"])
        # What has a meaning of its own to the model is never a word, whoever wrote it.
        words = [i for i in words if i not in self.speaker.marks]
        if not set(words) - set(tokenizer.all_special_ids):
            raise DataError(
                f"{row.path}: nothing of its caption {row.answer!r:.60} is a word the captioner "
                "can write; give it another one."
            )
        ids = [*self._before, *words, self.speaker.end]
        if len(ids) > self._longest:
            raise DataError(
                f"{row.path}: its caption takes {len(ids)} tokens, and {self._longest} fit "
                "(--max-length, or the model's own limit): shorten it."
            )
        return ids

    def _likelihood(self, row: Row) -> float | None:
        """The mean log probability of a token of what people wrote of the picture."""
        texts = [text for text in (row.answer, *row.others) if text]
        if not texts:
            return None
        items = [Shown(replace(row, answer=text)) for text in texts]
        with inference(self._threads):
            return -round(float(self.loss(self.collate(items))), 4)
