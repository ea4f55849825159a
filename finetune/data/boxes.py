"""What is where in a picture: a label and its box, in pixels or in the square that a model sees.

Knows nothing of sources or models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from PIL import Image

__all__ = ["Boxed", "Frame", "Sides", "boxed_from_json"]

Sides = tuple[float, float, float, float]
"""Left, top, right and bottom."""
_GROUND = (127, 127, 127)


class Boxed(NamedTuple):
    """``box``: in pixels of the picture. ``score``: how sure, in 0..1; what is true has 1."""

    label: str
    box: Sides
    score: float = 1.0


def boxed_from_json(entries: Sequence[Sequence[Any]] | None) -> tuple[Boxed, ...] | None:
    """Boxes as JSON holds them: label, sides and score of each.

    Raises ``ValueError``, ``TypeError`` or ``LookupError`` for anything else.
    """
    if entries is None:
        return None
    found = []
    for label, sides, score in entries:
        left, top, right, bottom = (float(side) for side in sides)
        found.append(Boxed(str(label), (left, top, right, bottom), float(score)))
    return tuple(found)


@dataclass(frozen=True)
class Frame:
    """A picture of ``size`` shown whole in the middle of a square of ``side`` pixels."""

    size: tuple[int, int]
    side: int

    @property
    def shown(self) -> tuple[int, int]:
        """Width and height in the square."""
        scale = self.side / max(self.size)
        return max(1, round(self.size[0] * scale)), max(1, round(self.size[1] * scale))

    def square(self, image: Image.Image) -> Image.Image:
        """The square, grey where the picture does not reach."""
        found = Image.new("RGB", (self.side, self.side), _GROUND)
        small = image.resize(self.shown, Image.Resampling.BICUBIC, reducing_gap=2.0)
        found.paste(small, self._corner)
        return found

    def inward(self, box: Sides) -> Sides:
        """Pixels of the picture → left, top, right, bottom as shares of the square."""
        left, top, right, bottom = box
        return self._in(left, 0), self._in(top, 1), self._in(right, 0), self._in(bottom, 1)

    def outward(self, box: Sides) -> Sides:
        """The reverse, cut off at the picture's edges."""
        left, top, right, bottom = box
        return self._out(left, 0), self._out(top, 1), self._out(right, 0), self._out(bottom, 1)

    @property
    def _corner(self) -> tuple[int, int]:
        width, height = self.shown
        return (self.side - width) // 2, (self.side - height) // 2

    def _in(self, pixels: float, axis: int) -> float:
        inside = pixels * self.shown[axis] / self.size[axis]
        return (inside + self._corner[axis]) / self.side

    def _out(self, share: float, axis: int) -> float:
        inside = share * self.side - self._corner[axis]
        return min(max(0.0, inside * self.size[axis] / self.shown[axis]), float(self.size[axis]))
