"""Pictures of known things to measure an embedder with: those that ship, or a folder of one's own.

PIL and numpy only; knows nothing of embedders or statistics. What ships is in
``models/reference``: drawings in several styles as contact sheets, and a few photos, whose
pictures are views of one photo (crops, mirrored), for want of many photos of one thing that may
ship. ``NOTICE`` says whose they are.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from tools.errors import SettingsError
from tools.images import Photo

__all__ = [
    "FEWEST_THINGS",
    "REFERENCE",
    "YOURS",
    "Collection",
    "check_count",
    "edition",
    "read_folder",
    "read_reference",
]

REFERENCE = Path(__file__).parent / "models" / "reference"
"""The folder of the pictures that ship."""
YOURS = "your pictures"
"""The domain of a folder of one's own."""
FEWEST_THINGS = 8
"""In a folder of one's own: half of them calibrate what the other half measured."""
_MOST = 60  # pictures of one thing that are read; the first of them, by name
_VIEWS = 8
_ENDINGS = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"}

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Collection:
    """Pictures (n) of one domain, opened or still on disk, with numbers (n,).

    ``thing``, ``manner`` and ``family`` are those of :class:`tools.measuring.Pictures`; ``names``
    says what things are called, by number.
    """

    domain: str
    pictures: Sequence[Photo | Path]
    thing: Ints
    manner: Ints
    family: Ints
    names: Mapping[int, str]


def edition(folder: Path = REFERENCE) -> str:
    """8 hexadecimal digits of the reference pictures: others give another edition."""
    digest = sha256()
    for path in sorted(folder.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:8]


def read_reference(folder: Path = REFERENCE) -> tuple[Collection, ...]:
    """The collections ``drawings`` and ``photos`` that ship."""
    listed = json.loads((folder / "reference.json").read_text(encoding="utf-8"))
    side, columns = int(listed["tile"]), int(listed["columns"])
    rows = listed["drawings"]
    tiles: list[Photo] = []
    for file in listed["sheets"]:
        with Image.open(folder / file) as opened:
            sheet = opened.convert("RGB")
        corners = [(i % columns * side, i // columns * side) for i in range(len(rows))]
        tiles += [Photo(sheet.crop((x, y, x + side, y + side))) for x, y in corners]
    styles = len(listed["sheets"])
    drawings = _collection("drawings", tiles, rows, np.tile(np.arange(len(rows)), styles))
    views: list[Photo] = []
    for number, row in enumerate(listed["photos"]):
        with Image.open(folder / row["file"]) as opened:
            views += _views(opened.convert("RGB"), number)
    thing = np.repeat(np.arange(len(listed["photos"])), _VIEWS)
    return drawings, _collection("photos", views, listed["photos"], thing)


def read_folder(folder: Path) -> Collection:
    """The pictures of a folder with one folder per thing; they are opened later.

    Folders with fewer than two pictures are left out. Raises :class:`SettingsError`.
    """
    if not folder.is_dir():
        raise SettingsError(f"There is no folder {folder}: give one with a folder per thing in it.")
    inside = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not inside:
        raise SettingsError(
            f"{folder} has no folders in it: put the pictures of each thing in one of its own."
        )
    found = {p.name: _files(p)[:_MOST] for p in inside}
    found = {name: files for name, files in found.items() if len(files) > 1}
    check_count(len(found), folder)
    files = [file for row in found.values() for file in row]
    thing = np.repeat(np.arange(len(found)), [len(row) for row in found.values()])
    names = {i: name.replace("_", " ") for i, name in enumerate(found)}
    return Collection(YOURS, files, thing, np.arange(len(files)), np.zeros_like(thing), names)


def check_count(things: int, folder: Path) -> None:
    """Raises :class:`SettingsError` when ``things`` with two pictures or more are too few."""
    if things < FEWEST_THINGS:
        raise SettingsError(
            f"{folder} has {things} folders with two readable pictures or more, "
            f"and at least {FEWEST_THINGS} are needed: add things, or pictures of them."
        )


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in _ENDINGS and p.is_file())


def _collection(
    domain: str, photos: Sequence[Photo], rows: Sequence[Mapping[str, str]], thing: Ints
) -> Collection:
    families = sorted({row["family"] for row in rows})
    family = np.array([families.index(row["family"]) for row in rows])
    count = len(photos) // len(rows)
    by_style = domain == "drawings"
    manner = np.repeat(np.arange(count), len(rows)) if by_style else np.arange(len(photos)) % count
    names = {i: row["name"] for i, row in enumerate(rows)}
    return Collection(domain, photos, thing, manner, family[thing], names)


def _views(image: Image.Image, seed: int) -> list[Photo]:
    """Crops of a quarter to 0.6 of the sides, half of them mirrored, in other light and colours.

    Larger ones are too much alike: thresholds calibrated on them were measured to move with chance
    when real photos were asked about (MobileNetV2, Caltech-101).
    """
    rng = np.random.default_rng(seed)
    views = []
    for number in range(_VIEWS):
        share, shape = rng.uniform(0.25, 0.6), float(np.exp(rng.uniform(-0.3, 0.3)))
        width = max(8, round(image.width * share * shape))
        height = max(8, round(image.height * share / shape))
        left = int(rng.uniform(0, image.width - width))
        top = int(rng.uniform(0, image.height - height))
        view = image.crop((left, top, left + width, top + height))
        if number % 2:
            view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
            view = change(view).enhance(rng.uniform(0.5, 1.5))
        views.append(Photo(view))
    return views
