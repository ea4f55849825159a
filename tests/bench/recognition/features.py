"""Feature sets: vectors with their labels, groups, texts and the statistics of their embedder.

Reads and caches them; knows nothing of episodes or methods. Sources: the pocket embedder on the
pictures below ``--data`` (:mod:`tests.bench.recognition.pictures`), the real-photo features that
lie there, and anybody's ``.npz``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import platformdirs
from numpy.typing import NDArray

from tests.bench.recognition.pictures import SOURCES, PictureSet
from tools.background import Background, isotropic, unlabelled
from tools.config import ModelChoice
from tools.models.roles import Embedder

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

PROMPTS = ("{}", "a picture of {}")
_READING = 2  # raised when the way a set is read changes, so that no old vectors are used


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """``features`` (n, d) unit vectors, ``labels`` (n,) class numbers below ``len(classes)``.

    ``groups``: a group per class, whose members are siblings. ``views`` (n,): the style of a row.
    ``text`` (K, d): a unit vector per class name, or None. ``other_names``: unit vectors (M, d) of
    words that name nothing here, by what they are.
    """

    name: str
    features: Floats
    labels: Ints
    classes: tuple[str, ...]
    background: Background
    groups: tuple[str, ...] | None = None
    views: Ints | None = None
    text: Floats | None = None
    logit_scale: float = 1.0
    other_names: dict[str, Floats] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n, d = self.features.shape
        if self.labels.shape != (n,) or self.labels.min() < 0:
            raise ValueError(f"{self.name}: {n} features, but labels {self.labels.shape}")
        if self.labels.max() >= len(self.classes):
            raise ValueError(f"{self.name}: a label is {self.labels.max()}, of {self.classes}")
        if self.text is not None and self.text.shape != (len(self.classes), d):
            raise ValueError(f"{self.name}: text {self.text.shape}, for {len(self.classes)} × {d}")
        if not np.isfinite(self.features).all():
            raise ValueError(f"{self.name}: features hold NaN or infinity")

    @cached_property
    def present(self) -> Ints:
        """Numbers of the classes that have rows."""
        return np.unique(self.labels)

    @cached_property
    def view_counts(self) -> Ints:
        """(K,) how many views each class has."""
        assert self.views is not None
        pairs = np.unique(np.stack([self.labels, self.views]), axis=1)
        return np.bincount(pairs[0], minlength=len(self.classes))


def unit(x: NDArray[np.floating]) -> Floats:
    """Rows of length one, float32; a zero row is an error."""
    norm = np.linalg.norm(x.astype(np.float64), axis=-1, keepdims=True)
    if not norm.all():
        raise ValueError("a feature vector is zero")
    return (x / norm).astype(np.float32)


def from_npz(
    path: Path, *, background: Path | None = None, logit_scale: float = 100.0
) -> FeatureSet:
    """Keys ``features`` (n, d), ``labels`` (n,), ``classes`` (K,), optional ``text`` (K, d).

    ``background``: an ``.npz`` with ``features`` of varied unlabelled pictures.
    """
    with np.load(path, allow_pickle=False) as data:
        features, labels = unit(data["features"]), data["labels"].astype(np.int64)
        classes = tuple(str(c) for c in data["classes"])
        text = unit(data["text"]) if "text" in data else None
    statistics = isotropic(features.shape[1])
    if background is not None:
        with np.load(background, allow_pickle=False) as data:
            statistics = unlabelled(unit(data["features"]))
    return FeatureSet(
        path.stem, features, labels, classes, statistics, text=text, logit_scale=logit_scale
    )


def local_sets(
    data: Path,
    *,
    cache: Path | None = None,
    statistics: Path | None = None,
    only: Sequence[str] = (),
    log: Callable[[str], None] = print,
) -> list[FeatureSet]:
    """All sets below ``data``, or ``only`` those named; embeds what ``cache`` does not hold.

    ``statistics``: a saved :class:`Background` to use instead of the pocket embedder's own.
    """
    wanted = [name for name in SOURCES if not only or name in only]
    sets = _pocket(data, wanted, cache or default_cache(), statistics, log) if wanted else []
    photos = data / "features" / "caltech101_even_mobilenetv2.npz"
    if photos.exists() and (not only or "photos_mobilenet" in only):
        read = from_npz(photos, background=data / "features" / "background_mobilenetv2.npz")
        sets.append(replace(read, name="photos_mobilenet"))
    return sets


def default_cache() -> Path:
    """Where embeddings are kept when no folder is named."""
    return platformdirs.user_cache_path("imprint", appauthor=False) / "bench-recognition"


def _pocket(
    data: Path,
    wanted: Sequence[str],
    cache: Path,
    statistics: Path | None,
    log: Callable[[str], None],
) -> list[FeatureSet]:
    from tools.models.embedder import load_embedder
    from tools.models.sources import locate

    embedder = load_embedder(locate(ModelChoice("pocket:clip")))
    background = Background.load(statistics or embedder.background_path)
    sets = []
    for name in wanted:
        path = cache / f"{embedder.id}-{name}-{_READING}.npz"
        if not path.exists():
            pictures = SOURCES[name](data)
            if pictures is None:
                log(f"{name}: no pictures below {data}")
                continue
            log(f"{name}: embedding {len(pictures.photos)} pictures")
            _write(path, _embedded(embedder, pictures))
        sets.append(_read(path, name, background))
    return sets


def _embedded(embedder: Embedder, pictures: PictureSet) -> dict[str, NDArray]:
    """The arrays of a cached set."""
    arrays: dict[str, NDArray] = {
        "features": embedder.embed_photos(pictures.photos),
        "labels": pictures.labels,
        "classes": np.array(pictures.classes),
        "logit_scale": np.array(embedder.logit_scale),
    }
    if pictures.groups is not None:
        arrays["groups"] = np.array(pictures.groups)
    if pictures.views is not None:
        arrays["views"] = pictures.views
    if pictures.named:
        taken = {word for name in pictures.classes for word in name.lower().split()}
        words = [n for n, _ in embedder.vocabulary if not taken & set(n.lower().split())]
        arrays["text"] = embed_names(embedder, pictures.classes)
        arrays["other:other words"] = embed_names(embedder, words)
        arrays["other:made-up words"] = embed_names(embedder, made_up_words(400))
    return arrays


def embed_names(embedder: Embedder, names: Sequence[str]) -> Floats:
    """(K, d): the normalised mean of the names' normalised prompts."""
    prompts = [embedder.embed_texts([p.format(n) for n in names]) for p in PROMPTS]
    return unit(np.mean(prompts, axis=0))


def made_up_words(count: int) -> list[str]:
    """Words of two syllables that mean nothing, the same every time."""
    rng = np.random.default_rng(0)
    starts = ("bl", "dr", "fl", "gl", "kr", "pl", "sn", "tr", "v", "w", "z", "m", "k")
    vowels, ends = "aeiou", ("b", "ck", "g", "lt", "m", "rp", "x", "zz")
    found: dict[str, None] = {}
    while len(found) < count:
        found["".join(str(rng.choice(list(p))) for p in (starts, vowels, ends, vowels, ends))] = (
            None
        )
    return list(found)


def _write(path: Path, arrays: dict[str, NDArray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    part.replace(path)


def _read(path: Path, name: str, background: Background) -> FeatureSet:
    with np.load(path, allow_pickle=False) as file:
        data = dict(file)
    return FeatureSet(
        name,
        unit(data["features"]),
        data["labels"].astype(np.int64),
        tuple(str(c) for c in data["classes"]),
        background,
        groups=tuple(str(g) for g in data["groups"]) if "groups" in data else None,
        views=data.get("views"),
        text=data.get("text"),
        logit_scale=float(data["logit_scale"]),
        other_names={k[6:]: data[k] for k in data if k.startswith("other:")},
    )
