"""A captioner that learns to describe pictures as its user does: BLIP, by the captions' own words.

It is shown a picture and no prompt, as the assistant's captioner is; of each caption every token
and its end are supervised, and the start is not. Knows nothing of splits or reports.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor

from finetune.data import Row
from finetune.evaluation.predictions import Prediction
from finetune.learners.fitting import Batch, Fitting
from finetune.learners.learner import Session
from finetune.settings.schema import Settings
from finetune.training.collate import Shown
from finetune.vlm import IGNORED, padded
from tools.config import ModelChoice
from tools.errors import DataError, SettingsError
from tools.models.captioner import load_captioner
from tools.models.hardware import choose_hardware, choose_threads, inference
from tools.models.loading import on_device
from tools.models.sources import locate

__all__ = ["CaptionLearner"]


class CaptionLearner(Fitting):
    """Implements :class:`finetune.learners.learner.Learner`."""

    base_name = "base model"

    def __init__(self, settings: Settings, rows: Sequence[Row]) -> None:
        """``rows``: all of them. Raises :class:`DataError` for rows that are no captions, and
        :class:`SettingsError` for a model that is no BLIP."""
        strange = next((row for row in rows if not row.is_caption), None)
        if strange is not None:
            raise DataError(
                f"{strange.path} has no caption, and a captioner learns from nothing else: give a "
                "table with a column of captions (--task caption, --caption-column), or COCO's."
            )
        located = locate(ModelChoice(settings.model.captioner))
        if located.model_type != "blip":
            raise SettingsError(
                f"model.captioner: {settings.model.captioner} is a {located.model_type} model, and "
                "only a BLIP is trained to caption; choose one, or train the answerer on captions."
            )
        hardware = choose_hardware()
        self.captioner = load_captioner(located, hardware)
        text = self.captioner.model.config.text_config
        self._start, self._end = int(text.bos_token_id), int(text.sep_token_id)
        self._pad = int(text.pad_token_id)
        self._longest = min(
            settings.training.max_length or text.max_position_embeddings,
            text.max_position_embeddings,
        )
        for row in rows:
            self._ids(row)
        super().__init__(settings, located, self.captioner.model, hardware)
        self._threads = choose_threads(self.model)

    def collate(self, items: Sequence[Shown]) -> Batch:
        """``input_ids``, ``attention_mask`` and ``labels`` (N, L) beside the pictures."""
        rows = [self._ids(item.row) for item in items]
        return {
            "pixel_values": self.captioner.inputs([item.image() for item in items])["pixel_values"],
            "input_ids": padded(rows, self._pad),
            "attention_mask": padded([[1] * len(row) for row in rows], 0),
            "labels": padded([[IGNORED, *row[1:]] for row in rows], IGNORED),
        }

    def loss(self, batch: Batch) -> Tensor:
        """Mean cross-entropy of the supervised tokens."""
        given = on_device({k: v for k, v in batch.items() if k != "labels"}, self.model)
        logits = self.adapted.model(**given).logits[:, :-1].float()
        wanted = batch["labels"][:, 1:].to(logits.device)
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten())

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

    def _likelihood(self, row: Row) -> float | None:
        """The mean log probability of a token of what people wrote of the picture."""
        texts = [text for text in (row.answer, *row.others) if text]
        if not texts:
            return None
        items = [Shown(replace(row, answer=text)) for text in texts]
        with inference(self._threads):
            return -round(float(self.loss(self.collate(items))), 4)

    def _ids(self, row: Row) -> list[int]:
        """Start, caption, end. Raises :class:`DataError` for an empty or too long one."""
        tokenizer = self.captioner.tokenizer
        ids = list(tokenizer(row.answer or "", add_special_tokens=False)["input_ids"])
        if not set(ids) - set(tokenizer.all_special_ids):
            raise DataError(
                f"{row.path}: nothing of its caption {row.answer!r:.60} is a word the captioner "
                "can write; give it another one."
            )
        if len(ids) + 2 > self._longest:
            raise DataError(
                f"{row.path}: its caption takes {len(ids) + 2} tokens, and {self._longest} fit "
                "(--max-length, or the model's own limit): shorten it."
            )
        return [self._start, *ids, self._end]
