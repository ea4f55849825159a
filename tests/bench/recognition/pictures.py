"""The local sets as pictures: read as a user would send them, with class, group and style.

Knows nothing of embedders. Nothing is drawn by chance: the same folder gives the same pictures.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from finetune.pocket.teacher import HELD_OUT_PHOTOS
from tools.images import Photo, open_photo

Ints = NDArray[np.int64]

TRAINED_GROUPS = ("objects", "travel & places", "animals & nature", "food & drink", "activities")
"""Emoji groups whose drawings the pocket embedder was trained on, in two of the three styles."""
UNSEEN_GROUPS = ("symbols", "people & body")
UNSEEN_ALPHABET = "Greek"
STYLES = ("noto", "twemoji", "fluent_3d")
_FAMILY = 24  # drawings a family needs: 16 shots, 4 for validation, 4 queries


@dataclass(frozen=True, eq=False)
class PictureSet:
    """Photos with class numbers ``labels`` (n,), and what is known of the classes.

    ``views`` (n,): the style of a photo where a class is one thing drawn in several. ``named``:
    whether the class names mean anything.
    """

    photos: list[Photo]
    labels: Ints
    classes: tuple[str, ...]
    groups: tuple[str, ...] | None = None
    views: Ints | None = None
    named: bool = True


def emoji_things(data: Path) -> PictureSet | None:
    """One class per thing, drawn in three styles; groups of things the embedder trained on."""
    return _things(data, TRAINED_GROUPS)


def emoji_unseen(data: Path) -> PictureSet | None:
    """The same for symbols and people, which the embedder was never trained on."""
    return _things(data, UNSEEN_GROUPS)


def _things(data: Path, groups: tuple[str, ...]) -> PictureSet | None:
    records = [
        r for r in _annotations(data) if r["group"] in groups and len(r["images"]) == len(STYLES)
    ]
    if not records:
        return None
    photos = [open_photo(data / "emoji" / r["images"][s]) for r in records for s in STYLES]
    return PictureSet(
        photos,
        np.repeat(np.arange(len(records)), len(STYLES)),
        tuple(str(r["name"]).lower() for r in records),
        groups=tuple(f"{r['group']}: {r['subgroup']}" for r in records),
        views=np.tile(np.arange(len(STYLES)), len(records)),
    )


def emoji_families(data: Path) -> PictureSet | None:
    """One class per subgroup of the annotations; one drawing per thing, the styles in turn."""
    families: dict[tuple[str, str], list[Path]] = {}
    for i, r in enumerate(_annotations(data)):
        style = [s for s in STYLES if s in r["images"]][i % len(r["images"])]
        paths = families.setdefault((str(r["group"]), str(r["subgroup"])), [])
        paths.append(data / "emoji" / r["images"][style])
    kept = {k: v for k, v in sorted(families.items()) if len(v) >= _FAMILY}
    if not kept:
        return None
    return PictureSet(
        [open_photo(p) for paths in kept.values() for p in paths],
        np.repeat(np.arange(len(kept)), [len(v) for v in kept.values()]),
        tuple(subgroup for _, subgroup in kept),
        groups=tuple(group for group, _ in kept),
    )


def garments(data: Path, per_class: int = 200) -> PictureSet | None:
    """fashion_mnist, light on black as it is; siblings are clothes, and shoes."""
    folder = data / "fashion_mnist"
    if not folder.exists():
        return None
    with np.load(folder / "fashion_mnist.npz") as arrays:
        tests = [k for k in arrays.files if "test" in k]
        by_rank = {arrays[k].ndim: arrays[k] for k in tests}
    images, labels = by_rank[3], by_rank[1]
    names = tuple(n.lower() for n in json.loads((folder / "classes.json").read_text("utf-8")))
    rows = np.concatenate([np.flatnonzero(labels == c)[:per_class] for c in range(len(names))])
    kinds = {"sandal": "shoes", "sneaker": "shoes", "ankle boot": "shoes", "bag": "bags"}
    return PictureSet(
        [Photo(Image.fromarray(images[r]).convert("RGB")) for r in rows],
        labels[rows].astype(np.int64),
        names,
        groups=tuple(kinds.get(n, "clothes") for n in names),
    )


def characters(data: Path) -> PictureSet | None:
    """omniglot, 20 drawings a character; siblings are of one alphabet; the names mean nothing."""
    folders = [p for p in _characters(data) if p.parent.name != UNSEEN_ALPHABET]
    found = _folders(folders, "*.png", named=False)
    return found and replace(found, groups=tuple(f.parent.name for f in folders))


def characters_unseen(data: Path) -> PictureSet | None:
    """The alphabet that nothing of ours was trained or measured on."""
    folders = [p for p in _characters(data) if p.parent.name == UNSEEN_ALPHABET]
    return _folders(folders, "*.png", named=False)


def _characters(data: Path) -> list[Path]:
    return sorted(p for p in (data / "omniglot").glob("*/*/*") if p.is_dir())


def photos_small(data: Path, per_class: int = 200) -> PictureSet | None:
    """cifar10, 32 × 32; siblings are animals, and vehicles."""
    archive = data / "cifar10" / "train_1000_per_class.zip"
    if not archive.exists():
        return None
    by_class: dict[str, list[Photo]] = {}
    with zipfile.ZipFile(archive) as file:
        for name in sorted(n for n in file.namelist() if n.endswith(".jpg")):
            mine = by_class.setdefault(Path(name).parent.name, [])
            if len(mine) < per_class:
                mine.append(Photo(Image.open(io.BytesIO(file.read(name))).convert("RGB")))
    vehicles = ("airplane", "automobile", "ship", "truck")
    return PictureSet(
        [p for mine in by_class.values() for p in mine],
        np.repeat(np.arange(len(by_class)), [len(mine) for mine in by_class.values()]),
        tuple(by_class),
        groups=tuple("vehicles" if n in vehicles else "animals" for n in by_class),
    )


def photos(data: Path) -> PictureSet | None:
    """caltech101, up to 31 photos a class."""
    return _folders([f for f in _photos(data) if f.name not in HELD_OUT_PHOTOS], "*.jpg")


def photos_unseen(data: Path) -> PictureSet | None:
    """The classes of caltech101 that nothing of ours was trained or measured on."""
    return _folders([f for f in _photos(data) if f.name in HELD_OUT_PHOTOS], "*.jpg")


def _photos(data: Path) -> list[Path]:
    return sorted(p for p in (data / "caltech101").glob("*") if p.is_dir())


def _folders(folders: list[Path], pattern: str, *, named: bool = True) -> PictureSet | None:
    """A class per folder, named after it."""
    files = [sorted(f.glob(pattern)) for f in folders]
    if not folders:
        return None
    return PictureSet(
        [open_photo(p) for mine in files for p in mine],
        np.repeat(np.arange(len(folders)), [len(mine) for mine in files]),
        tuple(f.name.replace("_", " ").lower() for f in folders),
        named=named,
    )


SOURCES: dict[str, Callable[[Path], PictureSet | None]] = {
    "emoji_things": emoji_things,
    "emoji_unseen": emoji_unseen,
    "emoji_families": emoji_families,
    "garments": garments,
    "characters": characters,
    "characters_unseen": characters_unseen,
    "photos_small": photos_small,
    "photos": photos,
    "photos_unseen": photos_unseen,
}
"""The sets that the pocket embedder is measured on, by name."""

MEASURED = ("emoji_things", "emoji_families", "garments", "characters", "photos")
"""The sets whose classes gave the pocket embedder's background statistics, in other pictures or
these: our results there are of what we knew something about."""


def _annotations(data: Path) -> list[dict]:
    path = data / "emoji" / "annotations.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else []
