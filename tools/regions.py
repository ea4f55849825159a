"""The things of a picture that stand on a calm background, apart from each other.

The background is what can be reached from the rim without crossing an edge: plain, a gradient or
soft clouds of colour. What is left, and hangs together, is a thing. Where little of the rim is
background, as in most photos, nothing is found. Knows nothing of names or models.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from tools.images import Photo, open_photo

__all__ = ["Region", "find_regions"]

_SIDE = 64  # longer side of the copy that is taken apart: in a larger one edges may be slopes
_FINER = 2  # colours are read from a copy this many times as large: edges mix fewer of them
_EDGE = 12.0  # two neighbours whose channels differ by this, of 255, have an edge between them
_STRETCH = 0.05  # a background reaches along this share of the rim, and together they
_CALM = 0.75  # reach along this share
_GAP = 1 / 32  # a small part this near a bigger one, as a share of the shorter side, belongs to it
_SMALL = 0.3  # small: below this share of the bigger one's size
_SPECK = 0.005  # share of the picture below which something is a speck
_MOST = 12  # a picture of more things is busy, not calm
_MARGINS = (0.1, 0.22)
_LEAST_SIDE = 64

Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Region:
    """A thing: ``box`` is (left, top, right, bottom) in shares of the picture, 0..1."""

    box: Box
    pixels: NDArray[np.uint8]
    """(n, 3): its own colours, without its edge."""
    _picture: Image.Image
    _mask: NDArray[np.bool_]
    _ground: tuple[int, int, int]

    @property
    def centre(self) -> tuple[float, float]:
        """(x, y) in shares of the picture; y grows downwards."""
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2

    @property
    def size(self) -> float:
        """The longer side, a share of the picture's."""
        left, top, right, bottom = self.box
        return max(right - left, bottom - top)

    @cached_property
    def photos(self) -> tuple[Photo, Photo]:
        """The thing alone on the colour it stood on, in a square; and mirrored, in a wider one.

        Two views name it better than one: in two points of a hundred on drawings of 25 pixels.
        """
        from scipy import ndimage

        left, top, right, bottom = self.box
        width, height = self._picture.size
        part = self._picture.crop(
            (round(left * width), round(top * height), round(right * width), round(bottom * height))
        )
        # The mask is coarser than the picture: its edge is made soft, and what it encloses is kept.
        solid = Image.fromarray(ndimage.binary_fill_holes(self._mask)).convert("L")
        soft = solid.resize(part.size, Image.Resampling.BICUBIC)
        near, far = (self._framed(part, soft, margin) for margin in _MARGINS)
        return open_photo(near), open_photo(ImageOps.mirror(far))

    def _framed(self, part: Image.Image, mask: Image.Image, margin: float) -> Image.Image:
        side = round(max(part.size) * (1 + 2 * margin))
        canvas = Image.new("RGB", (side, side), self._ground)
        canvas.paste(part, ((side - part.width) // 2, (side - part.height) // 2), mask)
        small = side < _LEAST_SIDE
        return canvas.resize((_LEAST_SIDE,) * 2, Image.Resampling.BICUBIC) if small else canvas


def find_regions(photo: Photo) -> tuple[Region, ...]:
    """The things of a photo, from top to bottom; () where its background is not calm."""
    from scipy import ndimage  # a quarter of a second: not for who only opens a conversation

    copy = photo.image.copy()
    copy.thumbnail((_SIDE, _SIDE), Image.Resampling.BOX)
    pixels = np.asarray(copy, np.float64)
    height, width = pixels.shape[:2]
    ground = _background(pixels)
    if ground is None:
        return ()
    owners = _joined(ndimage.label(~ground, structure=np.ones((3, 3)))[0])
    found = []
    for number, where in enumerate(ndimage.find_objects(owners), 1):
        mask = None if where is None else owners[where] == number
        if mask is None or mask.sum() < _SPECK * height * width:
            continue
        rows, columns = where
        around = _grown(where, 2)
        colour = pixels[around][ground[around]].mean(0).round()
        found.append(
            Region(
                (columns.start / width, rows.start / height,
                 columns.stop / width, rows.stop / height),
                _colours(photo.image, where, copy.size, mask), photo.image, mask,
                (int(colour[0]), int(colour[1]), int(colour[2])),
            )
        )  # fmt: skip
    return tuple(found) if len(found) <= _MOST else ()


def _colours(
    picture: Image.Image, where: tuple[slice, slice], size: tuple[int, int], mask: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """(n, 3): what a picture shows where a mask is, of a place in its copy of that size."""
    from scipy import ndimage

    across, down = picture.width / size[0], picture.height / size[1]
    rows, columns = where
    box = (columns.start * across, rows.start * down, columns.stop * across, rows.stop * down)
    fine = (_FINER * mask.shape[1], _FINER * mask.shape[0])
    inner = ndimage.binary_erosion(mask)
    chosen = np.kron(inner if inner.sum() > 20 else mask, np.ones((_FINER, _FINER), bool))
    return np.asarray(picture.resize(fine, Image.Resampling.BOX, box=box))[chosen]


def _background(pixels: NDArray[np.float64]) -> NDArray[np.bool_] | None:
    """(H, W) which pixels of (H, W, 3) are background; None where little of the rim is."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    height, width = pixels.shape[:2]
    number = np.arange(height * width).reshape(height, width)
    across = np.abs(np.diff(pixels, axis=1)).max(-1) < _EDGE
    down = np.abs(np.diff(pixels, axis=0)).max(-1) < _EDGE
    one = np.concatenate([number[:, :-1][across], number[:-1][down]])
    other = np.concatenate([number[:, 1:][across], number[1:][down]])
    graph = coo_array((np.ones(len(one)), (one, other)), shape=(number.size, number.size))
    areas = connected_components(graph, directed=False)[1].reshape(height, width)
    rim = np.concatenate([areas[0], areas[-1], areas[1:-1, 0], areas[1:-1, -1]])
    along = np.bincount(rim)
    grounds = np.flatnonzero(along >= _STRETCH * len(rim))
    if along[grounds].sum() < _CALM * len(rim):
        return None
    return np.isin(areas, grounds)


def _joined(parts: NDArray[np.int32]) -> NDArray[np.int32]:
    """Numbered parts with small ones given to the biggest near them, the smallest first."""
    from scipy import ndimage

    sizes = np.bincount(parts.ravel())
    owner = np.arange(len(sizes), dtype=np.int32)
    places = ndimage.find_objects(parts)
    reach = max(1, round(_GAP * min(parts.shape)))
    for part in np.argsort(sizes[1:]) + 1:
        around = _grown(places[part - 1], reach)
        touched = ndimage.binary_dilation(parts[around] == part, iterations=reach)
        near = set(owner[parts[around][touched]].tolist()) - {0, part}
        bigger = max(near, key=lambda n: int(sizes[n]), default=0)
        if bigger and sizes[part] < _SMALL * sizes[bigger]:
            owner[owner == part] = bigger
            sizes[bigger] += sizes[part]
    return owner[parts]


def _grown(where: tuple[slice, slice], by: int) -> tuple[slice, slice]:
    rows, columns = (slice(max(0, s.start - by), s.stop + by) for s in where)
    return rows, columns
