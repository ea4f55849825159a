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
from itertools import groupby, product

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.special import log_softmax, softmax
from torch import Tensor

from finetune.vlm import Vlm, padded
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

    def __init__(
        self,
        vlm: Vlm,
        question: str,
        answers: Sequence[str],
        *,
        lead: str = "",
        ended: bool = True,
    ) -> None:
        """``lead``: what stands before an answer when there is nothing to see. ``ended``: the
        model ends there."""
        self._vlm = vlm
        self._question = question
        self._answers = tuple(answers)
        self._ended = ended
        small = sum(p.numel() for p in vlm.model.parameters()) < _SMALL
        self._pictures, self._sequences = (16, 256) if small else (1, 8)
        self._threads = choose_threads(vlm.model)
        self.blank = self.likelihoods([Image.new("RGB", (224, 224), _GREY)], [lead])[0]
        """(C,) what a blank picture gives."""

    def likelihoods(
        self, images: Sequence[Image.Image], leads: Sequence[str] = ()
    ) -> NDArray[np.float64]:
        """(n, C) mean log-likelihood of a token of each answer, not corrected.

        ``leads``: what the model has said of each picture before the answer, if anything.
        """
        self._vlm.model.eval()
        rows = []
        several = list(zip(images, leads or [""] * len(images), strict=True))
        with inference(self._threads):
            for lead, group in groupby(several, key=lambda one: one[1]):
                same = [image for image, _ in group]
                for start in range(0, len(same), self._pictures):
                    rows.append(self._batch(same[start : start + self._pictures], lead))
        return np.concatenate(rows)

    def _batch(self, images: Sequence[Image.Image], lead: str) -> NDArray[np.float64]:
        prompts = [self._vlm.prompt(image, self._question) for image in images]
        if len({p["input_ids"].shape[1] for p in prompts}) > 1:  # tiled to their shapes
            return np.concatenate([self._batch([image], lead) for image in images])
        inputs = {name: torch.cat([p[name] for p in prompts]) for name in prompts[0]}
        said, ids = self._split(lead)
        more = torch.tensor(said, dtype=torch.long).expand(len(images), -1)
        for name, tail in (("input_ids", more), ("attention_mask", torch.ones_like(more))):
            inputs[name] = torch.cat([inputs[name], tail], dim=1)
        seen = self._vlm.model(**on_device(inputs, self._vlm.model), use_cache=True)
        first = seen.logits[:, -1].float().log_softmax(-1)
        columns = []
        step = max(1, self._sequences // len(images))
        for start in range(0, len(ids), step):
            columns.append(self._scores(seen.past_key_values, first, ids[start : start + step]))
        return torch.cat(columns, dim=1).double().cpu().numpy()

    def _split(self, lead: str) -> tuple[list[int], list[list[int]]]:
        """The ids of ``lead``, and those of each answer behind it.

        They are the ids of both together, cut where the answers part at the latest: a tokenizer
        may join the end of one to the start of the other.
        """
        ids = [self._vlm.answer_ids(lead + one, ended=self._ended) for one in self._answers]
        before = self._vlm.answer_ids(lead, ended=False) if lead.strip() else []
        shared = 0
        while shared < min(len(before), *(len(i) - 1 for i in ids)) and all(
            i[shared] == before[shared] for i in ids
        ):
            shared += 1
        return ids[0][:shared], [i[shared:] for i in ids]

    def _scores(self, cache: object, first: Tensor, ids: list[list[int]]) -> Tensor:
        """(n, answers) mean log-likelihoods of some answers behind n cached prompts."""
        pictures, answers = len(first), len(ids)
        longest = max(map(len, ids))
        device = first.device
        tokens = padded(ids, self._vlm.pad).to(device).repeat(pictures, 1)
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
