"""How well taught pictures are found by words, labels split by looks, and examples understood.

Not a test: ``python -m tests.bench.memory DATA`` prints with the pocket models the figures of
:mod:`tools.finding`, :mod:`tools.grouping` and :mod:`tools.models.answerer`. DATA has the sets
``emoji``, ``fashion_mnist`` and ``easy_vqa``; the drawings asked about are of a style that the
pocket embedder was not trained on.
"""

import json
import math
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tests.bench.recognition.pictures import PictureSet, emoji_things, emoji_unseen
from tools.artifacts import Told
from tools.config import load_config
from tools.finding import fits, threshold
from tools.grouping import two_groups
from tools.images import Photo, open_photo
from tools.models import Models, open_models
from tools.remember import with_examples
from tools.sight import Sight

__all__ = ["by_examples", "by_name", "by_shape", "splitting"]

_UNSEEN_STYLE = 2
_COLOURS = {"red": (215, 40, 40), "green": (40, 160, 60), "blue": (40, 80, 215)} | {
    "yellow": (240, 210, 40),
    "orange": (240, 140, 30),
    "purple": (130, 50, 160),
    "black": (20, 20, 20),
    "brown": (120, 70, 30),
}
_SHAPES = {"circle": "round", "square": "square", "triangle": "triangular", "star": "star-shaped"}


def by_name(sight: Sight, drawings: PictureSet, taught: int) -> tuple[float, float, float]:
    """Shares of names whose picture is found, that find a wrong one, and of names of things that
    were not taught that find any."""
    rng = np.random.default_rng(0)
    views = drawings.views
    assert views is not None
    rows = rng.permutation(np.flatnonzero(views == _UNSEEN_STYLE))[:300]
    vectors = np.stack(sight.vectors([drawings.photos[i] for i in rows]))
    z = np.array(
        [
            [f.z for f in fits(sight, list(vectors), drawings.classes[drawings.labels[i]])]
            for i in rows
        ]
    )
    right = wrong = false = 0
    for _ in range(60):
        chosen = rng.choice(len(rows), 2 * taught, replace=False)
        memory, others = chosen[:taught], chosen[taught:]
        own = z[np.ix_(memory, memory)]
        found, enough = own.argmax(axis=1) == np.arange(taught), own.max(axis=1) > threshold(taught)
        right += int((found & enough).sum())
        wrong += int((~found & enough).sum())
        false += int((z[np.ix_(others, memory)].max(axis=1) > threshold(taught)).sum())
    return right / (60 * taught), wrong / (60 * taught), false / (60 * taught)


def by_shape(sight: Sight, query: Callable[[str, str], str], taught: int = 6) -> tuple[float, ...]:
    """The same of drawn shapes, where ``query`` says colour and shape; and the nearest is right."""
    items = [(c, s, n) for c in _COLOURS for s in _SHAPES for n in (1, 2)]
    vectors = sight.vectors([_shape(*item) for item in items])
    queries = [query(c, s) for c, s, _ in items]
    z = {q: np.array([f.z for f in fits(sight, vectors, q)]) for q in dict.fromkeys(queries)}
    rng, counts = np.random.default_rng(0), np.zeros(3)
    for _ in range(300):
        memory = rng.choice(len(items), taught, replace=False)
        asked = queries[rng.choice(memory)]
        others = [i for i, q in enumerate(queries) if q != asked]
        best = z[asked][memory].max()
        nearest = queries[memory[z[asked][memory].argmax()]] == asked
        strange = z[asked][rng.choice(others, taught, replace=False)].max()
        enough = threshold(taught)
        counts += nearest, nearest and best > enough, strange > enough
    return tuple(float(x) for x in counts / 300)


def splitting(sight: Sight, photos: Sequence[Photo], things: NDArray[np.integer], each: int) -> str:
    """Of labels of two things those that are split without a mistake, and pictures in place."""
    vectors = np.stack(sight.vectors(photos))
    rows = {int(t): np.flatnonzero(things == t) for t in np.unique(things)}
    rng, whole, share = np.random.default_rng(1), 0, 0.0
    usable = [t for t, r in rows.items() if len(r) >= each]
    for _ in range(150):
        a, b = rng.choice(usable, 2, replace=False)
        chosen = np.r_[rng.choice(rows[a], each, False), rng.choice(rows[b], each, False)]
        order = rng.permutation(2 * each)
        truth = (np.arange(2 * each) >= each)[order]
        group = np.array(two_groups(list(vectors[chosen[order]]), sight.background))
        in_place = max(float((group == truth).mean()), float((group != truth).mean()))
        whole += in_place == 1.0
        share += in_place
    return f"{whole / 150:.0%} split without a mistake, {share / 150:.0%} of pictures in place"


