"""Which thing of a picture a word means: names against regions, each seen by itself.

A word of the language means the region whose vector it is likeliest for (CLIP's zero-shot
classification, turned around); a taught label means what the recognizer recognises. Knows nothing
of questions or sentences.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tools.images import Photo
from tools.memory.state import Label
from tools.ranking import Ranking
from tools.recall import Recall
from tools.regions import Region, find_regions
from tools.sight import Sight

__all__ = ["Things", "has_world", "look_at"]

_WORLD = 100  # names from which on they may cover what an embedder was made for
_ALIKE = 0.7  # cosine from which on two things of one picture are the same kind


def has_world(sight: Sight) -> bool:
    """Whether the embedder comes with names of its own that cover what it was made for."""
    return len(sight.embedder.vocabulary) >= _WORLD


def look_at(sight: Sight, photo: Photo, recall: Recall | None = None) -> "Things":
    """The things of a photo; ``recall``: what people taught has names, too."""
    return Things(sight, find_regions(photo), recall)


@dataclass(frozen=True, eq=False)
class Things:
    """The things of one picture. Vectors are made when they are first needed."""

    sight: Sight
    regions: tuple[Region, ...]
    recall: Recall | None = None

    def __len__(self) -> int:
        return len(self.regions)

    @cached_property
    def vectors(self) -> NDArray[np.float32]:
        """(n, d) unit vectors of the things, each the mean of its views."""
        views = self.sight.vectors([photo for region in self.regions for photo in region.photos])
        means = np.stack(views).reshape(len(self), -1, len(views[0])).mean(axis=1)
        return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True))

    def fit(self, name: str) -> NDArray[np.float64]:
        """(n,) how well ``name`` fits each thing; from 0 on it may be said of it.

        Of a word: log(P(word | thing) · K), so that 0 is a word drawn of all K at random. Of a
        taught label: its probability where the recognizer knows the thing as it, else below 0.
        """
        label = self._taught(name)
        if label is None:
            return self.sight.likelihood(self.vectors, name)
        fits = []
        for ranking in self._rankings:
            chance = next((x.probability for x in ranking.labels if x.label_id == label), 0.0)
            fits.append(chance if _known(ranking) == label else chance - 1.0)
        return np.array(fits)

    def taught_name(self, index: int) -> str | None:
        """What people taught that thing as, when the recognizer knows it."""
        label = _known(self._rankings[index]) if self._rankings else None
        return None if label is None else self._labels[label].name

    def is_taught(self, name: str) -> bool:
        """Whether ``name`` is what a person called pictures they showed."""
        return self._taught(name) is not None

    def like(self, index: int) -> NDArray[np.bool_]:
        """(n,) which things are of the kind of that one."""
        return np.asarray(self.vectors @ self.vectors[index] >= _ALIKE)

    @cached_property
    def _rankings(self) -> list[Ranking]:
        """What the recognizer says of each thing; empty where nothing was taught."""
        if self.recall is None or not self._labels:
            return []
        recognizer = self.recall.recognizer()
        return [recognizer.recognise(vector) for vector in self.vectors]

    @property
    def _labels(self) -> Mapping[str, Label]:
        return {} if self.recall is None else self.recall.memory.state.labels

    def _taught(self, name: str) -> str | None:
        """The id of the taught label of that name, or of which that is the plural."""
        if self.recall is None:
            return None
        state = self.recall.memory.state
        label = state.find(name) or state.find(name.removesuffix("s"))
        return label.id if label is not None and state.of(label.id) else None


def _known(ranking: Ranking) -> str | None:
    """The id of the label that was recognised."""
    return ranking.labels[0].label_id if ranking.decision == "known" else None
