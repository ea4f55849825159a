"""Whole batches of sprites varied in torch, so that no drawing style can be learnt by heart.

Works on tensors only: float32 in 0..1, layers as premultiplied RGBA (N, 4, S, S), pictures as RGB
(N, 3, S, S). Knows nothing about names, captions or models. All chance comes from the
`torch.Generator` given, so equal seeds give equal pictures.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "CANVAS",
    "backgrounds",
    "cartoon",
    "finish",
    "over",
    "place",
    "tint",
    "uniform",
    "vary_style",
]

CANVAS = 64
"""Side of a picture in pixels."""


def uniform(n: int, low: float, high: float, chance: torch.Generator) -> Tensor:
    """`n` numbers between `low` and `high`."""
    return torch.rand(n, generator=chance) * (high - low) + low


def place(
    sprites: Tensor,
    *,
    x: Tensor,
    y: Tensor,
    size: Tensor,
    angle: Tensor | None = None,
    stretch: Tensor | None = None,
    shear: Tensor | None = None,
    flip: Tensor | None = None,
    canvas: int = CANVAS,
) -> Tensor:
    """Put sprites (N, 4, H, H), straight alpha 0..1, on empty canvases.

    `x`, `y`: centre as a share of the canvas; `size`: side as a share of the canvas; `angle` in
    radians; `stretch`: width over height; `flip`: bool. Returns premultiplied (N, 4, S, S).
    """
    n = len(sprites)
    zero = torch.zeros(n)
    angle = zero if angle is None else angle
    ratio = torch.ones(n) if stretch is None else stretch.sqrt()
    slant = zero if shear is None else shear
    mirror = torch.ones(n) if flip is None else 1 - 2 * flip.float()
    premultiplied = torch.cat([sprites[:, :3] * sprites[:, 3:], sprites[:, 3:]], 1)
    # affine_grid maps output to input: the inverse of scale, rotate, move.
    cos, sin = torch.cos(angle), torch.sin(angle)
    width, height = size * ratio * mirror, size / ratio
    a, b = cos / width, sin / width
    c, d = (-sin + slant * cos) / height, (cos + slant * sin) / height
    tx, ty = 2 * x - 1, 2 * y - 1
    theta = torch.stack(
        [torch.stack([a, b, -(a * tx + b * ty)], 1), torch.stack([c, d, -(c * tx + d * ty)], 1)], 1
    )
    result = torch.empty(n, 4, canvas, canvas)
    # Reduce first where a sprite shrinks below half, so that thin lines do not alias away.
    small = size * canvas < 0.56 * sprites.shape[-1]
    for chosen, source in ((~small, premultiplied), (small, None)):
        index = chosen.nonzero()[:, 0]
        if len(index) == 0:
            continue
        layer = (
            premultiplied[index] if source is not None else F.avg_pool2d(premultiplied[index], 2)
        )
        grid = F.affine_grid(theta[index], [len(index), 4, canvas, canvas], align_corners=False)
        result[index] = F.grid_sample(layer, grid, align_corners=False)
    return result


def tint(sprites: Tensor, colour: Tensor) -> Tensor:
    """Multiply the colours of straight-alpha sprites (N, 4, H, W) by `colour` (N, 3), 0..1."""
    return torch.cat([sprites[:, :3] * colour[:, :, None, None], sprites[:, 3:]], 1)


def over(layer: Tensor, below: Tensor) -> Tensor:
    """A premultiplied layer (N, 4, S, S) over pictures (N, 3, S, S)."""
    return layer[:, :3] + below * (1 - layer[:, 3:])


def _some(n: int, probability: float, chance: torch.Generator) -> Tensor:
    return (torch.rand(n, generator=chance) < probability).nonzero()[:, 0]


def _luminance(rgb: Tensor) -> Tensor:
    return (rgb * torch.tensor([0.299, 0.587, 0.114])[None, :, None, None]).sum(1, keepdim=True)


def _edges(layer: Tensor) -> Tensor:
    """Strength of inner contours and of the silhouette, 0..1, (N, 1, S, S)."""
    grey = _luminance(layer[:, :3]) + (1 - layer[:, 3:]) * 1.2
    dx = F.pad(grey[..., :, 1:] - grey[..., :, :-1], (0, 1, 0, 0))
    dy = F.pad(grey[..., 1:, :] - grey[..., :-1, :], (0, 0, 0, 1))
    return ((dx.abs() + dy.abs() - 0.10) * 4).clamp(0, 1)


def vary_style(
    layer: Tensor, strength: float, chance: torch.Generator, *, keep_colour: Tensor | None = None
) -> Tensor:
    """Redraw premultiplied layers (N, 4, S, S) in other manners.

    Each manner (recolour, grey, flatten, shade, cartoon, outline, line drawing) hits a random part
    of the batch; `strength` 0..1 scales how often and how much. Strong variation from the first
    step keeps a fresh tower from learning anything, so callers phase it in. Rows where
    `keep_colour` (bool, (N,)) holds keep the colour that a sentence may name.
    """
    n = len(layer)
    layer = layer.clone()
    if n == 0 or strength <= 0:
        return layer
    free = torch.ones(n, dtype=torch.bool) if keep_colour is None else ~keep_colour
    pick = _some(n, 0.7 * strength, chance)
    pick = pick[free[pick]]
    layer[pick] = _recolour(layer[pick], 0.5 * strength, chance)
    pick = _some(n, 0.12 * strength, chance)  # grey
    pick = pick[free[pick]]
    layer[pick, :3] = _luminance(layer[pick, :3])
    pick = _some(n, 0.12 * strength, chance)  # flatten
    pick = pick[free[pick]]
    levels = uniform(len(pick), 2, 5, chance)[:, None, None, None].round()
    alpha = layer[pick, 3:]
    flat = (layer[pick, :3] / alpha.clamp_min(1e-3) * levels).round() / levels
    layer[pick, :3] = flat.clamp(0, 1) * alpha
    pick = _some(n, 0.35 * strength, chance)
    layer[pick] = _shade(layer[pick], chance)
    pick = _some(n, 0.15 * strength, chance)
    layer[pick] = cartoon(layer[pick], chance)
    pick = _some(n, 0.2 * strength, chance)
    layer[pick] = _outline(layer[pick], chance)
    pick = _some(n, 0.12 * strength, chance)
    pick = pick[free[pick]]
    layer[pick] = _line_drawing(layer[pick], chance)
    return layer


def _recolour(layer: Tensor, amount: float, chance: torch.Generator) -> Tensor:
    """Turn hue, scale saturation, contrast and brightness by one 3 x 3 matrix a picture (YIQ)."""
    n = len(layer)
    often = torch.rand(n, generator=chance) < 0.35
    turn = uniform(n, -1, 1, chance) * torch.where(often, math.pi, 0.35) * amount * 2
    saturation = 1 + uniform(n, -1, 0.8, chance) * amount
    value = 1 + uniform(n, -0.8, 0.6, chance) * amount
    to_yiq = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
    middle = torch.zeros(n, 3, 3)
    middle[:, 0, 0] = 1
    middle[:, 1, 1] = middle[:, 2, 2] = torch.cos(turn) * saturation
    middle[:, 1, 2] = -torch.sin(turn) * saturation
    middle[:, 2, 1] = torch.sin(turn) * saturation
    matrix = torch.linalg.inv(to_yiq) @ middle @ to_yiq * value[:, None, None]
    lift = (uniform(n, -0.25, 0.25, chance) * amount)[:, None, None, None]
    alpha = layer[:, 3:]
    rgb = torch.einsum("nij,njhw->nihw", matrix, layer[:, :3]) + lift * alpha
    return torch.cat([torch.minimum(rgb.clamp_min(0), alpha), alpha], 1)


def _shade(layer: Tensor, chance: torch.Generator) -> Tensor:
    """Light a silhouette as if it were inflated, as shaded three-dimensional drawings look."""
    n = len(layer)
    alpha = layer[:, 3:]
    height = F.avg_pool2d(F.avg_pool2d(alpha, 7, 1, 3), 9, 1, 4)
    dx = F.pad(height[..., :, 2:] - height[..., :, :-2], (1, 1, 0, 0))
    dy = F.pad(height[..., 2:, :] - height[..., :-2, :], (0, 0, 1, 1))
    angle = uniform(n, -math.pi, 0, chance)[:, None, None, None]
    light = -(dx * torch.cos(angle) - dy * torch.sin(angle).abs())
    force = uniform(n, 1.0, 4.0, chance)[:, None, None, None]
    ramp = torch.linspace(-1, 1, layer.shape[-1])[None, None, :, None]
    slope = uniform(n, -0.2, 0.25, chance)[:, None, None, None]
    rgb = layer[:, :3] * (1 + force * light - slope * ramp).clamp(0.3, 1.6)
    gloss = ((force * light - 0.25).clamp(0, 1)) * alpha
    return torch.cat([torch.minimum((rgb + 0.5 * gloss).clamp_min(0), alpha), alpha], 1)


def _outline(layer: Tensor, chance: torch.Generator) -> Tensor:
    """A dark line around the silhouette, half the time along inner contours too."""
    n = len(layer)
    alpha = layer[:, 3:]
    wide = F.max_pool2d(alpha, 5, 1, 2)
    thin = F.max_pool2d(alpha, 3, 1, 1)
    grown = torch.where((torch.rand(n, generator=chance) < 0.5)[:, None, None, None], wide, thin)
    ink = uniform(n * 3, 0, 0.25, chance).view(n, 3, 1, 1)
    inner = (torch.rand(n, generator=chance) < 0.6).float()[:, None, None, None]
    lines = _edges(layer) * inner * alpha
    rgb = layer[:, :3] * (1 - lines) + ink * lines + ink * (grown - alpha)
    return torch.cat([rgb, grown], 1)


def cartoon(layer: Tensor, chance: torch.Generator) -> Tensor:
    """A few flat colours with a thick dark line around each, as comics are inked: (N, 4, S, S)."""
    n = len(layer)
    alpha = layer[:, 3:]
    soft = F.avg_pool2d(layer, 3, 1, 1)
    colour = (soft[:, :3] / soft[:, 3:].clamp_min(1e-2)).clamp(0, 1)
    levels = uniform(n, 1.6, 4, chance)[:, None, None, None]
    phase = uniform(n * 3, -0.3, 0.3, chance).view(n, 3, 1, 1)
    flat = (((colour * levels + phase).round() - phase) / levels).clamp(0, 1)
    steps = F.max_pool2d(flat, 3, 1, 1) - -F.max_pool2d(-flat, 3, 1, 1)
    lines = (steps.amax(1, keepdim=True) > 0.12).float() * alpha
    inner = uniform(n, 0, 1.3, chance).clamp(max=1)[:, None, None, None]
    wide = (torch.rand(n, generator=chance) < 0.5)[:, None, None, None]
    grown = torch.where(wide, F.max_pool2d(alpha, 5, 1, 2), F.max_pool2d(alpha, 3, 1, 1))
    core = -F.max_pool2d(-alpha, 3, 1, 1)
    ink = uniform(n * 3, 0, 0.15, chance).view(n, 3, 1, 1)
    line = torch.maximum(lines * inner, grown - core)
    return torch.cat([flat * (grown - line).clamp_min(0) + ink * line, grown], 1)


def _line_drawing(layer: Tensor, chance: torch.Generator) -> Tensor:
    """Only the contours, on white or pale paper cut to the silhouette (or on nothing)."""
    n = len(layer)
    alpha = layer[:, 3:]
    lines = F.max_pool2d(_edges(layer), 2, 1, 1)[..., : layer.shape[-2], : layer.shape[-1]]
    ink = uniform(n * 3, 0, 0.3, chance).view(n, 3, 1, 1)
    paper = uniform(n * 3, 0.8, 1, chance).view(n, 3, 1, 1)
    filled = (torch.rand(n, generator=chance) < 0.7).float()[:, None, None, None]
    below = alpha * filled * (1 - lines)
    return torch.cat([ink * lines + paper * below, lines + below], 1)


def backgrounds(
    n: int, chance: torch.Generator, *, photos: Tensor | None = None, plain: float = 0.7
) -> Tensor:
    """Backgrounds (n, 3, S, S): white, plain, gradient, texture, and of `photos` (uint8 NCHW).

    `plain` is the share of white and plain ones.
    """
    base = torch.rand(n, 3, generator=chance)
    pale = torch.rand(n, generator=chance) < 0.5
    base = torch.where(pale[:, None], 0.75 + 0.25 * base, base)
    white = torch.rand(n, generator=chance) < 0.6
    base = torch.where(white[:, None], torch.ones(()), base)
    result = base[:, :, None, None].expand(n, 3, CANVAS, CANVAS).clone()
    kind = torch.rand(n, generator=chance)
    rest = 1 - plain
    pick = ((kind > plain) & (kind <= plain + rest * 0.4)).nonzero()[:, 0]
    ends = torch.rand(len(pick), 2, 3, generator=chance)
    angle = uniform(len(pick), 0, 2 * math.pi, chance)
    line = torch.linspace(-0.7, 0.7, CANVAS)
    ramp = line[None, None] * torch.cos(angle)[:, None, None]
    ramp = (ramp + line[None, :, None] * torch.sin(angle)[:, None, None] + 0.5).clamp(0, 1)
    result[pick] = ends[:, 0, :, None, None] * ramp[:, None] + ends[:, 1, :, None, None] * (
        1 - ramp[:, None]
    )
    pick = ((kind > plain + rest * 0.4) & (kind <= plain + rest * 0.7)).nonzero()[:, 0]
    coarse = torch.rand(len(pick), 3, 6, 6, generator=chance)
    texture = F.interpolate(coarse, size=(CANVAS, CANVAS), mode="bilinear", align_corners=False)
    mix = uniform(len(pick), 0.1, 0.7, chance)[:, None, None, None]
    result[pick] = result[pick] * (1 - mix) + texture * mix
    if photos is not None and len(photos):
        pick = (kind > plain + rest * 0.7).nonzero()[:, 0]
        chosen = torch.randint(len(photos), (len(pick),), generator=chance)
        fade = uniform(len(pick), 0.0, 0.6, chance)[:, None, None, None]
        result[pick] = photos[chosen].float() / 255 * (1 - fade) + fade
    return result


def finish(pictures: Tensor, strength: float, chance: torch.Generator) -> Tensor:
    """What cameras and files do to whole pictures (N, 3, S, S): soften, coarsen, light, noise."""
    n = len(pictures)
    pictures = pictures.clone()
    pick = _some(n, 0.15 * strength, chance)
    if len(pick):
        pictures[pick] = F.avg_pool2d(F.pad(pictures[pick], (1, 1, 1, 1), mode="replicate"), 3, 1)
    pick = _some(n, 0.10 * strength, chance)
    if len(pick):
        coarse = F.avg_pool2d(pictures[pick], 2)
        pictures[pick] = F.interpolate(coarse, scale_factor=2, mode="bilinear")
    pick = _some(n, 0.3 * strength, chance)
    gain = 1 + uniform(len(pick) * 3, -0.15, 0.15, chance).view(-1, 3, 1, 1)
    pictures[pick] = (
        pictures[pick] * gain + uniform(len(pick), -0.08, 0.08, chance)[:, None, None, None]
    )
    pick = _some(n, 0.25 * strength, chance)
    amount = uniform(len(pick), 0.005, 0.05, chance)[:, None, None, None]
    pictures[pick] += torch.randn(pictures[pick].shape, generator=chance) * amount
    return pictures.clamp(0, 1)
