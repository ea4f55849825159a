"""The things of a picture that stand on a calm background, apart from each other.

What differs from the background, and hangs together, is a thing. The background is a plane in each
colour (plain, or a gradient) fitted to the rim of the picture; where most of the rim does not fit,
as in photos, nothing is found. Knows nothing of names or models.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from tools.images import Photo, open_photo

__all__ = ["Region", "find_regions"]

_SIDE = 128  # pixels of the longer side of the copy that is taken apart
_RIM = 0.03  # width of the rim, as a share of the shorter side
_CALM = 0.75  # share of the rim that has to be background
_NEAR = 8.0  # a channel this far off the plane is the background, of 255
_APART = 28.0  # and this far off it is something else
_GAP = 1 / 64  # parts this near each other, as a share of the shorter side, are one thing
_SPECK = 0.004  # share of the picture below which something is a speck
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
    other = np.abs(pixels - ground).max(-1) > _APART
    reach = max(1, round(_GAP * min(height, width)))
    joined = ndimage.binary_dilation(other, iterations=reach)
    owners = ndimage.label(joined, structure=np.ones((3, 3)))[0] * other
    found = []
    for number, where in enumerate(ndimage.find_objects(owners), 1):
        mask = None if where is None else owners[where] == number
        if mask is None or mask.sum() < _SPECK * height * width:
            continue
        rows, columns = where
        inner = ndimage.binary_erosion(mask)
        own = pixels[where][inner if inner.sum() > 20 else mask]
        colour = ground[where].mean((0, 1)).round().clip(0, 255)
        found.append(
            Region(
                (columns.start / width, rows.start / height,
                 columns.stop / width, rows.stop / height),
                own.astype(np.uint8), photo.image, mask,
                (int(colour[0]), int(colour[1]), int(colour[2])),
            )
        )  # fmt: skip
    return tuple(found) if len(found) <= _MOST else ()


def _background(pixels: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The plane (H, W, 3) that fits the rim of (H, W, 3); None where much of the rim does not."""
    height, width = pixels.shape[:2]
    rim = max(1, round(_RIM * min(height, width)))
    outer = np.ones((height, width), bool)
    outer[rim:-rim, rim:-rim] = False
    y, x = np.mgrid[:height, :width]
    places = np.stack([np.ones(outer.size), x.ravel() / width - 0.5, y.ravel() / height - 0.5], 1)
    values, used = pixels.reshape(-1, 3), outer.ravel()
    for _ in range(3):  # what a thing covers of the rim is left out, step by step
        plane = places @ np.linalg.lstsq(places[used], values[used], rcond=None)[0]
        off = np.abs(values - plane).max(-1)
        near = min(max(_NEAR, 3 * float(np.median(off[used]))), _APART)
        used = outer.ravel() & (off <= near)
    return plane.reshape(pixels.shape) if used.sum() >= _CALM * outer.sum() else None
