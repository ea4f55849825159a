"""A world of three drawings, and settings so small that a stage trains in a second."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from finetune.pocket.clip import VisionSettings
from finetune.pocket.drawings import Gallery, load_gallery
from finetune.pocket.teacher import Targets

TINY = VisionSettings(
    steps=6, drawings=12, photos=4, characters=4, others=0, layers=1, width=64, heads=1,
    projection=16, evaluate_every=3, lr=3e-3,
)  # fmt: skip
_DRAWN = {
    "apple": ("food & drink", (214, 40, 40), "ellipse"),
    "box": ("objects", (45, 95, 215), "rectangle"),
    "leaf": ("animals & nature", (60, 160, 60), "polygon"),
}


def make_drawings(folder: Path) -> Path:
    """Three things in two styles, with annotations as the emoji folder has them."""
    rows = []
    for name, (group, colour, how) in _DRAWN.items():
        images = {}
        for style, inset in (("noto", 6), ("twemoji", 12)):
            picture = Image.new("RGBA", (72, 72))
            draw = ImageDraw.Draw(picture)
            low, high = inset, 72 - inset
            if how == "polygon":
                draw.polygon([(36, low), (high, high), (low, high)], fill=colour)
            else:
                getattr(draw, how)((low, low, high, high), fill=colour)
            path = folder / "emoji" / style / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path)
            images[style] = f"{style}/{name}.png"
        rows.append(
            {"id": name, "name": name, "tags": ["thing"], "group": group, "subgroup": "",
             "aliases": [], "gemoji_tags": [], "images": images}
        )  # fmt: skip
    (folder / "emoji" / "annotations.json").write_text(json.dumps(rows), "utf-8")
    return folder


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums differ in their last bits between thread counts: exact comparisons need one count."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    return load_gallery(make_drawings(tmp_path_factory.mktemp("data")), invented=4)


def made_targets(gallery: Gallery) -> Targets:
    """What a teacher of 16 random numbers would say, with eight photos of noise."""
    rng = np.random.default_rng(0)

    def unit(n: int) -> np.ndarray:
        rows = rng.normal(size=(n, 16)).astype(np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    drawings = np.zeros((len(gallery.sprites), 16), np.float32)
    shown = [i for i, c in enumerate(gallery.concept_of) if gallery.concepts[c].kind == "drawing"]
    drawings[shown] = unit(len(shown))
    photos = rng.integers(0, 256, (8, 3, 64, 64), dtype=np.uint8)
    return Targets(
        np.zeros(1, np.float32), np.zeros((1, 16), np.float32), drawings, photos, unit(8)
    )


@pytest.fixture(scope="module")
def targets(gallery: Gallery) -> Targets:
    return made_targets(gallery)
