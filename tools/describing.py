"""What a picture shows, in words that both the captioner and the embedder stand behind.

The captioner proposes sentences and the embedder picks the nearest (CLIPScore; Hessel et al., EMNLP
2021). An embedder that comes with names of its own knows them better than a small captioner does:
of one thing alone, what it is sure of is said, and no name otherwise. Knows nothing of what was
taught.
"""

import re
from threading import Event

import numpy as np
from numpy.typing import NDArray

from tools.images import Photo
from tools.sight import SURE, Sight
from tools.wording import article

__all__ = ["NAMELESS", "describe", "things_in"]

NAMELESS = "something I have no name for"
_CAPTIONS = 6  # beams; on drawings of an unseen style the right name is in 60 % of such sets
_WORLD = 100  # names from which on they may cover what an embedder was made for
_BETWEEN = re.compile(r", (?:and )?| and | to the (?:left|right) of | above | below ")
_GROUND = re.compile(r" on an? \w+ background$")


def describe(sight: Sight, photo: Photo, *, stop: Event | None = None) -> str:
    """One caption, without a full stop; "" when stopped."""
    texts = sight.models.captioner.captions(photo, _CAPTIONS, stop=stop)
    if not texts:
        return ""
    vector = sight.vector(photo)
    scores = sight.embedder.embed_texts(texts) @ vector if len(texts) > 1 else np.zeros(1)
    text = texts[int(np.argmax(scores))]
    if len(sight.embedder.vocabulary) < _WORLD:
        return text
    return _agreed(sight, vector, text)


def things_in(text: str) -> list[str]:
    """What a plain caption lists: "two red apples and a cat on a blue background" → both parts."""
    return [p.strip() for p in _BETWEEN.split(_GROUND.sub("", text)) if p.strip()]


def _agreed(sight: Sight, vector: NDArray[np.float32], text: str) -> str:
    best = sight.name(vector, 1)[0]
    if best.probability >= SURE:
        return text if best.name in text else article(best.name)
    # One vector says little of several things: of those the captioner alone can speak.
    return text if len(things_in(text)) > 1 else NAMELESS
