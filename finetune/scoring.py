"""The probability of every class by how likely the model finds its answer.

The prompt with its picture is computed once, and all answers go on from its keys and values. The
score of a class is the mean log-likelihood of its answer's tokens, the end token among them, less
a share of that with a blank picture (Zhao et al. 2021, "Calibrate Before Use"): what a name is
worth without anything to see. A trained model has its own idea of a blank picture, so the share
is fitted to pictures that do not measure. Knows nothing of rows or metrics.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.special import log_softmax, softmax
from torch import Tensor

from finetune.vlm import Vlm
from tools.models.hardware import choose_threads, inference
from tools.models.loading import on_device

__all__ = ["AnswerScorer", "Calibration"]

_SMALL = 50_000_000  # parameters
_GREY = (128, 128, 128)
_PRIORS = (1.0, 0.75, 0.5, 0.25, 0.0)
_SHARPNESS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)


@dataclass(frozen=True)
class Calibration:
    """From log-likelihoods to probabilities: softmax(sharpness·(L − prior·P)).

    L (n, C) are those of the pictures, P (C,) those of a blank one. ``prior`` 1 is the correction
    in full, 0 none.
    """

    prior: float = 1.0
    sharpness: float = 1.0

    def probabilities(
        self, likelihoods: NDArray[np.float64], blank: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """(n, C) rows of sum 1."""
        found: NDArray[np.float64] = softmax(self._logits(likelihoods, blank), axis=1)
        return found

    @classmethod
    def fitted(
        cls,
        likelihoods: NDArray[np.float64],
        blank: NDArray[np.float64],
        truth: Sequence[int],
        *,
        sharpen: bool,
    ) -> Calibration:
        """The one of least log-loss; ``sharpen`` only where the rows did not train the model,
        for on those it is always surer than it should be."""
        rows = np.arange(len(truth))

        def loss(one: Calibration) -> float:
            return -float(log_softmax(one._logits(likelihoods, blank), axis=1)[rows, truth].mean())

        several = product(_PRIORS, _SHARPNESS if sharpen else (1.0,))
        return min((cls(*pair) for pair in several), key=loss)

    def _logits(
        self, likelihoods: NDArray[np.float64], blank: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        return self.sharpness * (likelihoods - self.prior * blank)


class AnswerScorer:
    """Scores the same ``answers`` to the same ``question`` for one picture after another."""

    def __init__(self, vlm: Vlm, question: str, answers: Sequence[str]) -> None:
        self._vlm = vlm
        self._question = question
        self._ids = [vlm.answer_ids(answer) for answer in answers]
        small = sum(p.numel() for p in vlm.model.parameters()) < _SMALL
        self._pictures, self._sequences = (16, 256) if small else (1, 8)
        self._threads = choose_threads(vlm.model)
        self.blank = self.likelihoods([Image.new("RGB", (224, 224), _GREY)])[0]
        """(C,) what a blank picture gives."""

    def likelihoods(self, images: Sequence[Image.Image]) -> NDArray[np.float64]:
        """(n, C) mean log-likelihood of a token of each answer, not corrected."""
        self._vlm.model.eval()
        rows = []
        with inference(self._threads):
            for start in range(0, len(images), self._pictures):
                rows.append(self._batch(images[start : start + self._pictures]))
        return np.concatenate(rows)

    def _batch(self, images: Sequence[Image.Image]) -> NDArray[np.float64]:
        prompts = [self._vlm.prompt(image, self._question) for image in images]
        if len({p["input_ids"].shape[1] for p in prompts}) > 1:  # tiled to their shapes
            return np.concatenate([self._batch([image]) for image in images])
        inputs = {name: torch.cat([p[name] for p in prompts]) for name in prompts[0]}
        seen = self._vlm.model(**on_device(inputs, self._vlm.model), use_cache=True)
        first = seen.logits[:, -1].float().log_softmax(-1)
        columns = []
        step = max(1, self._sequences // len(images))
        for start in range(0, len(self._ids), step):
            columns.append(self._answers(seen.past_key_values, first, start, start + step))
        return torch.cat(columns, dim=1).double().cpu().numpy()

    def _answers(self, cache: object, first: Tensor, start: int, stop: int) -> Tensor:
        """(n, stop - start) mean log-likelihoods of some answers behind n cached prompts."""
        ids = self._ids[start:stop]
        pictures, answers = len(first), len(ids)
        longest = max(map(len, ids))
        device = first.device
        tokens = torch.tensor([i + [self._vlm.pad] * (longest - len(i)) for i in ids])
        tokens = tokens.to(device).repeat(pictures, 1)
        lengths = torch.tensor([len(i) for i in ids], device=device).repeat(pictures)
        # The model writes into the cache it is given: each part of the answers has its own.
        mine = copy.deepcopy(cache)
        mine.batch_repeat_interleave(answers)  # type: ignore[attr-defined]
        scores = [first.repeat_interleave(answers, 0).gather(1, tokens[:, :1])]
        if longest > 1:
            # Answers are padded at the right, where nothing that counts can see the padding.
            more = self._vlm.model(input_ids=tokens[:, :-1], past_key_values=mine, use_cache=True)
            later = more.logits.float().log_softmax(-1)
            scores.append(later.gather(2, tokens[:, 1:, None]).squeeze(2))
        places = torch.arange(longest, device=device)
        counted = torch.cat(scores, 1) * (places < lengths[:, None])
        return (counted.sum(1) / lengths).view(pictures, answers)
