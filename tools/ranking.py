"""What recognition is given and what it says: samples in, a ranking with evidence out.

Plain data; knows nothing of how a ranking comes about (:mod:`tools.recognizer`).
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Decision", "Evidence", "LeftOut", "Ranking", "Sample", "Scored", "is_ambiguous"]

Decision = Literal["known", "ambiguous", "unknown"]
_AMBIGUOUS = 0.7  # the best label must hold this share of the probability of the best two


def is_ambiguous(first: float, second: float) -> bool:
    """Whether the best two labels, of these probabilities, can't be told apart."""
    return first < _AMBIGUOUS * (first + second)


@dataclass(frozen=True, eq=False)
class Sample:
    """One exemplar: its id, its label's, its unit vector (d,), and whether it is a negative."""

    id: str
    label_id: str
    vector: NDArray[np.floating]
    positive: bool = True


class Scored(NamedTuple):
    """A label with its probability in [0, 1] (of this label against all others and *unknown*)."""

    label_id: str
    probability: float


@dataclass(frozen=True)
class Evidence:
    """An exemplar with its similarity to the query, a cosine in the deciding metric, [-1, 1]."""

    sample_id: str
    label_id: str
    similarity: float


@dataclass(frozen=True)
class Ranking:
    """What a query is: labels by falling probability, *unknown* beside them, and why."""

    labels: tuple[Scored, ...]
    decision: Decision
    unknown: float
    """P(none of the labels), in [0, 1]."""
    threshold: float
    """``unknown`` above this means the decision *unknown*."""
    evidence: tuple[Evidence, ...]
    """The nearest exemplars of the best label (of the best two when ambiguous), best first."""

    @property
    def best(self) -> Scored | None:
        """The likeliest label, whatever the decision; None when nothing is taught."""
        return self.labels[0] if self.labels else None


@dataclass(frozen=True)
class LeftOut:
    """What an exemplar would be recognised as, had it not been taught."""

    sample_id: str
    label_id: str
    """The label it was taught under."""
    ranking: Ranking

    @property
    def right(self) -> bool:
        """Whether it would be recognised as what it is."""
        best = self.ranking.best
        known = self.ranking.decision != "unknown"
        return known and best is not None and best.label_id == self.label_id
