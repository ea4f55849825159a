"""The background statistics of the pocket embedder: what recognition assumes before any teaching.

Embeds pictures of each domain of the pocket world (drawings in several styles, characters,
garments, photos) and lets :mod:`tools.measuring` make of them what is written beside the weights.
Knows nothing of training. Alphabets and photo classes that are held out give no statistics.
"""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from finetune.pocket.drawings import MAIN_GROUPS, Gallery, load_gallery
from finetune.pocket.edge import as_photos, inverted, measure_edge
from finetune.pocket.recipe import WorldSettings
from finetune.pocket.teacher import HELD_OUT_PHOTOS
from finetune.pocket.world import chance_for, render_views
from tools.config import ModelChoice
from tools.images import Photo, open_photo
from tools.looks import LOOKS, with_looks
from tools.measuring import Pictures, measure, named
from tools.models.embedder import load_embedder
from tools.models.roles import Embedder
from tools.models.sources import locate
from tools.sight import TEMPLATES

__all__ = ["write_background"]

log = logging.getLogger(__name__)
_GARMENTS, _SMALL_PHOTOS = 150, 60  # a class

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Drawn:
    """Pictures of drawings and the concept of each thing number; ``rows`` tell the edge."""

    pictures: Pictures
    rows: Floats
    gallery: Gallery


def write_background(
    source: str,
    data: Path,
    *,
    styles: tuple[str, ...] = ("noto", "twemoji", "fluent_3d"),
    seed: int = 0,
) -> None:
    """Measure the embedder at ``source``; write its ``background.npz``, and the results beside."""
    located = locate(ModelChoice(source))
    embedder = load_embedder(located)
    clean = _drawings(embedder, data, styles, seed, strength=0.0)
    varied = _drawings(embedder, data, styles, seed, strength=0.35)
    names = [f.name for f in fields(Pictures)]
    both = Pictures(
        *(np.concatenate([getattr(d.pictures, n) for d in (clean, varied)]) for n in names)
    )
    kinds = {"drawings": both}
    rows = {"characters": _characters(data), "garments": _garments(data), "photos": _photos(data)}
    rows = {name: found for name, found in rows.items() if found[0]}
    kinds |= {name: _pictures(embedder, *found) for name, found in rows.items()}
    background, results = measure(kinds, clean={"drawings": clean.pictures}, seed=seed)
    words = {"drawings": _words(clean.gallery, both), **_class_names(data)}
    texts = {name: _texts(embedder, row) for name, row in words.items()}
    background = named(background, kinds, texts)
    everything: dict[str, Any] = dict(results)
    if "photos" in kinds:
        trained = [s for s in styles if s in WorldSettings().styles]
        drawn = np.isin(both.manner, [styles.index(s) for s in trained])
        shown = np.concatenate([clean.rows, varied.rows])[drawn]
        world: dict[str, list[Floats]] = {"drawings": [shown]}
        for name in rows.keys() - {"photos"}:
            turned = _seen(embedder, inverted(rows[name][0][::2]))
            world[name] = [with_looks(kinds[name].vectors, rows[name][0]), turned]
        everyday = sorted((data / "coco128" / "images").rglob("*.jpg"))
        photos = [with_looks(kinds["photos"].vectors, rows["photos"][0])]
        photos += [_seen(embedder, [open_photo(str(f)) for f in everyday])] if everyday else []
        edge, told = measure_edge(
            partial(_seen, embedder), data, trained, world, np.concatenate(photos)
        )
        background = replace(background, edge=edge)
        everything |= told
    background.save(located.folder / "background.npz")
    text = json.dumps(everything, indent=1, default=float)
    log.info("background: %s", text)
    (located.folder / "background.json").write_text(text + "\n", encoding="utf-8")


def _drawings(
    embedder: Embedder, data: Path, styles: tuple[str, ...], seed: int, *, strength: float
) -> _Drawn:
    gallery = load_gallery(data, styles=styles, groups=MAIN_GROUPS)
    shown = np.array([s for c in gallery.of_kind("drawing") for s in gallery.concepts[c].sprites])
    families = sorted({c.group for c in gallery.concepts})
    family_of = np.array([families.index(c.group) for c in gallery.concepts], np.int64)
    parts = []
    for start in range(0, len(shown), 512):
        index = shown[start : start + 512]
        chance = chance_for(seed, start, int(strength * 100))
        pictures = render_views(gallery, index, chance=chance, strength=strength)
        parts.append(_seen(embedder, as_photos(pictures.numpy())))
    rows = np.concatenate(parts)
    thing = gallery.concept_of[shown]
    made = Pictures(rows[:, :-LOOKS], thing, gallery.style_of[shown], family_of[thing])
    return _Drawn(made, rows, gallery)


