"""Which rows come together: those of like length, so that little is padded.

Knows nothing of what the rows are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

__all__ = ["LengthSampler"]

_POOL = 50  # batches that are sorted together: like lengths, and still chance


class LengthSampler(Sampler[int]):
    """Row numbers in an order of chance in which every ``batch`` of them have like lengths.

    It depends on the seed and the epoch alone, so that a run goes on after a stop as it would have.
    """

    def __init__(self, lengths: Sequence[int], batch: int, seed: int) -> None:
        self._lengths = np.asarray(lengths)
        self._batch = batch
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the loop before each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng((self._seed, self._epoch))
        order = rng.permutation(len(self._lengths))
        batches: list[np.ndarray] = []
        for start in range(0, len(order), self._batch * _POOL):
            pool = order[start : start + self._batch * _POOL]
            pool = pool[np.argsort(self._lengths[pool], kind="stable")]
            batches += np.split(pool, range(self._batch, len(pool), self._batch))
        # A batch that is not full comes last, or the others would be cut at other places.
        full = [b for b in batches if len(b) == self._batch]
        rest = [b for b in batches if len(b) < self._batch]
        rng.shuffle(full)  # type: ignore[arg-type]
        yield from (int(number) for part in (*full, *rest) for number in part)
