"""Small changes to a training picture: crop, rotation, colour, noise, and a mirror when asked.

Each change depends on the seed, the view and the picture's number alone, so that a run that goes on
after a stop shows the same pictures. Knows nothing of models.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from finetune.settings.schema import AugmentationSettings
from finetune.training.collate import Change

__all__ = ["augmentation"]

_ENHANCERS = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)


def augmentation(settings: AugmentationSettings, seed: int) -> Change | None:
    """The change of pictures that ``settings`` ask for; None when nothing is changed."""
    return _Augmentation(settings, seed) if any(settings.model_dump().values()) else None


@dataclass(frozen=True)
class _Augmentation:
    """A :data:`finetune.training.collate.Change`."""

    settings: AugmentationSettings
    seed: int

    def __call__(self, image: Image.Image, view: int, number: int) -> Image.Image:
        rng = np.random.default_rng((self.seed, view, number))
        return _changed(image, self.settings, rng)


def _changed(
    image: Image.Image, settings: AugmentationSettings, rng: np.random.Generator
) -> Image.Image:
    if settings.rotation:
        angle = float(rng.uniform(-settings.rotation, settings.rotation))
        image = image.rotate(angle, Image.Resampling.BICUBIC, fillcolor=_edge(image))
    if settings.crop:
        width, height = image.size
        left, right = rng.uniform(0, settings.crop / 2, 2) * width
        top, bottom = rng.uniform(0, settings.crop / 2, 2) * height
        box = (left, top, width - right, height - bottom)
        image = image.resize(image.size, Image.Resampling.BICUBIC, box=box)
    if settings.flip and rng.random() < 0.5:
        image = ImageOps.mirror(image)
    if settings.colour:
        for enhancer in _ENHANCERS:
            factor = 1 + float(rng.uniform(-settings.colour, settings.colour))
            image = enhancer(image).enhance(factor)
    if settings.noise:
        pixels = np.asarray(image, np.float64)
        pixels = pixels + rng.normal(0, 255 * settings.noise, pixels.shape)
        image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    return image


def _edge(image: Image.Image) -> tuple[int, int, int]:
    """The colour of the border, for the corners that a rotation leaves empty."""
    pixels = np.asarray(image)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    red, green, blue = np.median(border, axis=0).astype(int)
    return int(red), int(green), int(blue)
