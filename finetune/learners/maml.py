"""Learning to learn from a few pictures: an initialisation that adapts in a few steps.

Model-agnostic meta-learning (Finn et al. 2017) in its first order: in each episode the weights
take a few steps on the pictures shown, and the gradient of the loss on those asked about, where
the steps end, is taken as that of where they began. What adapts is a low-rank layer on the
embedder's vectors, which themselves stay as they are, and a cosine classifier that begins at the
mean of each label's pictures (Triantafillou et al. 2020). Knows nothing of splits or reports.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from finetune.data import Plan, Row, Table
from finetune.evaluation.predictions import Prediction
from finetune.learners.episodes import Episode, Pool
from finetune.learners.exemplars import Exemplars, embedded
from finetune.learners.learner import Session
from finetune.learners.on_embedder import OnEmbedder, with_weights
from finetune.settings.schema import MamlSettings, Settings
from finetune.training import loop
from tools.errors import DataError, TrainingFailed

__all__ = ["Initialisation", "MamlLearner"]

_WEIGHTS = "initialisation.safetensors"
_SCALE = 10.0  # of cosines, before it is learned


class MamlLearner(OnEmbedder):
    """Implements :class:`learner.Learner` and :class:`learner.InEpisodes`."""

    base_name = "untrained initialisation"

    def __init__(self, settings: Settings, table: Table, plan: Plan) -> None:
        super().__init__(settings, table.classes)
        train, test = table.take(plan.final.train), table.take(plan.final.test)
        shots = settings.maml.shots
        learned = {row.label for row in train}
        fresh = Pool([row for row in test if row.label not in learned], settings.maml).piles
        self._known = [*train, *(row for pile in fresh.values() for row in pile[:shots])]
        self._pools = [Pool(test, settings.maml), Pool(table.rows, settings.maml)]
        self._initial = Initialisation(settings.maml, self.sight.embedder.dimension)
        self._start = {n: w.clone() for n, w in self._initial.state_dict().items()}
        self._support: tuple[Tensor, Tensor] | None = None
        self._named: _Weights | None = None
        self._seen: dict[tuple[Any, ...], Tensor] = {}

    def describe(self) -> dict[str, Any]:
        count = sum(p.numel() for p in self._initial.parameters())
        part = {"part": "initialisation", "trained": count, "all": count}
        return {**super().describe(), "device": "cpu", "trained": [part]}

    def fit(self, train: Sequence[Row], val: Sequence[Row], session: Session, fold: int) -> None:
        settings, maml = self.settings.training, self.settings.maml
        self._initial.load_state_dict(self._start)
        self._named = None
        episodes = _Episodes(self, Pool(train, maml), maml.episodes, settings.seed)
        watched = Pool(val, maml)
        held = _Episodes(self, watched, maml.episodes, settings.seed) if watched.enough else None

        finished = loop.train(
            loop.Job.within(
                session,
                fold,
                self.save,
                model=self._initial,
                train=episodes,
                val=held,
                collate=_collated,
                settings=settings,
            )
        )
        self._initial.to("cpu")
        if not finished:
            session.check()

    def predict(
        self, rows: Sequence[Row], session: Session, *, base: bool = False
    ) -> list[Prediction]:
        """Of all labels, having adapted to what is known of them: the pictures that trained, and
        ``maml.shots`` of each label that was held out."""
        if base:
            return self.by_names(rows)
        if self._named is None:
            vectors, numbers = self._shown()
            self._named = self._initial.adapted(vectors, numbers, len(self.classes))
        named = self._named
        return [
            self._predicted(row, self.classes, named, time.perf_counter())
            for (row,) in session.measuring(rows)
        ]

    def examined(
        self, rows: Sequence[Row], session: Session, *, base: bool = False
    ) -> list[Prediction]:
        """Each row in an episode of its own, of held-out pictures as far as there are some."""
        found = []
        with with_weights(self._initial, self._start) if base else nullcontext():
            for (row,) in session.measuring(rows):
                began = time.perf_counter()
                episode = self._around(row)
                support, numbers = self.tensors(episode.labels, episode.support)
                weights = self._initial.adapted(support, numbers, len(episode.labels))
                found.append(self._predicted(row, episode.labels, weights, began))
        return found

    def by_recogniser(self, rows: Sequence[Row], session: Session) -> list[Prediction]:
        """What the recogniser says in the same episodes, shown the same pictures."""
        found = []
        for (row,) in session.measuring(rows):
            episode = self._around(row)
            (told,) = Exemplars.of(self.sight, episode.labels, episode.support).predict([row])
            shares = dict(zip(episode.labels, told.probabilities, strict=True))
            found.append(self._of_all(row, told.answer, shares, told.seconds))
        return found

    def save(self, folder: Path) -> None:
        vectors, numbers = self._shown()
        learned = self._initial.state_dict()
        self.keep(folder / _WEIGHTS, {**learned, "vectors": vectors, "numbers": numbers})

    def load(self, folder: Path) -> None:
        found = load_file(folder / _WEIGHTS)
        self._support = (found.pop("vectors"), found.pop("numbers"))
        self._named = None
        try:
            self._initial.load_state_dict(found)
        except RuntimeError as exc:
            raise TrainingFailed(
                f"The initialisation in {folder} does not fit {self.settings.model.embedder}: "
                "choose the embedder that it was trained on."
            ) from exc

    def tensors(self, labels: Sequence[str], rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
        """(n, d) unit vectors of the rows' pictures, and the numbers of their labels."""
        numbers = torch.tensor([labels.index(str(row.label)) for row in rows])
        return self._vectors(rows), numbers

    def _vectors(self, rows: Sequence[Row]) -> Tensor:
        """(n, d), computed once a picture: an episode shows what others have shown."""
        new = list({row.key: row for row in rows if row.key not in self._seen}.values())
        for row, vector in zip(new, embedded(self.sight, new), strict=True):
            self._seen[row.key] = torch.from_numpy(vector)
        return torch.stack([self._seen[row.key] for row in rows])

    def _shown(self) -> tuple[Tensor, Tensor]:
        if self._support is None:
            self._support = self.tensors(self.classes, self._known)
        return self._support

    def _around(self, row: Row) -> Episode:
        pool = next((p for p in self._pools if p.enough and row.label in p.piles), None)
        if pool is None:
            raise DataError(
                f"{row.path}: too few pictures of {row.label} are known for an episode, which "
                f"shows {self.settings.maml.shots} and asks about another; give more."
            )
        return pool.around(row, self.settings.data.seed)

    def _predicted(
        self, row: Row, labels: Sequence[str], weights: _Weights, began: float
    ) -> Prediction:
        with torch.no_grad():
            shares = (
                self._initial.logits(self._vectors([row]), weights)[0].double().softmax(-1).tolist()
            )
        answer = labels[int(np.argmax(shares))]
        seconds = time.perf_counter() - began
        return self._of_all(row, answer, dict(zip(labels, shares, strict=True)), seconds)

    def _of_all(
        self, row: Row, answer: str, shares: dict[str, float], seconds: float
    ) -> Prediction:
        """A label that was not in the episode has no share."""
        every = tuple(round(float(shares.get(name, 0.0)), 6) for name in self.classes)
        return Prediction(row.photo_id, str(row.path), str(row.label), answer, seconds, every)


