"""Where the pocket world ends: photos told from all that the embedder was trained to embed.

Gathers pictures of the world's kinds (drawings by themselves and in scenes, shapes, characters,
garments; light on dark and dark on light) for :class:`tools.edge.Edge`. Drawings are of the styles
trained on only, so that another style shows what the edge does to drawings it was not fitted to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from finetune.pocket.drawings import MAIN_GROUPS, load_gallery
from finetune.pocket.world import chance_for, render_scenes, sample_scenes
from tools.edge import Edge
from tools.images import Photo, open_photo

__all__ = ["as_photos", "inverted", "measure_edge"]

_MISTAKEN = 0.05  # of each part of a kind of picture, the share that may be taken for photos
_SCENES = 600  # with one thing, and as many with several
_EVERY = 10  # which of the shapes are looked at

Floats = npt.NDArray[np.float32]
See = Callable[[Sequence[Photo]], Floats]
"""Pictures to rows (:func:`tools.looks.with_looks`)."""


def measure_edge(
    see: See,
    data: Path,
    styles: Sequence[str],
    world: dict[str, list[Floats]],
    photos: Floats,
) -> tuple[Edge, dict[str, float]]:
    """The edge and how well it tells: ``world`` has rows by kind, in parts that count alike.

    Drawings as they are sent, scenes and shapes are added to it. Fitted on half of each part's
    pictures; the others set the limit and check it.
    """
    drawn = [*world.get("drawings", []), see(_sent(data, styles))]
    drawn += [see(as_photos(p)) for p in _scenes(data, styles)]
    kinds = {**world, "drawings": drawn}
    if found := _shapes(data):
        kinds["shapes"] = [see(found)]
    halves = {kind: [_halves(p) for p in parts] for kind, parts in kinds.items()}
    fitted, asked = _halves(photos)
    edge = Edge.between([[one for one, _ in parts] for parts in halves.values()], [fitted])
    others = {kind: [other for _, other in parts] for kind, parts in halves.items()}
    edge = edge.limited([p for parts in others.values() for p in parts], _MISTAKEN)
    told: dict[str, float] = {
        "photos_told": float(edge.crossed(asked).mean()),
        "photos_asked": len(asked),
    }
    for kind, parts in others.items():
        told[f"{kind}_mistaken"] = float(np.mean([edge.crossed(p).mean() for p in parts]))
        told[f"{kind}_asked"] = sum(map(len, parts))
    return edge, told


def _halves(rows: Floats) -> tuple[Floats, Floats]:
    """By chance, the same every time."""
    order = np.random.default_rng(0).permutation(len(rows))
    return rows[order[::2]], rows[order[1::2]]


def _sent(data: Path, styles: Sequence[str]) -> list[Photo]:
    """The drawings as a person sends them: the file itself."""
    gallery = load_gallery(data, styles=tuple(styles), groups=MAIN_GROUPS, garments_per_class=0)
    drawn = [s for c in gallery.of_kind("drawing") for s in gallery.concepts[c].sprites]
    pictures = (Image.fromarray(gallery.sprites[s].transpose(1, 2, 0), "RGBA") for s in drawn)
    return [open_photo(p) for p in pictures]


def _shapes(data: Path) -> list[Photo]:
    """Coloured shapes."""
    files = sorted((data / "easy_vqa" / "train").rglob("*.png"))
    return [open_photo(str(f)) for f in files[::_EVERY]]


def _scenes(data: Path, styles: Sequence[str]) -> list[Floats]:
    """Scenes of one thing, and of two to four."""
    gallery = load_gallery(data, styles=tuple(styles), groups=MAIN_GROUPS, garments_per_class=3)
    concepts = gallery.of_kind("drawing")
    pictures = []
    for single in (1.0, 0.0):
        scenes = sample_scenes(gallery, _SCENES, concepts=concepts, seed=5, single=single)
        pictures.append(render_scenes(gallery, scenes, chance=chance_for(5), strength=0.0).numpy())
    return pictures


def inverted(photos: Sequence[Photo]) -> list[Photo]:
    """Dark on light where they are light on dark, and the other way round."""
    return [Photo(Image.fromarray(255 - np.asarray(p.image))) for p in photos]


def as_photos(pictures: Floats) -> list[Photo]:
    """Pictures (n, 3, h, w) in 0..1."""
    return [
        Photo(Image.fromarray((p.transpose(1, 2, 0) * 255).round().astype(np.uint8)))
        for p in pictures
    ]
