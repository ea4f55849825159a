"""What people call the colour of pixels: the nearest of some typical values.

Knows nothing of pictures or things. Values are sRGB, 0..255.
"""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

__all__ = ["COLOURS", "main_colour", "spoken_colour"]

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 40),
    "orange": (245, 140, 30),
    "yellow": (250, 210, 50),
    "green": (60, 160, 60),
    "teal": (0, 128, 128),
    "blue": (45, 95, 215),
    "purple": (135, 60, 180),
    "pink": (245, 140, 180),
    "brown": (125, 75, 40),
    "black": (25, 25, 25),
    "gray": (128, 128, 128),
    "white": (250, 250, 250),
}
"""Colour names with a typical value."""

# A colour is named after its nearest anchor.
_ANCHORS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "red": ((214, 40, 40), (180, 20, 30), (240, 70, 60), (221, 46, 68)),
    "orange": ((245, 140, 30), (255, 165, 60), (230, 110, 20), (244, 144, 12)),
    "yellow": ((250, 210, 50), (255, 235, 90), (255, 204, 77), (240, 190, 30)),
    "green": ((60, 160, 60), (30, 110, 50), (130, 190, 70), (92, 145, 59), (120, 200, 110)),
    "teal": ((0, 128, 128), (20, 150, 140)),
    "blue": ((45, 95, 215), (30, 60, 140), (90, 170, 240), (59, 136, 195), (130, 200, 250)),
    "purple": ((135, 60, 180), (90, 40, 130), (170, 110, 210), (146, 102, 204)),
    "pink": ((245, 140, 180), (250, 180, 205), (230, 80, 150), (244, 171, 186)),
    "brown": (
        (125, 75, 40),
        (90, 50, 30),
        (160, 105, 65),
        (193, 105, 79),
        (102, 69, 50),
        (165, 42, 42),
    ),
    "black": ((15, 15, 15), (40, 40, 42), (41, 47, 51)),
    "gray": ((128, 128, 128), (90, 95, 100), (165, 170, 175), (102, 117, 127), (190, 195, 200)),
    "white": ((250, 250, 250), (230, 235, 238)),
}
_HALF, _SEEN = 0.5, 0.3
_LIVELY = 60  # of 255, from which on a pixel is not gray
_NAMES = [name for name, values in _ANCHORS.items() for _ in values]
_VALUES = np.array([value for values in _ANCHORS.values() for value in values], np.float32)


def main_colour(pixels: NDArray[np.uint8]) -> tuple[str, float]:
    """(n, 3) pixels → the name that most of them have, and the share that has it; "" for none."""
    if not len(pixels):
        return "", 0.0
    distance = pixels.astype(np.float32)[:, None] - _VALUES
    nearest = (distance**2).sum(-1).argmin(1)
    (name, count), *_ = Counter(_NAMES[i] for i in nearest).most_common(1)
    return name, count / len(pixels)


def spoken_colour(pixels: NDArray[np.uint8]) -> str:
    """The one colour that people say of (n, 3) pixels, "" when there is none.

    What half of them have; else what most of the lively ones have: a car is red, not its tyres and
    windows.
    """
    name, share = main_colour(pixels)
    if share >= _HALF:
        return name
    spread = pixels.max(axis=1).astype(int) - pixels.min(axis=1)
    lively = pixels[spread > _LIVELY]
    name, share = main_colour(lively)
    return name if share >= _HALF and len(lively) >= _SEEN * len(pixels) else ""
