"""How often the quality gate fires on pictures as they are, and on spoilt ones.

Not a test: ``python -m tests.bench.quality DIR [N]`` prints the table of :mod:`tools.quality`'s
docstring; :mod:`tests.test_quality` checks a small sample of it where the data is there.
"""

import io
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from tools.config import load_config
from tools.images import MIN_SIDE, Photo, open_photo
from tools.models import open_models
from tools.quality import SAME_PIXELS, SAME_VECTOR, inspect, thumbnail_difference
from tools.recognizer import Recognizer
from tools.sight import Sight

__all__ = ["COPIES", "SETS", "SPOILT", "pictures", "rate"]

Picture = Image.Image


def pictures(data: Path, name: str, count: int) -> list[Picture]:
    """``count`` pictures of a set, drawn with a fixed seed."""
    chosen = random.Random(0)
    if name == "garments":
        with np.load(data / "fashion_mnist" / "fashion_mnist.npz") as arrays:
            images = next(arrays[k] for k in arrays.files if "test" in k and arrays[k].ndim == 3)
        rows = chosen.sample(range(len(images)), count)
        return [Image.fromarray(images[i]).convert("RGB") for i in rows]
    files = sorted(p for p in (data / SETS[name]).rglob("*") if p.suffix in (".png", ".jpg"))
    return [open_photo(p).image for p in chosen.sample(files, min(count, len(files)))]


def _blurred(share: float) -> Callable[[Picture], Picture]:
    return lambda p: p.filter(ImageFilter.GaussianBlur(share * max(p.size)))


def _scaled(side: int) -> Callable[[Picture], Picture]:
    def scale(picture: Picture) -> Picture:
        width, height = (max(MIN_SIDE, round(x * side / max(picture.size))) for x in picture.size)
        return picture.resize((width, height), Image.Resampling.LANCZOS)

    return scale


def _jpeg(picture: Picture) -> Picture:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=30)
    return open_photo(file.getvalue()).image


SETS = {
    "noto": "emoji/noto",
    "twemoji": "emoji/twemoji",
    "fluent_3d": "emoji/fluent_3d",
    "letters": "omniglot",
    "shapes": "easy_vqa",
    "garments": "fashion_mnist",
    "photos": "caltech101",
    "scenes": "coco128/images",
}
SPOILT: dict[str, tuple[str, Callable[[Picture], Picture]]] = {
    "JPEG 30": ("", _jpeg),
    "blur 1.5 %": ("blurred", _blurred(0.015)),
    "blur 2 %": ("blurred", _blurred(0.02)),
    "blur 3 %": ("blurred", _blurred(0.03)),
    "blur 5 %": ("blurred", _blurred(0.05)),
    "light × 0.3": ("dark", lambda p: ImageEnhance.Brightness(p).enhance(0.3)),
    "light × 0.15": ("dark blank", lambda p: ImageEnhance.Brightness(p).enhance(0.15)),
    "light × 6": ("bright", lambda p: p.point(lambda v: min(255, 6 * v + 40))),
    "faded to 225": ("bright", lambda p: p.point(lambda v: 225 + v * 30 // 255)),
    "contrast × 0.05": ("blank", lambda p: p.point(lambda v: 200 + v // 20)),
    "20 pixels": ("tiny", _scaled(20)),
}


COPIES: dict[str, Callable[[Picture], Picture]] = {
    "JPEG 30": _jpeg,
    "half size": lambda p: _scaled(max(p.size) // 2)(p),
    "darker": lambda p: ImageEnhance.Brightness(p).enhance(0.85),
    "cropped 3 %": lambda p: p.crop(
        (
            round(p.width * 0.03),
            round(p.height * 0.03),
            round(p.width * 0.97),
            round(p.height * 0.97),
        )
    ),
}


def rate(kind: str, images: Iterable[Picture]) -> float:
    """The share of the pictures with one of these concerns (of any kind for an empty ``kind``)."""
    found = [{c.kind for c in inspect(Photo(i))} for i in images]
    wanted = set(kind.split())
    return sum(bool(f & wanted) if wanted else bool(f) for f in found) / len(found)


def _rows(data: Path, count: int) -> Iterator[str]:
    yield "clean"
    shown = {name: pictures(data, name, count) for name in SETS}
    for name, images in shown.items():
        kinds = ("blurred", "dark", "bright", "blank", "tiny")
        rates = ", ".join(f"{k} {100 * rate(k, images):.2f}" for k in kinds)
        yield f"  {name:10} n={len(images)}: {rates}"
    for title, (kind, spoil) in SPOILT.items():
        rates = ", ".join(
            f"{name} {100 * rate(kind, [spoil(i) for i in images]):.1f}"
            for name, images in shown.items()
        )
        yield f"{title} → {kind or 'any'}: {rates}"


def _copies(data: Path, count: int) -> Iterator[str]:
    """Pairs of different pictures taken for copies, and copies found, with the pocket embedder."""
    sight = Sight(open_models(load_config(profile="pocket")))
    recognizer = Recognizer([], sight.background)

    def copy(a: Photo, b: Photo) -> bool:
        if thumbnail_difference(a, b) > SAME_PIXELS:
            return False
        return recognizer.similarity(sight.vector(a), sight.vector(b)) >= SAME_VECTOR

    for name in SETS:
        photos = [Photo(i) for i in pictures(data, name, count)]
        sight.vectors(photos)
        pairs = list(combinations(photos, 2))
        wrong = sum(copy(a, b) for a, b in pairs)
        found = []
        for title, spoil in COPIES.items():
            again = [Photo(spoil(p.image)) for p in photos]
            share = sum(map(copy, photos, again)) / len(photos)
            found.append(f"{title} {100 * share:.0f}")
        yield f"  {name:10} {wrong} of {len(pairs)} pairs; copies found: {', '.join(found)}"


if __name__ == "__main__":
    folder, number = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 300
    for row in (*_rows(folder, number), "copies", *_copies(folder, number)):
        print(row, flush=True)