class _Weights(NamedTuple):
    """What adapts: the layer (``down`` (r, d), ``up`` (d, r)) and the classifier."""

    down: Tensor
    up: Tensor
    classifier: Tensor
    bias: Tensor


class Initialisation(nn.Module):
    """Where adapting begins, and how it goes on. It starts as the vectors themselves."""

    def __init__(self, settings: MamlSettings, width: int) -> None:
        super().__init__()
        seeded = torch.Generator().manual_seed(0)
        start = torch.randn(settings.rank, width, generator=seeded) / math.sqrt(width)
        self.down = nn.Parameter(start)
        self.up = nn.Parameter(torch.zeros(width, settings.rank))
        self.log_scale = nn.Parameter(torch.tensor(math.log(_SCALE)))
        self._steps, self._lr = settings.inner_steps, settings.inner_lr

    def forward(self, labels: Tensor, episodes: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """The mean loss of episodes on what they ask; ``labels``: (episodes, queries) of that."""
        losses = []
        for one, truth in zip(episodes, labels, strict=True):
            ways = int(one["shown"].max()) + 1
            weights = self._adapted(one["support"], one["shown"], ways)
            logits = self.logits(one["queries"], weights)
            losses.append(F.cross_entropy(logits, truth[: len(logits)]))
        return {"loss": torch.stack(losses).mean()}

    def adapted(self, support: Tensor, labels: Tensor, ways: int) -> _Weights:
        """The weights after the steps on ``support`` (n, d)."""
        return _Weights(*(w.detach() for w in self._adapted(support, labels, ways)))

    def logits(self, vectors: Tensor, weights: _Weights) -> Tensor:
        """(n, d) → (n, ways)."""
        seen = self._seen(vectors, weights.down, weights.up)
        return self.log_scale.exp() * F.linear(seen, weights.classifier) + weights.bias

    def _adapted(self, support: Tensor, labels: Tensor, ways: int) -> _Weights:
        """First order: the value is that after the steps, the gradient that of their beginning.

        Labels count alike, however many pictures were shown of each.
        """
        begun = self._begun(support, labels, ways)
        alike = torch.bincount(labels, minlength=ways).to(support.dtype).reciprocal()
        weights = begun
        for _ in range(self._steps):
            with torch.enable_grad():
                here = _Weights(*(w.detach().requires_grad_() for w in weights))
                loss = F.cross_entropy(self.logits(support, here), labels, weight=alike)
                gradients = torch.autograd.grad(loss, here)
            weights = _Weights(
                *(w.detach() - self._lr * g for w, g in zip(here, gradients, strict=True))
            )
        return _Weights(*(b + (w - b).detach() for b, w in zip(begun, weights, strict=True)))

    def _begun(self, support: Tensor, labels: Tensor, ways: int) -> _Weights:
        seen = self._seen(support, self.down, self.up)
        sums = torch.zeros(ways, seen.shape[1], dtype=seen.dtype, device=seen.device)
        means = F.normalize(sums.index_add(0, labels, seen), dim=-1)
        return _Weights(self.down, self.up, means, torch.zeros_like(means[:, 0]))

    @staticmethod
    def _seen(vectors: Tensor, down: Tensor, up: Tensor) -> Tensor:
        return F.normalize(vectors + F.linear(F.linear(vectors, down), up), dim=-1)


class _Episodes(loop.EpochDataset):
    """So many episodes an epoch, the same ones whenever that epoch comes."""

    def __init__(self, learner: MamlLearner, pool: Pool, count: int, seed: int) -> None:
        self._learner, self._pool, self._count, self._seed = learner, pool, count, seed

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        episode = self._pool.draw(self._seed, self.epoch, number)
        support, labels = self._learner.tensors(episode.labels, episode.support)
        queries, asked = self._learner.tensors(episode.labels, episode.queries)
        return {"support": support, "shown": labels, "queries": queries, "labels": asked}


def _collated(items: Sequence[dict[str, Tensor]]) -> dict[str, Any]:
    """Labels first, for the Trainer counts rows by what comes first; -1 where others ask more."""
    labels = pad_sequence([i["labels"] for i in items], batch_first=True, padding_value=-1)
    episodes = [{name: w for name, w in item.items() if name != "labels"} for item in items]
    return {"labels": labels, "episodes": episodes}
