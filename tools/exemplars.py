"""What labels were shown: sets that never change, and share what they have in common.

Knows nothing of pictures, domains or scores. A set is what it holds: labels and ids are sorted, so
the order in which things were added leaves no trace, nor does what was taken away again.
"""

from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

__all__ = ["Exemplars", "Row"]

Row = NDArray[np.float32]


class Exemplars:
    """Unit vectors (d,) by label, and by id within a label; N of K labels."""

    def __init__(self, rows: Mapping[str, Mapping[str, Row]], dimension: int) -> None:
        self.rows, self._dimension = rows, dimension

    def added(self, sample_id: str, label_id: str, row: Row) -> "Exemplars":
        """These and one more, whose id none of these has."""
        mine = {**self.rows.get(label_id, {}), sample_id: row}
        return Exemplars({**self.rows, label_id: mine}, self._dimension)

    def without(self, sample_id: str) -> "Exemplars":
        """These without one; a label that has no other is gone."""
        less = dict(self.rows)
        for label_id, rows in self.rows.items():
            if sample_id in rows:
                less[label_id] = {i: row for i, row in rows.items() if i != sample_id}
        return Exemplars({k: rows for k, rows in less.items() if rows}, self._dimension)

    @cached_property
    def labels(self) -> list[str]:
        """The K labels, sorted."""
        return sorted(self.rows)

    @cached_property
    def number(self) -> dict[str, int]:
        """Where each label is among the labels."""
        return {name: i for i, name in enumerate(self.labels)}

    @cached_property
    def ids(self) -> list[list[str]]:
        """The exemplars of each label, sorted: the order of their vectors."""
        return [sorted(self.rows[x]) for x in self.labels]

    @cached_property
    def vectors(self) -> Row:
        """(N, d), sorted by label and id."""
        named = zip(self.labels, self.ids, strict=True)
        return self.stacked(self.rows[x][i] for x, ids in named for i in ids)

    @cached_property
    def counts(self) -> NDArray[np.intp]:
        """(K,) exemplars of each label."""
        return np.array([len(ids) for ids in self.ids], np.intp)

    @cached_property
    def owner(self) -> NDArray[np.intp]:
        """(N,) the number of each one's label."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def some(self, most: int) -> NDArray[np.intp]:
        """Up to ``most`` of the N, as many of each label as can be, evenly spread."""
        each = -(-most // max(1, len(self.labels)))
        ends = pairwise([0, *np.cumsum(self.counts).tolist()])
        rows = [np.arange(a, b, -(-(b - a) // each)) for a, b in ends]
        found = np.concatenate(rows) if rows else np.zeros(0, np.intp)
        return found[:: max(1, -(-len(found) // most))]

    def stacked(self, rows: Iterable[Row]) -> Row:
        """(n, d)"""
        return np.array(list(rows), np.float32).reshape(-1, self._dimension)
