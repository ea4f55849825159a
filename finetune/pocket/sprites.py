"""Sprites that are not drawings of things: shapes, garments and characters; and what a sprite is.

A sprite is uint8 (4, 72, 72), RGBA, straight alpha. Those here have one colour, white or grey, and
take another by tinting. Knows nothing about drawings, styles or scenes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

__all__ = ["SPRITE", "Concept", "Row", "characters", "garments", "invented_characters", "shapes"]

SPRITE = 72
"""Side of a sprite in pixels."""

_SHAPES: dict[str, tuple[str, ...]] = {
    "circle": ("disc", "round shape"),
    "square": ("box shape",),
    "rectangle": ("oblong",),
    "triangle": (),
    "star": ("star shape",),
    "heart": ("heart shape",),
    "oval": ("ellipse",),
    "diamond": ("rhombus",),
    "pentagon": (),
    "hexagon": (),
    "cross": ("plus",),
    "ring": (),
    "crescent": (),
    "arrow": (),
}


@dataclass(frozen=True)
class Concept:
    """One thing that can be shown: its names and its sprites.

    `name` is as written in the annotations (lower case), `spoken` the short form used in
    captions, `aliases` further full names, `tags` related words.
    """

    id: str
    name: str
    spoken: str
    group: str
    aliases: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    kind: str = "drawing"
    sprites: tuple[int, ...] = ()
    """Indexes into `Gallery.sprites`."""


Row = tuple[Concept, list[tuple[str, npt.NDArray[np.uint8]]]]
"""A concept with its sprites, each with the name of its style."""


def shapes() -> list[Row]:
    """The shapes, white, to be tinted."""
    return [
        (
            Concept(f"shape-{n}", n, n, "shapes", aliases, (), "shape"),
            [("plain", _shape_sprite(n))],
        )
        for n, aliases in _SHAPES.items()
    ]


@cache
def _shape_sprite(name: str) -> npt.NDArray[np.uint8]:
    """A white shape on transparent, drawn four times too large and reduced (72 x 72)."""
    big = SPRITE * 4
    mask = Image.new("L", (big, big))
    draw = ImageDraw.Draw(mask)
    middle, radius = big / 2, big * 0.47

    def polygon(sides: int, turn: float) -> list[tuple[float, float]]:
        angles = (np.arange(sides) * 2 * np.pi / sides + turn).tolist()
        return [(middle + radius * np.cos(a), middle + radius * np.sin(a)) for a in angles]

    lo, hi = middle - radius, middle + radius
    if name in ("circle", "ring", "crescent"):
        draw.ellipse((lo, lo, hi, hi), fill=255)
        if name == "ring":
            draw.ellipse((lo + 60, lo + 60, hi - 60, hi - 60), fill=0)
        if name == "crescent":
            draw.ellipse((lo + 80, lo - 20, hi + 80, hi - 20), fill=0)
    elif name == "oval":
        draw.ellipse((lo, middle - radius * 0.6, hi, middle + radius * 0.6), fill=255)
    elif name == "square":
        draw.rectangle((lo + 25, lo + 25, hi - 25, hi - 25), fill=255)
    elif name == "rectangle":
        draw.rectangle((lo, middle - radius * 0.55, hi, middle + radius * 0.55), fill=255)
    elif name == "cross":
        draw.rectangle((lo, middle - 45, hi, middle + 45), fill=255)
        draw.rectangle((middle - 45, lo, middle + 45, hi), fill=255)
    elif name == "arrow":
        draw.rectangle((lo, middle - 35, middle + 10, middle + 35), fill=255)
        draw.polygon([(middle, lo + 20), (hi, middle), (middle, hi - 20)], fill=255)
    elif name == "star":
        outer, inner = polygon(5, -np.pi / 2), polygon(5, -np.pi / 2 + np.pi / 5)
        inner = [(middle + (x - middle) * 0.42, middle + (y - middle) * 0.42) for x, y in inner]
        draw.polygon([p for pair in zip(outer, inner, strict=True) for p in pair], fill=255)
    elif name == "heart":
        t = np.linspace(0, 2 * np.pi, 120)
        x = 16 * np.sin(t) ** 3
        y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
        points = np.stack([middle + x * radius / 17, middle - y * radius / 17], 1)
        draw.polygon([(float(a), float(b)) for a, b in points], fill=255)
    else:
        sides = {"triangle": 3, "diamond": 4, "pentagon": 5, "hexagon": 6}[name]
        draw.polygon(polygon(sides, -np.pi / 2), fill=255)
    alpha = np.asarray(mask.resize((SPRITE, SPRITE), Image.Resampling.LANCZOS))
    return np.stack([np.full_like(alpha, 255)] * 3 + [alpha])


def garments(folder: Path, per_class: int) -> list[Row]:
    """`per_class` garments of each class of fashion_mnist, grey on transparent."""
    rows = []
    arrays = np.load(folder / "fashion_mnist.npz")
    images, labels = (arrays[k] for k in _split_keys(arrays.files))
    for index, raw in enumerate(json.loads((folder / "classes.json").read_text("utf-8"))):
        name = raw.lower()
        pictures = []
        for grey in images[labels == index][:per_class]:
            big = np.asarray(
                Image.fromarray(grey).resize((SPRITE, SPRITE), Image.Resampling.BICUBIC)
            )
            alpha = np.minimum(big.astype(np.int32) * 6, 255).astype(np.uint8)
            pictures.append(("plain", np.stack([big, big, big, alpha])))
        names = [*name.split("/")] if "/" in name else []
        names = [("t-shirt" if n == "t-shirt" else n) for n in names] + {
            "trouser": ["trousers", "pants"], "sneaker": ["shoe"], "bag": ["handbag"],
            "ankle boot": ["boot"], "pullover": ["sweater"],
        }.get(name, [])  # fmt: skip
        spoken = {"t-shirt/top": "t-shirt", "trouser": "pair of trousers"}.get(name, name)
        concept = Concept(
            f"garment-{index}", name, spoken, "garments", tuple(names), ("clothes",), "garment"
        )
        rows.append((concept, pictures))
    return rows


def _split_keys(files: Sequence[str]) -> tuple[str, str]:
    """Keys of the training pictures and labels, however the archive names them."""
    train = [f for f in files if "test" not in f]
    labels = next(f for f in train if "label" in f or f.startswith("y"))
    return next(f for f in train if f != labels), labels


def characters(folder: Path, held_out: Sequence[str]) -> list[Row]:
    """Every drawing of every character of omniglot but for the alphabets held out."""
    rows = []
    for character in sorted(p for p in folder.glob("*/*/*") if p.is_dir()):
        if character.parent.name in held_out:
            continue
        pictures = []
        for path in sorted(character.glob("*.png")):
            ink = Image.open(path).convert("L").point(lambda v: 255 - v)
            alpha = np.asarray(ink.resize((SPRITE, SPRITE), Image.Resampling.BOX))
            alpha = np.minimum(alpha.astype(np.int32) * 3 // 2, 255).astype(np.uint8)
            pictures.append(("plain", np.stack([np.full_like(alpha, 255)] * 3 + [alpha])))
        name = f"{character.parent.name.lower()} {character.name}"
        concept = Concept(
            f"character-{name}", name, "character", "characters", ("letter",), (), "character"
        )
        rows.append((concept, pictures))
    return rows


def invented_characters(count: int, drawings: int = 6, seed: int = 0) -> list[Row]:
    """Characters of no alphabet: a few smooth strokes each, redrawn with an unsteady hand.

    A hundred real characters are too few to learn what makes two drawings one character.
    """
    rows = []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        strokes = [_stroke(rng) for _ in range(int(rng.integers(1, 5)))]
        pictures = []
        for _ in range(drawings):
            mask = Image.new("L", (SPRITE * 2, SPRITE * 2))
            pen = ImageDraw.Draw(mask)
            width = int(rng.integers(3, 8))
            for points in strokes:
                curve = _curve(points + rng.normal(0, 0.035, points.shape)) * SPRITE * 2
                pen.line([(float(x), float(y)) for x, y in curve], fill=255, width=width)
            alpha = np.asarray(mask.resize((SPRITE, SPRITE), Image.Resampling.BOX))
            pictures.append(("plain", np.stack([np.full_like(alpha, 255)] * 3 + [alpha])))
        name = f"invented {number:04d}"
        concept = Concept(
            f"character-{name}", name, "character", "characters", ("letter",), (), "character"
        )
        rows.append((concept, pictures))
    return rows


def _stroke(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Control points (3 or 4, 2) of one stroke, in 0.1..0.9; every third one is straight."""
    ends = rng.uniform(0.12, 0.88, (2, 2))
    if rng.random() < 0.33:
        return np.stack([ends[0], ends.mean(0), ends[1]])
    middle = rng.uniform(0.1, 0.9, (int(rng.integers(1, 3)), 2))
    return np.concatenate([ends[:1], middle, ends[1:]])


def _curve(points: npt.NDArray[np.float64], steps: int = 24) -> npt.NDArray[np.float64]:
    """Points (steps, 2) of the Bezier curve of control points (n, 2), by de Casteljau."""
    at = np.linspace(0, 1, steps)[:, None, None]
    rows = np.repeat(points[None], steps, 0)
    while rows.shape[1] > 1:
        rows = rows[:, :-1] * (1 - at) + rows[:, 1:] * at
    curve: npt.NDArray[np.float64] = rows[:, 0]
    return curve
