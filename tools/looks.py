"""How a picture is drawn, whatever it shows: flat or grained, calm or busy at its rim, colourful.

An embedder of few weights puts a photo of a kettle beside drawings of kettles; that it is a photo
is plain from its grain. Numpy and pillow only; knows nothing of embedders.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tools.images import Photo

__all__ = ["LOOKS", "with_looks"]

LOOKS = 11
"""Numbers of a picture, each from 0 to 1."""
_SIDE = 64  # pixels of the copy that is looked at: grain finer than that is the camera's, or JPEG's
_FLAT = (1, 4, 12)  # neighbours this much alike, of 255, are one surface
_RIM = 2  # pixels


def with_looks(vectors: NDArray[np.floating], photos: Sequence[Photo]) -> NDArray[np.float32]:
    """(n, d) vectors of n photos → (n, d + LOOKS)."""
    rows = [_looks(photo) for photo in photos]
    return np.concatenate([vectors, np.reshape(rows, (-1, LOOKS))], axis=1).astype(np.float32)


def _looks(photo: Photo) -> NDArray[np.float64]:
    """Shares of flat neighbours; steps between neighbours, roughness, rim, colour; colours."""
    copy = photo.image.copy()
    copy.thumbnail((_SIDE, _SIDE), Image.Resampling.BOX)
    levels = np.asarray(copy, np.float64)
    # What is narrower than the rim on both sides is repeated: a line has a rim, too.
    levels = np.pad(
        levels, [(0, max(0, 2 * _RIM - n)) for n in levels.shape[:2]] + [(0, 0)], "edge"
    )
    steps = np.concatenate([np.abs(np.diff(levels, axis=a)).max(-1).ravel() for a in (0, 1)])
    inner = levels[1:-1, 1:-1]
    around = levels[:-2, 1:-1] + levels[2:, 1:-1] + levels[1:-1, :-2] + levels[1:-1, 2:]
    rough = np.abs(inner - around / 4).max(-1).mean()
    sides = (levels[:_RIM], levels[-_RIM:], levels[:, :_RIM], levels[:, -_RIM:])
    rim = np.concatenate([side.reshape(-1, 3) for side in sides])
    busy = np.abs(rim - np.median(rim, axis=0)).max(-1).mean()
    colourful = (levels.max(-1) - levels.min(-1)).mean()
    different = len(np.unique((levels // 16).reshape(-1, 3), axis=0)) / levels[..., 0].size
    heights = [*np.quantile(steps, (0.25, 0.5, 0.75, 0.9)), rough, busy, colourful]
    flat = [(steps <= most).mean() for most in _FLAT]
    return np.array([*flat, *np.log1p(heights) / np.log(256), np.sqrt(different)])
