"""A vision-language model that learns to answer: LoRA, QLoRA, its projector, or all of it.

Joins the model, the collator, the loop and the scorer. Knows nothing of splits or reports.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune.data.table import Row
from finetune.evaluation.predictions import Prediction
from finetune.evaluation.scoring import AnswerScorer, Calibration
from finetune.files import replace_folder, write_json
from finetune.learners.learner import Session, base_facts
from finetune.methods import Adapted, adapt
from finetune.prompts import Prompts
from finetune.settings.schema import Settings
from finetune.settings.stages import stages_of, whole
from finetune.speed.quick import Quick, quick, where_not
from finetune.training import loop
from finetune.training.augment import augmentation
from finetune.training.collate import Collator, RowDataset, check_rows
from finetune.training.staging import Part, in_turn
from finetune.vlm import open_vlm
from tools.images import Photo

__all__ = ["VlmLearner"]

_BATCH = 16
_CALIBRATION = "calibration.json"
_ENOUGH = 10  # validation pictures to calibrate on
_CALIBRATED = 200  # pictures at most


class VlmLearner:
    """Implements :class:`finetune.learners.learner.Learner`."""

    base_name = "base model"

    def __init__(
        self, settings: Settings, classes: Sequence[str], examples: Sequence[Row] = ()
    ) -> None:
        """``examples``: pictures to calibrate the untrained model's probabilities on."""
        self.settings = settings
        self.classes = tuple(classes)
        self.prompts = Prompts(settings.prompt, classes)
        self.vlm = open_vlm(settings)
        self.adapted: Adapted = adapt(self.vlm, whole(settings))
        self._examples = (examples, False)
        self._calibration: Calibration | None = None

    def describe(self) -> dict[str, Any]:
        return {
            **base_facts(self.settings, self.vlm.located),
            "precision": self.vlm.answerer.precision,
            "device": self.vlm.hardware.device,
            "trained": [vars(share) for share in self.adapted.shares()],
            "stages": [
                f"{s.name} ({s.settings.method})" for s in stages_of(self.settings) if s.name
            ],
            "slow": where_not(self.vlm, self.settings.speed),
            "question": self.prompts.question if self.classes else None,
            "answer": self.settings.prompt.answer,
        }

    def fit(self, train: Sequence[Row], val: Sequence[Row], session: Session, fold: int) -> None:
        self.adapted.precise(True)
        for part in in_turn(self.settings, session, fold, self.adapted):
            self._learn(part, train, val, session, fold)
        self.adapted.precise(False)
        self._calibration = None
        self._examples = (val, True) if len(val) >= _ENOUGH else (train, False)

    def _learn(
        self, part: Part, train: Sequence[Row], val: Sequence[Row], session: Session, fold: int
    ) -> None:
        settings = part.settings.training
        lengths = check_rows(self.vlm, self.prompts, [*train, *val], settings.max_length)
        if settings.checkpointing is True:
            self.vlm.model.enable_input_require_grads()
        self.adapted.model.train()
        speed = part.settings.speed
        with quick(self.vlm, self.adapted.model, speed, _features(session)) as fast:
            job = self._job(part, train, val, session, fold, fast)
            if speed.grouping:
                job = replace(job, lengths=lengths[: len(train)])
            finished = loop.train(job)
        self.adapted.model.eval()
        if not finished:
            session.check()

    def _job(
        self,
        part: Part,
        train: Sequence[Row],
        val: Sequence[Row],
        session: Session,
        fold: int,
        fast: Quick,
    ) -> loop.Job:
        settings = part.settings.training
        change = augmentation(part.settings.augmentation, settings.seed)
        return loop.Job(
            model=self.adapted.model,
            train=RowDataset(train, change, views=fast.views),
            val=RowDataset(val) if val else None,
            collate=Collator(
                self.vlm,
                self.prompts,
                max_length=settings.max_length,
                tower=fast.tower,
                supervised_only=fast.supervised_only,
            ),
            settings=settings,
            checkpoints=part.checkpoints,
            log=part.log,
            fold=fold,
            keep_best=lambda: replace_folder(part.best, self.adapted.save),
            stop=session.stop,
            groups=lambda: self.adapted.groups(part.settings),
            dtype=self.vlm.model.dtype,
            on_event=session.on_event,
            find_batch=part.settings.speed.find_batch,
        )

    def predict(
        self, rows: Sequence[Row], session: Session, *, base: bool = False
    ) -> list[Prediction]:
        with self.adapted.without() if base else nullcontext():
            self.adapted.model.eval()
            scored = None
            if self.classes and any(row.label is not None for row in rows):
                scorer = self._scorer()
                scored = (scorer, self._calibrated(scorer, base=base))
            found: list[Prediction] = []
            for part in session.measuring(rows, _BATCH):
                found += self._predicted(part, scored)
            return found

    def save(self, folder: Path) -> None:
        self.adapted.save(folder)
        if self.classes:
            calibration = self._calibrated(self._scorer(), base=False)
            write_json(folder / _CALIBRATION, asdict(calibration))

    def load(self, folder: Path) -> None:
        self.adapted.load(folder)
        self.adapted.precise(False)
        path = folder / _CALIBRATION
        kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
        self._calibration = None if kept is None else Calibration(**kept)

    def _scorer(self) -> AnswerScorer:
        prompts = self.prompts
        answers = [prompts.scored(name) for name in self.classes]
        return AnswerScorer(
            self.vlm, prompts.question, answers, lead=prompts.lead(), ended=prompts.whole
        )

    def _calibrated(self, scorer: AnswerScorer, *, base: bool) -> Calibration:
        """Fitted to the validation pictures where there are enough, else to training ones."""
        if not base and self._calibration is not None:
            return self._calibration
        rows, fresh = self._examples
        rows = rows[:: max(1, len(rows) // _CALIBRATED)]
        if not rows:
            return Calibration()
        photos = [row.photo() for row in rows]
        # Without a reason before it, an answer is scored the same whatever is generated.
        said = [
            self._said(r, p) if self.prompts.reasons else ""
            for r, p in zip(rows, photos, strict=True)
        ]
        found = self._likelihoods(scorer, photos, said)
        truth = [self.classes.index(str(row.label)) for row in rows]
        calibration = Calibration.fitted(found, scorer.blank, truth, sharpen=fresh or base)
        if not base:
            self._calibration = calibration
        return calibration

    def _said(self, row: Row, photo: Photo) -> str:
        return self.vlm.answerer.answer(photo, self.prompts.asked(row))

    def _likelihoods(
        self, scorer: AnswerScorer, photos: Sequence[Photo], said: Sequence[str]
    ) -> NDArray[np.float64]:
        """(n, C) of each class, behind the reasons that the model itself has given."""
        return scorer.likelihoods([p.image for p in photos], [self.prompts.lead(s) for s in said])

    def _predicted(
        self, rows: Sequence[Row], scored: tuple[AnswerScorer, Calibration] | None
    ) -> list[Prediction]:
        photos = [row.photo() for row in rows]
        said, times = [], []
        for row, photo in zip(rows, photos, strict=True):
            began = time.perf_counter()
            said.append(self._said(row, photo))
            times.append(time.perf_counter() - began)
        if scored is None:
            return [
                Prediction(r.photo_id, str(r.path), r.answer or "", s, t, response=s)
                for r, s, t in zip(rows, said, times, strict=True)
            ]
        began = time.perf_counter()
        scorer, calibration = scored
        shares = calibration.probabilities(self._likelihoods(scorer, photos, said), scorer.blank)
        scoring = (time.perf_counter() - began) / len(rows)
        return [
            Prediction(
                row.photo_id,
                str(row.path),
                str(row.label),
                self.classes[int(mine.argmax())],
                seconds + scoring,
                tuple(round(float(x), 6) for x in mine),
                self.prompts.parse(response),
                response,
            )
            for row, response, seconds, mine in zip(rows, said, times, shares, strict=True)
        ]


def _features(session: Session) -> Path:
    """Beside the runs, for all of them."""
    return session.folder.parents[1] / "features"
