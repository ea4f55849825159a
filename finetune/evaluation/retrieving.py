"""How well an embedder finds pictures and texts, before and after it was trained.

With captions pictures find texts and texts find pictures; with classes pictures find pictures of
their class. Knows nothing of how it learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from finetune.data import Row
from finetune.evaluation.retrieval import Figures, measure_both_ways, measure_same_class

__all__ = ["Embeds", "retrieval"]


@runtime_checkable
class Embeds(Protocol):
    """A learner that turns pictures and texts into vectors."""

    def vectors(
        self, rows: Sequence[Row], texts: Sequence[str], *, base: bool = False
    ) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Unit vectors of the rows' pictures (n, d), and of ``texts`` (m, d)."""


def retrieval(learner: Embeds, rows: Sequence[Row], *, base: bool = False) -> Figures:
    """Among ``rows`` alone. A caption that two pictures share is right for both."""
    labels = [row.label for row in rows if row.label is not None]
    if labels:
        pictures, _ = learner.vectors(rows, (), base=base)
        return {f"same_class_{k}": v for k, v in measure_same_class(pictures, labels).items()}
    own = [{t for t in (row.answer, *row.others) if t} for row in rows]
    texts = sorted(set().union(*own))
    pictures, meant = learner.vectors(rows, texts, base=base)
    relevant = np.array([[text in mine for text in texts] for mine in own])
    ways = measure_both_ways(pictures @ meant.T, relevant)
    return {f"{way}_{name}": found for way, names in ways.items() for name, found in names.items()}
