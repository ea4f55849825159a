"""General questions with known answers about drawn pictures: what a training may make forgotten.

Forty, always the same, in every run: the colour, the shape and the number of things, and whether
something is there. The pictures are drawn here, so there is nothing to fetch or to license. Knows
nothing of models.
"""

from __future__ import annotations

import math
from pathlib import Path

from PIL import Image, ImageDraw

from finetune.data.table import Row
from finetune.evaluation.answers import normalised
from finetune.files import write_bytes
from tools.forms import named_class
from tools.images import Photo

__all__ = ["general_rows", "is_right"]

_COLOURS = {
    "red": (215, 40, 40),
    "green": (40, 150, 60),
    "blue": (40, 80, 205),
    "yellow": (240, 210, 40),
    "black": (20, 20, 20),
}
_SHAPES = ("circle", "triangle", "star", "rectangle")
_NUMBERS = ("1", "2", "3", "4")
_SIDE = 128
_PLACES = {
    1: ((64, 64, 42),),
    2: ((34, 64, 26), (94, 64, 26)),
    3: ((34, 36, 22), (94, 36, 22), (64, 94, 22)),
}
_THINGS = (
    # shape, colour, how many, what is not there
    ("circle", "red", 1, "star"),
    ("triangle", "blue", 1, "circle"),
    ("star", "yellow", 1, "rectangle"),
    ("rectangle", "green", 1, "triangle"),
    ("circle", "black", 2, "triangle"),
    ("triangle", "red", 3, "star"),
    ("star", "blue", 2, "circle"),
    ("rectangle", "yellow", 3, "star"),
)


def general_rows(folder: Path) -> list[Row]:
    """The questions; their pictures are written to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for shape, colour, number, absent in _THINGS:
        photo = Photo(_drawn(shape, colour, number))
        path = folder / f"{number}-{colour}-{shape}.png"
        write_bytes(path, photo.png())
        its = "is it" if number == 1 else "are they"
        rows += [
            Row(path, question=question, answer=answer, photo_id=photo.id)
            for question, answer in (
                (f"what colour {its}?", colour),
                (f"what shape {its}?", shape),
                (f"how many {shape}s are there?", str(number)),
                (f"is there a {shape}?", "yes"),
                (f"is there a {absent}?", "no"),
            )
        ]
    return rows


def is_right(answer: str, truth: str) -> bool:
    """Whether a free answer names the true one and no other of its kind ("It is a red one.")."""
    kinds = (tuple(_COLOURS), _SHAPES, _NUMBERS, ("yes", "no"))
    kind = next(k for k in kinds if truth in k)
    return named_class(normalised(answer), kind) == truth


def _drawn(shape: str, colour: str, number: int) -> Image.Image:
    image = Image.new("RGB", (_SIDE, _SIDE), "white")
    draw = ImageDraw.Draw(image)
    for x, y, r in _PLACES[number]:
        if shape == "circle":
            draw.ellipse((x - r, y - r, x + r, y + r), fill=_COLOURS[colour])
        elif shape == "rectangle":
            draw.rectangle((x - r, y - r * 0.6, x + r, y + r * 0.6), fill=_COLOURS[colour])
        else:
            draw.polygon(_outline(shape, x, y, r), fill=_COLOURS[colour])
    return image


def _outline(shape: str, x: float, y: float, r: float) -> list[tuple[float, float]]:
    """The corners: of a triangle three, of a star every other one further inside."""
    radii = [r] * 3 if shape == "triangle" else [r, 0.4 * r] * 5
    step = 2 * math.pi / len(radii)
    return [(x + a * math.sin(i * step), y - a * math.cos(i * step)) for i, a in enumerate(radii)]
