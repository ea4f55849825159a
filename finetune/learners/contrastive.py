"""An embedder that learns which text belongs to which picture: CLIP, SigLIP, both towers.

Texts are the classes' names, said as the assistant says them when it recognises by name, or the
pictures' captions. It is measured as the assistant will use it: the recogniser with the training
pictures as exemplars, and by the names alone. Knows nothing of splits or reports.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from finetune.data import Row, Table
from finetune.evaluation.predictions import Prediction
from finetune.learners.exemplars import Exemplars, embedded, predictions_of, zero_shot
from finetune.learners.fitting import Batch, Fitting
from finetune.learners.learner import Session
from finetune.settings.schema import Settings
from finetune.training.collate import Shown
from tools.config import ModelChoice
from tools.errors import DataError
from tools.models import Models
from tools.models.embedder import BACKGROUND, TransformersEmbedder, load_embedder
from tools.models.hardware import Hardware, choose_hardware
from tools.models.loading import on_device
from tools.models.sources import locate
from tools.sight import TEMPLATES, Sight, softmax

__all__ = ["EmbedderLearner", "contrastive_loss"]

_TOLD_APART = 128  # classes whose names all take part in each step


class EmbedderLearner(Fitting):
    """Implements :class:`finetune.learners.learner.Learner`."""

    base_name = "names alone"

    def __init__(
        self,
        settings: Settings,
        table: Table,
        taught: Sequence[Row],
        embedder: TransformersEmbedder | None = None,
    ) -> None:
        """``taught``: the exemplars, until :meth:`fit` is given others; ``embedder``: the one of
        ``settings``, where it has been opened before.

        Raises :class:`DataError` for questions.
        """
        if not table.classes and not all(row.is_caption for row in table.rows):
            raise DataError(
                f"{settings.data.source} has questions and answers, and an embedder learns from "
                "classes or captions: name their column (--label-column, --caption-column)."
            )
        self.classes = table.classes
        self._texts = sorted({row.answer or "" for row in table.rows})
        self._taught = list(taught)
        hardware = choose_hardware().for_vectors()
        hardware = Hardware(hardware.device, "float32", "float32: both towers train")
        located = locate(ModelChoice(settings.model.embedder))
        self.embedder = embedder or load_embedder(located, hardware)
        self._sights: dict[str, Sight] = {}
        super().__init__(settings, located, self.embedder.model, hardware)

    def fit(self, train: Sequence[Row], val: Sequence[Row], session: Session, fold: int) -> None:
        self._taught = list(train)
        super().fit(train, val, session, fold)

    def collate(self, items: Sequence[Shown]) -> Batch:
        """The pictures, each text of the batch once in every template, and (N,) which is whose."""
        own = [item.row.label or item.row.answer or "" for item in items]
        texts = self._compared(own)
        pictures = self.embedder.picture_inputs([item.image() for item in items])
        said = self.embedder.text_inputs(self._said(texts))
        return {
            **{f"picture_{name}": value for name, value in pictures.items()},
            **{f"text_{name}": value for name, value in said.items()},
            "labels": torch.tensor([texts.index(text) for text in own]),
        }

    def loss(self, batch: Batch) -> Tensor:
        """The contrastive loss with the model's own scale, which stays as it is."""
        pictures = self._features("picture", batch)
        texts = self._features("text", batch)
        # What a name is compared as: the mean over its templates (tools.sight).
        texts = F.normalize(texts.unflatten(0, (-1, len(self._templates()))).mean(1), dim=-1)
        own = batch["labels"].to(pictures.device)
        sigmoid = self.located.model_type.startswith("siglip")
        bias = self.embedder.logit_bias if sigmoid else None
        return contrastive_loss(pictures, texts, own, self.embedder.logit_scale, bias)

    def predict(
        self, rows: Sequence[Row], session: Session, *, base: bool = False
    ) -> list[Prediction]:
        """Of classes by exemplars, and beside it by names; of captions the likeliest of all.

        ``base``: by names alone.
        """
        session.check()
        with self.adapted.without() if base else nullcontext():
            self.adapted.model.eval()
            sight = self._sight(base=base)
            if not self.classes:
                found = self._retrieved(sight, rows)
            else:
                named = zero_shot(sight, self.classes, rows)
                given = named
                if not base:
                    given = Exemplars.of(sight, self.classes, self._taught).predict(rows)
                found = [replace(p, by_name=q.answer) for p, q in zip(given, named, strict=True)]
        session.tell(event="measured", done=len(found), all=len(rows))
        return found

    def vectors(
        self, rows: Sequence[Row], texts: Sequence[str], *, base: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Unit vectors of the rows' pictures (n, d), and of ``texts`` (m, d)."""
        with self.adapted.without() if base else nullcontext():
            self.adapted.model.eval()
            pictures = np.stack(embedded(self._sight(base=base), rows))
            if not texts:
                return pictures, np.empty((0, pictures.shape[1]))
            return pictures, self.embedder.embed_texts(texts)

    def save(self, folder: Path) -> None:
        super().save(folder)
        if self.classes:  # else nothing here has needed them, and whoever does will measure them
            self._sight().background.save(folder / BACKGROUND)

    def _compared(self, own: Sequence[str]) -> list[str]:
        """What pictures are compared with, their ``own`` texts among it."""
        if 0 < len(self.classes) <= _TOLD_APART:
            return list(self.classes)
        # Two captions of others at least: a picture alone with its own has nothing to learn.
        rivals = [] if self.classes else sorted({row.answer or "" for row in self._taught})[:2]
        return sorted({*own, *rivals})

    def _said(self, texts: Sequence[str]) -> list[str]:
        return [t.format(text) for text in texts for t in self._templates()]

    def _templates(self) -> tuple[str, ...]:
        return TEMPLATES if self.classes else ("{}",)

    def _features(self, kind: str, batch: Batch) -> Tensor:
        given = {k.removeprefix(f"{kind}_"): v for k, v in batch.items() if k.startswith(kind)}
        model = self.adapted.model
        method = model.get_image_features if kind == "picture" else model.get_text_features
        return F.normalize(method(**on_device(given, self.model)).pooler_output.float(), dim=-1)

    def _sight(self, *, base: bool = False) -> Sight:
        """The embedder as it is now with its statistics, measured once for the same weights.

        Inside :meth:`Adapted.without` as it was before.
        """
        digest = "base" if base else self._digest()
        if digest not in self._sights:
            now = self.embedder if base else self.embedder.changed(digest)
            self._sights = {digest: Sight(Models.of(embedder=now))}
        return self._sights[digest]

    def _digest(self) -> str:
        found = hashlib.sha256()
        for _, weight in self.adapted.trained():
            found.update(weight.detach().cpu().contiguous().numpy().tobytes())
        return found.hexdigest()

    def _retrieved(self, sight: Sight, rows: Sequence[Row]) -> list[Prediction]:
        """The likeliest of all captions of the source, those of training among them."""
        texts, scale = self._texts, self.embedder.logit_scale
        vectors = self.embedder.embed_texts(texts)

        def shares(seen: np.ndarray) -> np.ndarray:
            return np.stack([softmax(scale * (vectors @ one)) for one in seen])

        found = predictions_of(sight, rows, texts, shares)
        return [
            replace(p, truth=row.answer or "", probabilities=())
            for p, row in zip(found, rows, strict=True)
        ]


def contrastive_loss(
    pictures: Tensor, texts: Tensor, own: Tensor, scale: float, bias: float | None = None
) -> Tensor:
    """Of unit vectors of pictures (N, d) and of different texts (M, d), ``own`` (N,) telling which
    text is a picture's.

    Without ``bias`` InfoNCE both ways (CLIP; Radford et al. 2021): among all texts the picture's
    own, and among the pictures of other texts the text's own, so that two pictures of one class are
    never told apart. With it the sigmoid loss of each pair (SigLIP; Zhai et al. 2023).
    """
    logits = scale * pictures @ texts.T
    if bias is not None:
        same = F.one_hot(own, len(texts)).to(logits.dtype)
        return -F.logsigmoid((2 * same - 1) * (logits + bias)).sum() / len(pictures)
    found = logits[:, own].T  # row i: the text of picture i against every picture
    alike = (own[:, None] == own[None, :]) & ~torch.eye(
        len(own), dtype=torch.bool, device=own.device
    )
    found = found.masked_fill(alike, -torch.inf)
    each = torch.arange(len(own), device=own.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(found, each)) / 2