def by_examples(models: Models, data: Path, count: int = 120) -> tuple[float, float, float]:
    """Shares of easy-VQA answered rightly alone and with an example before, and of examples
    ("which size is it?" was answered "M8") that are given back."""
    rows = json.loads((data / "easy_vqa/train/questions.json").read_text(encoding="utf-8"))
    rows = random.Random(0).sample(rows, count)
    alone = shown = back = 0
    size = "which size is it?"
    for question, answer, number in rows:
        photo = open_photo(data / f"easy_vqa/train/images/{number}.png")
        other = random.Random(number).choice(rows)
        asked = with_examples(question, [Told("", other[0], other[1], 1.0)])
        alone += _says(models.answerer.answer(photo, question), answer)
        shown += _says(models.answerer.answer(photo, asked), answer)
        told = with_examples(size, [Told("", size, "M8", 1.0)])
        back += "m8" in models.answerer.answer(photo, told).lower()
    return alone / count, shown / count, back / count


def _says(text: str, answer: str) -> bool:
    return f" {answer.lower()} " in f" {text.lower().strip('. ')} "


def _shape(colour: str, shape: str, seed: int) -> Photo:
    rng, image = np.random.default_rng(seed), Image.new("RGB", (128, 128), "white")
    draw, fill = ImageDraw.Draw(image), _COLOURS[colour]
    size = int(rng.integers(30, 48))
    x, y = (int(v) for v in rng.integers(size + 2, 126 - size, 2))
    box = (x - size, y - size, x + size, y + size)
    if shape == "circle":
        draw.ellipse(box, fill=fill)
    elif shape == "square":
        draw.rectangle(box, fill=fill)
    elif shape == "triangle":
        draw.polygon([(x, y - size), (box[0], box[3]), (box[2], box[3])], fill=fill)
    else:
        radii = [size if k % 2 == 0 else 0.4 * size for k in range(10)]
        turns = [k * math.pi / 5 for k in range(10)]
        corners = zip(radii, turns, strict=True)
        draw.polygon([(x + r * math.sin(t), y - r * math.cos(t)) for r, t in corners], fill=fill)
    return Photo(image)


def _lines(data: Path) -> Iterator[str]:
    models = open_models(load_config(profile="pocket"))
    sight = Sight(models)
    sets = {"things": emoji_things(data), "never learned": emoji_unseen(data)}
    for name, drawings in sets.items():
        assert drawings is not None
        for taught in (6, 20, 60):
            right, wrong, false = by_name(sight, drawings, taught)
            shares = f"{right:.0%} right, {wrong:.1%} wrong, {false:.0%} false"
            yield f"{name}, {taught} taught: {shares}"
    queries: dict[str, Callable[[str, str], str]] = {
        "a red circle": lambda c, s: f"a {c} {s}",
        "red and round": lambda c, s: f"{c} and {_SHAPES[s]}",
        "something red": lambda c, s: f"something {c}",
    }
    for text, query in queries.items():
        nearest, found, false = by_shape(sight, query)
        yield f"“{text}”: nearest {nearest:.0%}, found {found:.0%}, false {false:.0%}"
    for name, drawings in sets.items():
        assert drawings is not None
        keep = np.random.default_rng(0).choice(len(drawings.classes), 120, replace=False)
        rows = np.flatnonzero(np.isin(drawings.labels, keep))
        for each in (2, 3):
            photos, things = [drawings.photos[i] for i in rows], drawings.labels[rows]
            yield f"{name}, {each} + {each}: {splitting(sight, photos, things, each)}"
    with np.load(data / "fashion_mnist" / "fashion_mnist.npz") as arrays:
        test = [arrays[k][:400] for k in arrays.files if "test" in k]
    images, labels = sorted(test, key=lambda a: -a.ndim)
    garments = [Photo(Image.fromarray(i).convert("RGB")) for i in images]
    for each in (3, 8):
        yield f"garments, {each} + {each}: {splitting(sight, garments, labels, each)}"
    alone, shown, back = by_examples(models, data)
    yield f"easy-VQA: {alone:.0%} alone, {shown:.0%} after an example; {back:.0%} given back"


if __name__ == "__main__":
    for line in _lines(Path(sys.argv[1])):
        print(line, flush=True)
