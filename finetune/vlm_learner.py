"""A vision-language model that learns to answer: LoRA, QLoRA, its projector, or all of it.

Joins the model, the collator, the loop and the scorer. Knows nothing of splits or reports.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from finetune import training
from finetune.augment import augmentation
from finetune.collate import Collator, RowDataset, check_rows
from finetune.data.table import Row
from finetune.files import replace_folder, write_json
from finetune.learner import Session
from finetune.methods import Adapted, adapt
from finetune.predictions import Prediction
from finetune.prompts import Prompts
from finetune.scoring import AnswerScorer, Calibration
from finetune.settings import Settings
from finetune.vlm import open_vlm

__all__ = ["VlmLearner"]

_BATCH = 16
_CALIBRATION = "calibration.json"
_ENOUGH = 10  # validation pictures to calibrate on
_CALIBRATED = 200  # pictures at most


class VlmLearner:
    """Implements :class:`finetune.learner.Learner`."""

    base_name = "base model"

    def __init__(
        self, settings: Settings, classes: Sequence[str], examples: Sequence[Row] = ()
    ) -> None:
        """``examples``: pictures to calibrate the untrained model's probabilities on."""
        self.settings = settings
        self.classes = tuple(classes)
        self.prompts = Prompts(settings.prompt, classes)
        self.vlm = open_vlm(settings)
        self.adapted: Adapted = adapt(self.vlm, settings)
        self._examples = (examples, False)
        self._calibration: Calibration | None = None

    def describe(self) -> dict[str, Any]:
        located = self.vlm.located
        return {
            "base_model": self.settings.model.answerer,
            "base_id": located.id(),
            "revision": located.folder.name if located.folder.parent.name == "snapshots" else None,
            "precision": self.vlm.precision,
            "device": self.vlm.hardware.device,
            "trained": [vars(share) for share in self.adapted.shares()],
            "question": self.prompts.question if self.classes else None,
            "answer": self.settings.prompt.answer,
        }

    def fit(self, train: Sequence[Row], val: Sequence[Row], session: Session, fold: int) -> None:
        settings = self.settings.training
        check_rows(self.vlm, self.prompts, [*train, *val], settings.max_length)
        self.adapted.precise(True)
        self.adapted.restart()
        change = augmentation(self.settings.augmentation, settings.seed)
        pictures = RowDataset(train, change)

        def at_epoch(epoch: int) -> None:
            pictures.epoch = epoch

        best = session.folder / "best_model"
        job = training.Job(
            model=self.adapted.model,
            train=pictures,
            val=RowDataset(val) if val else None,
            collate=Collator(self.vlm, self.prompts, max_length=settings.max_length),
            settings=settings,
            checkpoints=session.folder / "checkpoints" / f"fold-{fold}",
            log=session.log,
            fold=fold,
            keep_best=lambda: replace_folder(best, self.adapted.save),
            stop=session.stop,
            groups=self._groups,
            dtype=self.vlm.model.dtype,
            on_event=session.on_event,
            on_epoch=at_epoch,
        )
        if settings.checkpointing:
            self.vlm.model.enable_input_require_grads()
        self.adapted.model.train()
        finished = training.train(job)
        self.adapted.model.eval()
        self.adapted.precise(False)
        self._calibration = None
        self._examples = (val, True) if len(val) >= _ENOUGH else (train, False)
        if not finished:
            session.check()

    def predict(
        self, rows: Sequence[Row], session: Session, *, base: bool = False
    ) -> list[Prediction]:
        with self.adapted.without() if base else nullcontext():
            self.adapted.model.eval()
            scored = None
            if self.classes:
                scorer = self._scorer()
                scored = (scorer, self._calibrated(scorer, base=base))
            found: list[Prediction] = []
            for start in range(0, len(rows), _BATCH):
                session.check()
                found += self._predicted(rows[start : start + _BATCH], scored)
                session.tell(event="measured", done=len(found), all=len(rows))
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
        answers = [self.prompts.answer_of(name) for name in self.classes]
        return AnswerScorer(self.vlm, self.prompts.question, answers)

    def _calibrated(self, scorer: AnswerScorer, *, base: bool) -> Calibration:
        """Fitted to the validation pictures where there are enough, else to training ones."""
        if not base and self._calibration is not None:
            return self._calibration
        rows, fresh = self._examples
        rows = rows[:: max(1, len(rows) // _CALIBRATED)]
        if not rows:
            return Calibration()
        found = scorer.likelihoods([row.photo().image for row in rows])
        truth = [self.classes.index(str(row.label)) for row in rows]
        calibration = Calibration.fitted(found, scorer.blank, truth, sharpen=fresh or base)
        if not base:
            self._calibration = calibration
        return calibration

    def _predicted(
        self, rows: Sequence[Row], scored: tuple[AnswerScorer, Calibration] | None
    ) -> list[Prediction]:
        began = time.perf_counter()
        photos = [row.photo() for row in rows]
        shares = None
        if scored is not None:
            scorer, calibration = scored
            likelihoods = scorer.likelihoods([p.image for p in photos])
            shares = calibration.probabilities(likelihoods, scorer.blank)
        scoring = (time.perf_counter() - began) / len(rows)
        found = []
        for number, (row, photo) in enumerate(zip(rows, photos, strict=True)):
            began = time.perf_counter()
            response = self.vlm.answerer.answer(photo, self.prompts.asked(row))
            seconds = time.perf_counter() - began + scoring
            if shares is None or row.label is None:
                truth, answer, said = row.answer or "", response, None
                mine: tuple[float, ...] = ()
            else:
                mine = tuple(round(float(x), 6) for x in shares[number])
                answer = self.classes[int(shares[number].argmax())]
                truth, said = row.label, self.prompts.parse(response)
            found.append(
                Prediction(
                    row.photo_id, str(row.path), truth, answer, seconds, mine, said, response
                )
            )
        return found

    def _groups(self) -> list[dict[str, Any]]:
        """One group, and one for the projector where it has a learning rate of its own."""
        lr = self.settings.lora.projector_lr
        names = [n for n, _ in self.adapted.trained()]
        own = {n for n in names if lr is not None and self.adapted.is_projector(n)}
        weights = dict(self.adapted.trained())
        groups: list[dict[str, Any]] = [{"params": [weights[n] for n in names if n not in own]}]
        if own:
            groups.append({"params": [weights[n] for n in names if n in own], "lr": lr})
        return groups
