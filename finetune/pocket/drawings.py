"""The gallery: every sprite of the pocket world with what it shows, its style and its colour.

Knows where the pictures and their names come from and what colour a drawing mostly is. Does not
know how sprites are composed into a picture (`world`) or varied (`augment`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from finetune.pocket.sprites import (
    SPRITE,
    Concept,
    Row,
    characters,
    garments,
    invented_characters,
    shapes,
)
from tools.colours import main_colour

__all__ = [
    "MAIN_GROUPS",
    "SPRITE",
    "Concept",
    "Gallery",
    "dominant_colour",
    "load_gallery",
    "plain_name",
    "read_sprite",
]

MAIN_GROUPS = ("objects", "travel & places", "animals & nature", "food & drink", "activities")
"""The groups of the annotations whose concepts are named."""


@dataclass
class Gallery:
    """All sprites with what they show.

    `sprites`: uint8 (N, 4, 72, 72), RGBA, straight alpha. `concept_of`, `style_of`: int64 (N,)
    indexes into `concepts` and `styles`. `colour_of`: a colour name or "" per sprite.
    """

    sprites: npt.NDArray[np.uint8]
    concept_of: npt.NDArray[np.int64]
    style_of: npt.NDArray[np.int64]
    concepts: list[Concept]
    styles: list[str]
    colour_of: list[str] = field(default_factory=list)

    def of_kind(self, kind: str, group: str | None = None) -> list[int]:
        """Indexes of the concepts of a kind (and group) that have at least one sprite."""
        return [
            i
            for i, c in enumerate(self.concepts)
            if c.kind == kind and c.sprites and (group is None or c.group == group)
        ]

    def sprite_of(self, concept: int, style: str) -> int | None:
        """The first sprite of a concept in a style, or None."""
        wanted = self.styles.index(style)
        return next((s for s in self.concepts[concept].sprites if self.style_of[s] == wanted), None)


def plain_name(name: str) -> str:
    """The short name people say: "dog face" -> "dog", "twelve o'clock" -> "clock"."""
    name = name.replace("’", "'").replace("“", "").replace("”", "").lower()
    if re.search(r"o'clock$|-thirty$", name):
        return "clock"
    name = re.sub(r" tilted (left|right)$", "", name)
    name = re.sub(r"^(front-facing|oncoming|black|white) (?=\w)", "", name)
    name = re.sub(r" with ballot$| button$|^japanese (?=dolls|post)", "", name)
    return re.sub(r"(?<=\w) face$", "", name)


def dominant_colour(sprite: npt.NDArray[np.uint8], share: float = 0.6) -> str:
    """Name of the colour that at least `share` of the opaque pixels of (4, H, W) have, or ""."""
    pixels = sprite[:3, sprite[3] > 160].T
    name, held = main_colour(pixels)
    return name if len(pixels) >= 40 and held >= share else ""


def load_gallery(
    data: Path,
    *,
    styles: Sequence[str] = ("noto", "twemoji"),
    groups: Sequence[str] = MAIN_GROUPS,
    garments_per_class: int = 120,
    held_out_alphabets: Sequence[str] = ("Greek",),
    invented: int = 0,
) -> Gallery:
    """Read what exists below `data`: `emoji/`, `fashion_mnist/`, `omniglot/`; shapes are drawn.

    A folder that is missing is left out, so a test can work with a few drawings. `invented`
    characters of no alphabet come last.
    """
    rows: list[Row] = []
    if (data / "emoji" / "annotations.json").exists():
        rows += _emoji(data / "emoji", styles, groups)
    rows += shapes()
    if (data / "fashion_mnist" / "fashion_mnist.npz").exists():
        rows += garments(data / "fashion_mnist", garments_per_class)
    if (data / "omniglot").exists():
        rows += characters(data / "omniglot", held_out_alphabets)
    rows += invented_characters(invented)
    return _assemble(rows, [*styles, "plain"])


def _assemble(rows: Iterable[Row], styles: list[str]) -> Gallery:
    sprites: list[npt.NDArray[np.uint8]] = []
    concept_of: list[int] = []
    style_of: list[int] = []
    concepts: list[Concept] = []
    for concept, pictures in rows:
        indexes = tuple(range(len(sprites), len(sprites) + len(pictures)))
        for style, picture in pictures:
            sprites.append(picture)
            concept_of.append(len(concepts))
            style_of.append(styles.index(style))
        concepts.append(
            Concept(
                concept.id, concept.name, concept.spoken, concept.group, concept.aliases,
                concept.tags, concept.kind, indexes,
            )
        )  # fmt: skip
    colours = [
        dominant_colour(s) if concepts[c].kind == "drawing" else ""
        for s, c in zip(sprites, concept_of, strict=True)
    ]
    return Gallery(
        np.stack(sprites), np.array(concept_of), np.array(style_of), concepts, styles, colours
    )


def read_sprite(path: Path) -> npt.NDArray[np.uint8]:
    """A drawing file as uint8 (4, 72, 72) RGBA."""
    picture = Image.open(path).convert("RGBA")
    if picture.size != (SPRITE, SPRITE):
        picture = picture.resize((SPRITE, SPRITE), Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1))


def _emoji(folder: Path, styles: Sequence[str], groups: Sequence[str]) -> list[Row]:
    rows = []
    for record in json.loads((folder / "annotations.json").read_text(encoding="utf-8")):
        if record["group"] not in groups:
            continue
        pictures = [
            (s, read_sprite(folder / record["images"][s])) for s in styles if s in record["images"]
        ]
        name = str(record["name"]).replace("’", "'").lower()
        spoken = plain_name(record["name"])
        words = [a.replace("_", " ").lower() for a in record["aliases"]]
        aliases = dict.fromkeys([spoken, *[w for w in words if not re.search(r"\d", w)]])
        aliases.pop(name, None)
        tags = [str(t).lower().replace("’", "'") for t in record["tags"] + record["gemoji_tags"]]
        concept = Concept(
            record["id"], name, spoken, record["group"], tuple(aliases),
            tuple(dict.fromkeys(t for t in tags if len(t) > 2)),
        )  # fmt: skip
        rows.append((concept, pictures))
    return rows
