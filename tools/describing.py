"""What a picture shows, in words that the embedder stands behind.

Of several things on a calm background each is looked at by itself, and named when the embedder is
sure of it. Of other pictures the captioner proposes sentences and the embedder picks the nearest
(CLIPScore; Hessel et al., EMNLP 2021); an embedder that comes with names of its own knows them
better than a small captioner does: what it is sure of is said of one thing alone, and no name
otherwise.
"""

from threading import Event

import numpy as np
from numpy.typing import NDArray

from tools.grounding import Things, has_world, look_at
from tools.images import Photo
from tools.recall import Recall
from tools.sight import Sight
from tools.wording import article, join, number, plural

__all__ = ["NAMELESS", "NAMELESS_MANY", "describe"]

NAMELESS = "something I have no name for"
NAMELESS_MANY = "{} things I have no name for"
_CAPTIONS = 6  # beams; on drawings of an unseen style the right name is in 60 % of such sets


def describe(
    sight: Sight, photo: Photo, recall: Recall | None = None, *, stop: Event | None = None
) -> str:
    """One caption, without a full stop; "" when stopped.

    ``recall``: of several things those that were taught get the names they were taught with.
    """
    own_names = has_world(sight)
    if own_names and _is_several(things := look_at(sight, photo, recall), sight.vector(photo)):
        return _listed(things)
    texts = sight.models.captioner.captions(photo, _CAPTIONS, stop=stop)
    if not texts:
        return ""
    vector = sight.vector(photo)
    scores = sight.embedder.embed_texts(texts) @ vector if len(texts) > 1 else np.zeros(1)
    text = texts[int(np.argmax(scores))]
    return _agreed(sight, vector, text) if own_names else text


def _is_several(things: Things, whole: NDArray[np.float32]) -> bool:
    """Whether the whole has no sure name, or a part has a likelier one: else it is one thing."""
    if len(things) < 2:
        return False
    sight = things.sight
    parts = [sight.name(vector, 1)[0].probability for vector in things.vectors]
    return sight.sure_name(whole) is None or max(parts) > sight.name(whole, 1)[0].probability


def _listed(things: Things) -> str:
    """ "Two keys, a truck and something I have no name for"."""
    names, left, nameless = [], list(range(len(things))), 0
    while left:
        alike = things.like(left[0])
        kind = [i for i in left if alike[i] or i == left[0]]
        left = [i for i in left if i not in kind]
        name = things.taught_name(kind[0]) or _sure_name(things, kind)
        if name is None:
            nameless += len(kind)
        elif len(kind) == 1:
            names.append(article(name))
        else:
            names.append(f"{number(len(kind))} {plural(name)}")
    if nameless:
        names.append(NAMELESS if nameless == 1 else NAMELESS_MANY.format(number(nameless)))
    return join(names)


def _sure_name(things: Things, kind: list[int]) -> str | None:
    views = [photo for i in kind for photo in things.regions[i].photos]
    return things.sight.sure_name(*things.sight.vectors(views))


def _agreed(sight: Sight, vector: NDArray[np.float32], text: str) -> str:
    name = sight.sure_name(vector)
    if name is None:
        return NAMELESS
    return text if name in text else article(name)