def _words(gallery: Gallery, pictures: Pictures) -> dict[int, str]:
    return {int(t): gallery.concepts[t].spoken for t in np.unique(pictures.thing)}


def _class_names(data: Path) -> dict[str, dict[int, str]]:
    """What the classes of garments and photos are called, by thing."""
    names: dict[str, dict[int, str]] = {}
    path = data / "fashion_mnist" / "classes.json"
    if path.exists():
        classes = json.loads(path.read_text(encoding="utf-8"))
        names["garments"] = {i: str(n).lower() for i, n in enumerate(classes)}
    folders = [p.name for p in sorted((data / "caltech101").glob("*")) if p.is_dir()]
    folders = [f for f in folders if f not in HELD_OUT_PHOTOS]
    names["photos"] = {i: f.replace("_", " ").lower() for i, f in enumerate(folders)}
    return names


def _texts(embedder: Embedder, names: dict[int, str]) -> dict[int, Floats]:
    """Unit prototypes (d,) of names, by thing."""
    prompts = [t.format(n) for n in names.values() for t in TEMPLATES]
    made = embedder.embed_texts(prompts).reshape(len(names), len(TEMPLATES), -1).mean(axis=1)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return dict(zip(names, made, strict=True))


Rows = tuple[list[Photo], list[int], list[int]]
"""Pictures with the numbers of their things and families."""


def _characters(data: Path, held_out: tuple[str, ...] = ("Greek",)) -> Rows:
    rows: Rows = ([], [], [])
    folders = [p for p in sorted((data / "omniglot").glob("*/*/*")) if p.is_dir()]
    alphabets = sorted({p.parent.name for p in folders})
    for number, folder in enumerate(folders):
        if folder.parent.name in held_out:
            continue
        for path in sorted(folder.glob("*.png")):
            rows[0].append(open_photo(str(path)))
            rows[1].append(number)
            rows[2].append(alphabets.index(folder.parent.name))
    return rows


def _garments(data: Path) -> Rows:
    path = data / "fashion_mnist" / "fashion_mnist.npz"
    if not path.exists():
        return [], [], []
    arrays = np.load(path)
    images, labels = arrays["train_images"], arrays["train_labels"]
    chosen = np.concatenate([np.flatnonzero(labels == c)[-_GARMENTS:] for c in np.unique(labels)])
    rows = [Photo(Image.fromarray(images[i]).convert("RGB")) for i in chosen]
    return rows, [int(labels[i]) for i in chosen], [0] * len(chosen)


def _photos(data: Path) -> Rows:
    rows, thing = [], []
    folders = [p for p in sorted((data / "caltech101").glob("*")) if p.is_dir()]
    for number, folder in enumerate(f for f in folders if f.name not in HELD_OUT_PHOTOS):
        files = sorted(folder.glob("*.jpg"))
        rows += [open_photo(str(f)) for f in files]
        thing += [number] * len(files)
    archive = data / "cifar10" / "train_1000_per_class.zip"
    if archive.exists():
        with zipfile.ZipFile(archive) as z:
            names = sorted(n for n in z.namelist() if n.endswith(".jpg"))
            classes = sorted({n.split("/")[-2] for n in names})
            for number, name in enumerate(classes):
                for n in [n for n in names if n.split("/")[-2] == name][-_SMALL_PHOTOS:]:
                    rows.append(open_photo(z.read(n)))
                    thing.append(1000 + number)
    return rows, thing, [0] * len(rows)


def _pictures(
    embedder: Embedder, rows: list[Photo], thing: list[int], family: list[int]
) -> Pictures:
    """Pictures in no style: each is a manner of its own."""
    numbers = np.arange(len(rows))
    return Pictures(_embed(embedder, rows), np.array(thing), numbers, np.array(family))


def _seen(embedder: Embedder, photos: Sequence[Photo]) -> Floats:
    return with_looks(_embed(embedder, photos), photos)


def _embed(embedder: Embedder, photos: Sequence[Photo]) -> Floats:
    parts = [embedder.embed_photos(photos[i : i + 64]) for i in range(0, len(photos), 64)]
    return np.concatenate(parts)
