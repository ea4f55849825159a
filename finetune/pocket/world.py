"""Pictures of the pocket world: one thing, or scenes of up to four, on any background.

Composes sprites into pictures and records what was drawn where. Knows nothing about words
(`talk`) or models. Everything comes from the seed given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from finetune.pocket.augment import (
    CANVAS,
    backgrounds,
    finish,
    over,
    place,
    tint,
    uniform,
    vary_style,
)
from finetune.pocket.drawings import Gallery
from tools.colours import COLOURS

__all__ = [
    "Scene",
    "Thing",
    "chance_for",
    "draw_scenes",
    "render_scenes",
    "render_views",
    "sample_scenes",
]

_TINTED = ("shape", "garment", "character")


def chance_for(*seeds: int) -> torch.Generator:
    """A generator for a tuple of whole numbers (seed, step, …): equal tuples, equal chances."""
    state = np.random.SeedSequence([s % (1 << 32) for s in seeds]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]) >> 1)


def render_views(
    gallery: Gallery,
    sprites: Sequence[int] | npt.NDArray[np.int64] | Tensor,
    *,
    chance: torch.Generator,
    strength: float = 1.0,
    photos: Tensor | None = None,
    turned: npt.NDArray[np.int64] | None = None,
) -> Tensor:
    """One varied picture of one thing per sprite index: float32 (N, 3, 64, 64) in 0..1.

    `strength` 0 gives the drawing centred on white, as people send it; 1 the full variation of
    place, style, background and noise. `photos` (uint8, (M, 3, 64, 64)) are further backgrounds.
    The concept and style of row i are `gallery.concept_of[sprites[i]]`, `gallery.style_of[…]`.
    `turned` (N,) in 0..7 turns each sprite by quarters first, and mirrors it from 4 on: a turned
    character is another character.
    """
    index = torch.as_tensor(np.asarray(sprites), dtype=torch.long)
    n = len(index)
    rgba = torch.from_numpy(gallery.sprites[index.numpy()]).float() / 255
    kinds = [gallery.concepts[c].kind for c in gallery.concept_of[index.numpy()]]
    tinted = torch.tensor([k in _TINTED for k in kinds], dtype=torch.bool)
    rgba = _tint_some(rgba, tinted, kinds, chance)
    if turned is not None:
        rgba = _turn(rgba, turned)
    half = torch.full((n,), 0.5)
    if strength <= 0:
        layer = place(rgba, x=half, y=half, size=torch.full((n,), 0.94))
        return over(layer, torch.ones(n, 3, CANVAS, CANVAS)).clamp(0, 1)
    calm = torch.rand(n, generator=chance) < 0.25
    size = torch.where(calm, uniform(n, 0.85, 1.0, chance), uniform(n, 0.5, 1.08, chance))
    slack = (1 - size).clamp_min(0.04) / 2
    moved = torch.where(calm, 0.3, 1.0)
    angle = uniform(n, -1, 1, chance) * torch.where(calm, 0.06, 0.35 * strength)
    upright = torch.tensor([k == "character" for k in kinds], dtype=torch.bool)
    flip = (torch.rand(n, generator=chance) < 0.3) & ~upright
    layer = place(
        rgba,
        x=0.5 + uniform(n, -1, 1, chance) * slack * moved,
        y=0.5 + uniform(n, -1, 1, chance) * slack * moved,
        size=size,
        angle=angle,
        stretch=1 + uniform(n, -0.2, 0.25, chance) * strength,
        shear=uniform(n, -0.15, 0.15, chance) * strength,
        flip=flip,
    )
    layer = vary_style(layer, strength, chance)
    below = backgrounds(n, chance, photos=photos, plain=1 - 0.35 * strength)
    below = _contrast(layer, below, kinds)
    return finish(over(layer, below), strength, chance)


def _turn(rgba: Tensor, turned: npt.NDArray[np.int64]) -> Tensor:
    """The eight symmetries of a square, one per row."""
    rgba = rgba.clone()
    for symmetry in np.unique(turned[turned > 0]):
        rows = torch.from_numpy(np.flatnonzero(turned == symmetry))
        sprites = rgba[rows].flip(-1) if symmetry >= 4 else rgba[rows]
        rgba[rows] = torch.rot90(sprites, int(symmetry) % 4, (-2, -1))
    return rgba


def _tint_some(rgba: Tensor, tinted: Tensor, kinds: list[str], chance: torch.Generator) -> Tensor:
    """Give shapes and characters a colour; leave most garments grey."""
    n = len(rgba)
    colour = torch.rand(n, 3, generator=chance)
    dark = torch.rand(n, generator=chance) < 0.6
    for i, kind in enumerate(kinds):
        if kind == "character" and dark[i]:
            colour[i] *= 0.15
        if kind == "garment" and dark[i]:
            colour[i] = 1.0
    return torch.where(tinted[:, None, None, None], tint(rgba, colour), rgba)


def _contrast(layer: Tensor, below: Tensor, kinds: list[str]) -> Tensor:
    """Keep one-coloured things visible: white behind dark ink, black behind what is pale."""
    for i, kind in enumerate(kinds):
        if kind in _TINTED:
            alpha = layer[i, 3].sum().clamp_min(1)
            mean = layer[i, :3].sum((1, 2)) / alpha
            if (mean - below[i].mean((1, 2))).abs().max() < 0.3:
                below[i] = 1.0 if mean.mean() < 0.5 else 0.0
    return below


@dataclass(frozen=True)
class Thing:
    """One thing in a scene: what, in which sprite, where (centre and side, shares of the canvas).

    `colour` is a colour name or "" where the drawing has no single colour.
    """

    concept: int
    sprite: int
    x: float
    y: float
    size: float
    colour: str = ""
    flip: bool = False
    angle: float = 0.0


@dataclass(frozen=True)
class Scene:
    """Up to four things on a background. `background`: a colour name or "" (textured)."""

    things: tuple[Thing, ...]
    background: str
    seed: int


_GRID = {
    1: [[(0.5, 0.5)]],
    2: [[(0.27, 0.5), (0.73, 0.5)], [(0.5, 0.27), (0.5, 0.73)], [(0.28, 0.28), (0.72, 0.72)],
        [(0.28, 0.72), (0.72, 0.28)]],
    3: [[(0.27, 0.27), (0.73, 0.27), (0.5, 0.73)], [(0.5, 0.27), (0.27, 0.73), (0.73, 0.73)],
        [(0.19, 0.5), (0.5, 0.5), (0.81, 0.5)]],
    4: [[(0.27, 0.27), (0.73, 0.27), (0.27, 0.73), (0.73, 0.73)]],
}  # fmt: skip


def sample_scenes(
    gallery: Gallery,
    n: int,
    *,
    concepts: Sequence[int],
    seed: int,
    styles: Sequence[str] | None = None,
    single: float = 0.35,
    shapes: float = 0.12,
) -> list[Scene]:
    """`n` scenes of the given concepts: `single` of them with one thing, the others two to four.

    A third of the scenes with several things repeat one concept (for counting). `shapes` is the
    chance that a thing is a coloured shape instead of a drawing.
    """
    rng = np.random.default_rng([seed, 7])
    allowed = {gallery.styles.index(s) for s in styles} if styles is not None else None
    pool = [
        (c, [s for s in gallery.concepts[c].sprites if allowed is None
             or gallery.style_of[s] in allowed])
        for c in concepts
    ]  # fmt: skip
    pool = [(c, s) for c, s in pool if s]
    shaped = gallery.of_kind("shape")
    colours = [c for c in COLOURS if c != "white"]

    def choose() -> tuple[int, int, str]:
        if shaped and (not pool or rng.random() < shapes):
            c = shaped[int(rng.integers(len(shaped)))]
            return c, gallery.concepts[c].sprites[0], colours[int(rng.integers(len(colours)))]
        c, sprites = pool[int(rng.integers(len(pool)))]
        sprite = sprites[int(rng.integers(len(sprites)))]
        return c, sprite, gallery.colour_of[sprite]

    scenes = []
    for _ in range(n):
        count = 1 if rng.random() < single else int(rng.integers(2, 5))
        layout = _GRID[count][int(rng.integers(len(_GRID[count])))]
        kinds = [choose() for _ in range(count)]
        if count > 1 and rng.random() < 0.45:
            repeat = int(rng.integers(2, count + 1))
            kinds = [kinds[0]] * repeat + kinds[repeat:]
        order = rng.permutation(count)
        things = []
        for (x, y), which in zip(layout, order, strict=True):
            concept, sprite, colour = kinds[which]
            largest = {1: 1.0, 2: 0.52, 3: 0.46, 4: 0.45}[count]
            if layout[0][0] == 0.19:
                largest = 0.34
            low = 0.45 if count == 1 else 0.55
            size = largest * float(rng.uniform(low, 1.0))
            free = 0.04 if count > 1 else (1 - size) / 2
            things.append(
                Thing(
                    concept, sprite, x + float(rng.uniform(-free, free)),
                    y + float(rng.uniform(-free, free)), size, colour,
                    bool(rng.random() < 0.3), float(rng.uniform(-0.25, 0.25)),
                )
            )  # fmt: skip
        plain = rng.random() < 0.75
        names = list(COLOURS)
        background = "white" if rng.random() < 0.5 else names[int(rng.integers(len(names)))]
        if any(t.colour == background for t in things) and background != "white":
            background = "white"
        scene_seed = int(rng.integers(1 << 31))
        scenes.append(Scene(tuple(things), background if plain else "", scene_seed))
    return scenes


def render_scenes(
    gallery: Gallery,
    scenes: Sequence[Scene],
    *,
    chance: torch.Generator,
    strength: float = 0.6,
    photos: Tensor | None = None,
) -> Tensor:
    """Draw scenes: float32 (N, 3, 64, 64) in 0..1. Named colours are kept: hues are not turned."""
    return draw_scenes(gallery, scenes, chance=chance, strength=strength, photos=photos)[0]


def draw_scenes(
    gallery: Gallery,
    scenes: Sequence[Scene],
    *,
    chance: torch.Generator,
    strength: float = 0.6,
    photos: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The pictures of `render_scenes`, and whose each pixel is: int64 (N, 64, 64), -1 nobody's."""
    n = len(scenes)
    owners = torch.full((n, CANVAS, CANVAS), -1)
    pictures = backgrounds(n, chance, photos=photos, plain=0.0)
    jitter = uniform(n * 3, -0.04, 0.04, chance).view(n, 3)
    for i, scene in enumerate(scenes):
        if scene.background:
            colour = torch.tensor(COLOURS[scene.background]) / 255
            if scene.background == "white":
                colour = torch.ones(3)
            shade = (colour + (jitter[i] if scene.background != "white" else 0)).clamp(0, 1)
            pictures[i] = shade[:, None, None]
    for slot in range(max(len(s.things) for s in scenes)):
        rows = [i for i, s in enumerate(scenes) if len(s.things) > slot]
        things = [scenes[i].things[slot] for i in rows]
        rgba = torch.from_numpy(gallery.sprites[[t.sprite for t in things]]).float() / 255
        kinds = [gallery.concepts[t.concept].kind for t in things]
        colour = torch.ones(len(rows), 3)
        for j, (thing, kind) in enumerate(zip(things, kinds, strict=True)):
            if kind in _TINTED and thing.colour:
                colour[j] = torch.tensor(COLOURS[thing.colour]) / 255
        colour = (colour + uniform(len(rows) * 3, -0.05, 0.05, chance).view(-1, 3)).clamp(0, 1)
        tinted = torch.tensor([k in _TINTED for k in kinds], dtype=torch.bool)
        rgba = torch.where(tinted[:, None, None, None], tint(rgba, colour), rgba)

        def values(name: str, of: list[Thing] = things) -> Tensor:
            return torch.tensor([float(getattr(t, name)) for t in of])

        layer = place(
            rgba, x=values("x"), y=values("y"), size=values("size"),
            angle=values("angle") * strength, flip=values("flip") > 0,
        )  # fmt: skip
        coloured = torch.tensor([bool(t.colour) for t in things], dtype=torch.bool)
        layer = vary_style(layer, strength, chance, keep_colour=coloured)
        pictures[rows] = over(layer, pictures[rows])
        owners[rows] = torch.where(layer[:, 3] > 0.5, slot, owners[rows])
    return finish(pictures.clamp(0, 1), strength, chance), owners
