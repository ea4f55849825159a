"""Small real things at the seams: an embedder of colours and shapes, a captioner, an answerer."""

import atexit
import shutil
import tempfile
from collections.abc import Callable, Collection, Sequence
from functools import cache
from pathlib import Path
from threading import Event
from zlib import crc32

import numpy as np
from PIL import Image, ImageDraw

from tools.background import isotropic
from tools.images import Photo
from tools.models.roles import Features

COLOURS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (50, 80, 220), "grey": (128,) * 3}


def drawing(
    colour: str = "red", shape: str = "disc", jitter: int = 0, side: int = 64
) -> Image.Image:
    """A disc, box or cross of a colour on white; ``jitter`` moves it by some pixels."""
    image = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(image)
    box = (12 + jitter, 12, side - 12 + jitter, side - 12)
    if shape == "disc":
        draw.ellipse(box, fill=COLOURS[colour])
    elif shape == "box":
        draw.rectangle(box, fill=COLOURS[colour])
    else:
        draw.line((*box,), fill=COLOURS[colour], width=8)
        draw.line((box[2], box[1], box[0], box[3]), fill=COLOURS[colour], width=8)
    return image


class FakeEmbedder:
    """An 8×8 thumbnail, centred and normalised: near pictures are near, others are not."""

    id = "fake-thumbnail"
    dimension = 192
    logit_scale = 20.0
    vocabulary: tuple[tuple[str, tuple[str, ...]], ...] = (
        ("red disc", ("disc",)),
        ("blue box", ()),
    )

    def __init__(self) -> None:
        self.batches: list[int] = []

    @property
    def background_path(self) -> Path:
        return _plain_statistics(self.dimension)

    def embed_photos(self, photos: Sequence[Photo]) -> Features:
        self.batches.append(len(photos))
        rows = [
            np.asarray(p.image.resize((8, 8), Image.Resampling.BOX), np.float32).ravel()
            for p in photos
        ]
        return _unit(255.0 - np.stack(rows) + 1.0)

    def embed_texts(self, texts: Sequence[str]) -> Features:
        rows = []
        for text in texts:
            colour = next((c for c in COLOURS if c in text), None)
            shape = next((s for s in ("disc", "box", "cross") if s in text), "disc")
            if colour:
                rows.append(self.embed_photos([Photo(drawing(colour, shape))])[0])
            else:
                noise = np.random.default_rng(crc32(text.encode()))
                rows.append(noise.standard_normal(self.dimension).astype(np.float32))
        return _unit(np.stack(rows))


class FakeCaptioner:
    """Names the colour in the middle."""

    id = "fake-captioner"

    def caption(
        self,
        photo: Photo,
        *,
        on_token: Callable[[str], None] | None = None,
        stop: Event | None = None,
    ) -> str:
        middle = photo.image.getpixel((photo.size[0] // 2, photo.size[1] // 2))
        name = min(
            COLOURS,
            key=lambda c: sum((a - b) ** 2 for a, b in zip(COLOURS[c], middle, strict=True)),
        )
        words = ["a", name, "thing"]
        for word in words:
            if stop is not None and stop.is_set():
                break
            if on_token:
                on_token(word + " ")
        return " ".join(words)

    def captions(self, photo: Photo, count: int, *, stop: Event | None = None) -> list[str]:
        right = self.caption(photo)
        return [*[f"a {c} thing" for c in ("grey", "blue")][: count - 1], right]


class FakeAnswerer:
    """Answers from a script, or the question itself, and records what it was asked."""

    id = "fake-answerer"

    def __init__(
        self, *answers: str, takes_examples: bool = False, words: Collection[str] = ()
    ) -> None:
        self.takes_examples = takes_examples
        self.words = frozenset(words)
        self.asked: list[str] = []
        self._answers = list(answers)

    def enqueue(self, answer: str) -> None:
        """Give the answer to the next question."""
        self._answers.append(answer)

    def answer(
        self,
        photo: Photo,
        question: str,
        *,
        on_token: Callable[[str], None] | None = None,
        stop: Event | None = None,
    ) -> str:
        self.asked.append(question)
        text = self._answers.pop(0) if self._answers else f"you asked: {question}"
        if on_token:
            on_token(text)
        return text


@cache
def _plain_statistics(dimension: int) -> Path:
    """A file beside the "weights", so that nothing is measured."""
    folder = Path(tempfile.mkdtemp(prefix="fake-statistics-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    isotropic(dimension).save(folder / "background.npz")
    return folder / "background.npz"


def _unit(rows: Features) -> Features:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
