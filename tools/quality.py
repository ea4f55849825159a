"""What a taught picture lacks: sharpness, light, contents, size, or anything new to memory.

Knows nothing of models: PIL and numpy only. It warns in one sentence and never blocks.

Light, contents and sharpness are measured with no more than 128 pixels a side, which is about what
a model sees, so that a threshold means the same for every size.

**Blurred.** Where a step from dark to bright falls within 9 pixels, a sharp picture makes most of
it between two neighbours, and a Gaussian blur of σ pixels makes 0.4/σ of it (its derivative's
peak). ``sharpness`` is that share at the sharpest tenth of the strong steps, so that a blurred
background is no fault, nor are flat colours. The variance of the Laplacian, the usual measure,
grows with contrast: over the same pictures its clean and its blurred values overlap. A sharp frame
or caption over a blurred photo hides the blur, and so does motion along an edge.

**Dark, bright, blank.** No channel of any pixel above ``_DARK``, none below ``_BRIGHT``, or no
channel that spans ``_BLANK`` levels. An overexposed photo that kept something dark is not found:
drawings on white paper have as many white pixels.

**A copy** of an exemplar is near it in the deciding metric *and* in a 12 × 12 thumbnail whose
brightest value is scaled to white: two drawings of one style may pass the first, two line drawings
the second.

Measured (``python -m tests.bench.quality DIR 300``; 300 pictures a set, 256 scenes; copies and
their 19,900 pairs of different pictures with 200 a set and the pocket embedder), in % that fire:

| | emoji: noto | twemoji | fluent | letters | shapes | garments | photos | scenes |
|---|---|---|---|---|---|---|---|---|
| clean, whatever concern | 0 | 0.7 | 0 | 0 | 0 | 0 | 0 | 0 |
| JPEG of quality 30, the same | 0 | 1.3 | 0.3 | 0 | 8.7 | 0 | 0 | 0 |
| blurred, σ 2 % of the long side | 92 | 94 | 100 | 100 | 34 | 0 | 100 | 100 |
| σ 3 % | 100 | 100 | 100 | 100 | 99 | 0 | 100 | 100 |
| σ 5 % | 100 | 100 | 100 | 100 | 100 | 93 | 99 | 100 |
| light × 0.15: dark or blank | 100 | 100 | 100 | 100 | 100 | 100 | 100 | 100 |
| faded to 225–255: bright | 97 | 92 | 98 | 100 | 85 | 100 | 96 | 99 |
| contrast × 0.05: blank | 100 | 100 | 100 | 100 | 100 | 100 | 100 | 100 |
| long side 20 pixels: tiny | 100 | 100 | 100 | 100 | 100 | 100 | 100 | 100 |
| copy in JPEG of quality 30 | 90 | 92 | 90 | 100 | 82 | 29 | 100 | 100 |
| copy of half the size | 95 | 98 | 99 | 98 | 94 | 0 | 100 | 100 |
| copy with light × 0.85 | 100 | 100 | 100 | 98 | 100 | 97 | 99 | 100 |
| copy cropped by 3 % | 24 | 26 | 32 | 7 | 66 | 1 | 12 | 10 |
| other picture taken for a copy | 0.04 | 0.04 | 0.02 | 0 | 0.01 | 0.01 | 0 | 0 |

Garments have 28 pixels, so that σ 3 % is less than one of them, and their halves are 14 pixels.
The twemoji that fire are white things on white; the shapes, colours that JPEG itself blurs.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tools.artifacts import Concern
from tools.desk import Desk
from tools.errors import MemoryFailed
from tools.images import Photo
from tools.wording import article, capital, number, percent

__all__ = [
    "SAME_PIXELS",
    "SAME_VECTOR",
    "compare",
    "inspect",
    "same_thing_as",
    "sharpness",
    "thumbnail_difference",
    "warning",
]

SAME_VECTOR = 0.92
"""The least cosine of a copy and its exemplar, in the deciding metric."""
SAME_PIXELS = 8.0
"""The largest mean difference of their thumbnails, of 255."""
Grey = NDArray[np.float32]
_SIDE = 128
_WINDOW = 9
_STRONG = 0.35  # of the picture's range: a step that is looked at
_FAINT = 20  # levels below which a step is noise
_FEWEST = 20  # pixels at strong steps; with fewer there are none
_SPAN = 60  # levels that a picture without steps spans when it is blurred, not faint
_BLURRED = 0.5
_DARK = 60
_BRIGHT = 215
_BLANK = 20
_TINY = 28  # a side; Fashion-MNIST has it, and its garments are recognised
_STRONG_DOUBT = 0.9  # probability of another label than the one that is taught
_NEAREST = 5  # exemplars that a picture is compared with
_ORDER = ("copy", "like", "blank", "dark", "bright", "blurred", "tiny")
_WORDS = {
    "blank": "almost empty",
    "dark": "very dark",
    "bright": "washed out",
    "blurred": "blurred",
    "tiny": "tiny",
}


def inspect(photo: Photo) -> tuple[Concern, ...]:
    """What is wrong with the picture itself, the most important first."""
    small = photo.image.copy()
    small.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    pixels = np.asarray(small, np.float32).reshape(-1, 3)
    tiny = [Concern("tiny", photo.id)] if max(photo.size) < _TINY else []
    low, high = np.percentile(pixels, [0.1, 99.9], axis=0)
    if float((high - low).max()) < _BLANK:
        return (Concern("blank", photo.id), *tiny)
    found = []
    if np.percentile(pixels.max(axis=1), 99.5) < _DARK:
        found.append(Concern("dark", photo.id))
    elif np.percentile(pixels.min(axis=1), 1) > _BRIGHT:
        found.append(Concern("bright", photo.id))
    sharp = sharpness(photo)
    if sharp is not None and sharp < _BLURRED:
        found.append(Concern("blurred", photo.id))
    return (*found, *tiny)


def sharpness(photo: Photo) -> float | None:
    """How much of a strong step two neighbouring pixels make, in [0, 1].

    0 where the levels differ but never within a step's width; None where nothing differs.
    """
    small = photo.image.copy()
    small.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    channels = small.split()
    # Shapes of equal brightness differ in some channel: the one with the most contrast speaks.
    channel = max(channels, key=lambda c: float(np.asarray(c, np.float32).std()))
    levels = np.asarray(channel, np.float32)
    low, high = np.percentile(levels, [0.5, 99.5])
    steps = _around(levels, np.maximum) - _around(levels, np.minimum)
    contrast = float(high - low)
    strong = steps >= max(_STRONG * contrast, _FAINT)
    if np.count_nonzero(strong) < _FEWEST:
        return 0.0 if contrast >= _SPAN else None
    slope = np.zeros_like(levels)
    slope[:, :-1] = np.abs(np.diff(levels, axis=1))
    slope[:-1] = np.maximum(slope[:-1], np.abs(np.diff(levels, axis=0)))
    steepest = _around(slope, np.maximum)
    return float(np.percentile(steepest[strong] / steps[strong], 90))


def _around(levels: Grey, extreme: np.ufunc) -> Grey:
    """The extreme of the window around each pixel (PIL's filters take 100 times as long)."""
    for axis in (0, 1):
        margin = [(_WINDOW // 2,) * 2 if k == axis else (0, 0) for k in (0, 1)]
        padded, size = np.pad(levels, margin, mode="edge"), levels.shape[axis]
        shifted = [padded.take(range(k, k + size), axis=axis) for k in range(_WINDOW)]
        levels = extreme.reduce(shifted)
    return levels


def thumbnail_difference(a: Photo, b: Photo) -> float:
    """The mean difference of two pictures' thumbnails, in [0, 255], whatever their brightness."""
    return float(np.abs(_thumbnail(a) - _thumbnail(b)).mean())


def _thumbnail(photo: Photo) -> Grey:
    small = np.asarray(photo.image.resize((12, 12), Image.Resampling.BOX), np.float32)
    return np.asarray(small * (255.0 / max(float(small.max()), 1.0)))


# --- against what was shown before --------------------------------------------------------------


def compare(desk: Desk, photos: Sequence[Photo], label: str) -> tuple[Concern, ...]:
    """Which of these new pictures copy an exemplar or each other, or look like another label.

    To be asked before they are taught under ``label``.
    """
    state = desk.memory.state
    new = [p for p in dict.fromkeys(photos) if state.label_of(p.id) is None]
    found: list[Concern] = []
    before: list[Photo] = []
    for photo in new:
        concern = _copied(desk, photo) or _copied_here(desk, photo, before, label)
        found += [concern] if concern else _alike(desk, photo, label)
        before.append(photo)
    return tuple(found)


def same_thing_as(concerns: Iterable[Concern], label: str, pictures: int) -> str:
    """The other label that at least half of the pictures speak for; empty when none."""
    key = label.casefold()
    names = Counter(c.label for c in concerns if c.label and c.label.casefold() != key)
    name, times = max(names.items(), key=lambda x: x[1], default=("", 0))
    return name if 2 * times >= pictures else ""


def _copied(desk: Desk, photo: Photo) -> Concern | None:
    vector = desk.sight.vector(photo)
    memory, recognizer = desk.memory, desk.recall.recognizer()
    vectors = memory.vectors(desk.sight.embedder)
    if not vectors:
        return None
    for match in memory.search(desk.sight.embedder, vector, _NEAREST):
        exemplar = match.exemplar
        if recognizer.similarity(vector, vectors[exemplar.photo_id]) < SAME_VECTOR:
            continue
        try:
            shown = memory.photos.get(exemplar.photo_id)
        except MemoryFailed:
            continue  # a lost file is told where it matters; it must not keep a picture out
        if thumbnail_difference(photo, shown) <= SAME_PIXELS:
            name = memory.state.labels[exemplar.label_id].name
            return Concern("copy", photo.id, name, exemplar.photo_id)
    return None


def _copied_here(desk: Desk, photo: Photo, others: Sequence[Photo], label: str) -> Concern | None:
    recognizer, sight = desk.recall.recognizer(), desk.sight
    for other in others:
        near = recognizer.similarity(sight.vector(photo), sight.vector(other)) >= SAME_VECTOR
        if near and thumbnail_difference(photo, other) <= SAME_PIXELS:
            return Concern("copy", photo.id, label, other.id)
    return None


def _alike(desk: Desk, photo: Photo, label: str) -> list[Concern]:
    if not any(e.positive for e in desk.memory.state.exemplars.values()):
        return []
    found = desk.recall.recognise(photo)
    best = found.candidates[0] if found.decision == "known" else None
    if best is None or best.name.casefold() == label.casefold():
        return []
    # Of a label that has pictures the user has said what it is: only a strong doubt is worth it.
    if desk.memory.state.find(label) is not None and best.probability < _STRONG_DOUBT:
        return []
    return [Concern("like", photo.id, best.name, probability=best.probability)]


# --- one sentence ---------------------------------------------------------------------------------


def warning(concerns: Sequence[Concern], label: str, pictures: int, same_as: str = "") -> str:
    """One sentence about the most important concern and at most one more; empty when none.

    ``pictures`` were taught as ``label``; ``same_as`` is the label that the sentence asks about.
    """
    own = label.casefold()
    told = [c for c in concerns if not (same_as and c.label == same_as)]
    if not same_as and pictures > 1:
        # Of several pictures, one that looks like something else is no news.
        told = [c for c in told if c.kind != "like"]
    kinds = sorted({c.kind for c in told}, key=_ORDER.index)[: 1 if same_as else 2]
    if pictures == 1:
        return _about_one([c for k in kinds for c in told if c.kind == k], concerns, own, same_as)
    parts = list(_about_many(told, kinds, pictures))
    if same_as:
        parts.append(f"{'most of them' if parts else 'they'} look like {_yours(same_as)}")
        return f"{capital(', and '.join(parts))}: the same thing or a new one?"
    return f"{capital(', and '.join(parts))}." if parts else ""


def _about_one(told: Sequence[Concern], concerns: Sequence[Concern], own: str, same_as: str) -> str:
    faults = [_WORDS[c.kind] for c in told if c.kind in _WORDS]
    rival = next((c for c in concerns if c.label and c.label.casefold() != own), None)
    if rival is not None:
        is_like = _resembles(rival)
        fault = f"is {faults[0]} and " if faults else ""
        if same_as:
            return f"It {fault}{is_like}: the same thing or a new one?"
        return f"It {fault}{is_like}: if that is what it is, say “it's {article(rival.label)}”."
    if any(c.kind == "copy" for c in told):
        fault = f"{faults[0]} and " if faults else ""
        return f"It is {fault}nearly a copy of one you showed me: another view would teach me more."
    if faults:
        return f"It is {' and '.join(faults)}: a clearer picture would teach me more."
    return ""


def _resembles(rival: Concern) -> str:
    if rival.kind == "copy":
        return f"is nearly the picture you showed me as {rival.label}"
    return f"looks like {_yours(rival.label)} ({percent(rival.probability)})"


def _yours(name: str) -> str:
    """``your blick``, but ``Rex``."""
    return name if article(name) == name and name[:1].isupper() else f"your {name}"


def _about_many(told: Sequence[Concern], kinds: Sequence[str], pictures: int) -> Iterator[str]:
    for place, kind in enumerate(sorted(kinds, key=lambda k: k == "copy")):
        affected = len({c.photo_id for c in told if c.kind == kind})
        if affected == pictures:
            who = "both" if pictures == 2 else f"all {number(pictures)}"
        else:
            who = number(affected) + ("" if place else f" of these {number(pictures)}")
        is_are, copies = ("is", "a copy") if affected == 1 else ("are", "copies")
        what = f"nearly {copies} of what you showed me" if kind == "copy" else _WORDS[kind]
        yield f"{who} {is_are} {what}"
