"""A second embedder that sees only pictures (DINOv2, DINOv3, ViT) beside one that reads too.

Their vectors are laid end to end, so everything else takes the pair for one embedder. No weight
between the two is asked for: recognition weighs directions by what they told of things when the
pair was measured (:mod:`tools.background`), which no scaling of one half can change much.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from transformers import AutoModel

from tools.images import Photo
from tools.models.hardware import Hardware, choose_hardware, choose_threads, inference
from tools.models.loading import (
    input_side,
    load_image_processor,
    load_model,
    on_device,
    shrink,
    wrong_role,
)
from tools.models.roles import Embedder, Features
from tools.models.sources import SIGHT_ONLY, Located
from tools.vocabulary import Vocabulary

__all__ = ["ImageEmbedder", "PairedEmbedder", "load_image_embedder"]

_BATCH = 32
_HALF = float(np.sqrt(0.5))


def load_image_embedder(located: Located, hardware: Hardware | None = None) -> "ImageEmbedder":
    """The model of pictures alone in ``located``. Raises :class:`ModelFailed`."""
    if located.model_type not in SIGHT_ONLY:
        raise wrong_role(located, "second embedder", "a DINOv2, DINOv3 or ViT model")
    model = load_model(located, AutoModel, (hardware or choose_hardware()).for_vectors())
    return ImageEmbedder(located, model, load_image_processor(located))


class ImageEmbedder:
    """Unit vectors of pictures from a vision transformer's class token. Thread-safe."""

    def __init__(self, located: Located, model: Any, images: Any) -> None:
        self._model, self._images = model, images
        self._lock = Lock()
        self._threads = choose_threads(model)
        self._side = input_side(images)
        self.id = located.id(str(getattr(images, "backend", "pil")))
        self.dimension = int(model.config.hidden_size)

    def embed_photos(self, photos: Sequence[Photo]) -> Features:
        """(n, d) unit vectors, float32."""
        rows = [np.zeros((0, self.dimension), np.float32)]
        for start in range(0, len(photos), _BATCH):
            images = [shrink(p.image, self._side) for p in photos[start : start + _BATCH]]
            inputs = self._images(images=images, return_tensors="pt")
            with self._lock, inference(self._threads):
                out = self._model(**on_device(inputs, self._model))
                token = out.last_hidden_state[:, 0].float()
                rows.append(torch.nn.functional.normalize(token, dim=-1).cpu().numpy())
        return np.concatenate(rows)


class PairedEmbedder:
    """Implements :class:`tools.models.roles.Embedder` with d = d₁ + d₂.

    Texts have no second half, so their cosines with pictures are √½ of the first embedder's; the
    logit scale makes up for it.
    """

    def __init__(self, first: Embedder, second: ImageEmbedder) -> None:
        self._first, self._second = first, second
        both = hashlib.sha256(f"{first.id}|{second.id}".encode()).hexdigest()
        joined = f"{first.id[:15]}-{second.id[:15]}-{both[:8]}"
        self.id = re.sub(r"-+", "-", joined)
        self.dimension = first.dimension + second.dimension
        self.logit_scale = first.logit_scale / _HALF
        self.logit_bias = float(getattr(first, "logit_bias", 0.0))

    @property
    def vocabulary(self) -> Vocabulary:
        """The first embedder's names."""
        return tuple(self._first.vocabulary)

    @property
    def background_path(self) -> Path | None:
        """None: what lies beside one's weights does not describe the pair."""
        return None

    def embed_photos(self, photos: Sequence[Photo]) -> Features:
        """(n, d₁ + d₂) unit vectors, float32."""
        halves = self._first.embed_photos(photos), self._second.embed_photos(photos)
        return np.concatenate(halves, axis=1) * np.float32(_HALF)

    def embed_texts(self, texts: Sequence[str]) -> Features:
        """(n, d₁ + d₂) unit vectors, float32, zero in the second half."""
        first = self._first.embed_texts(texts)
        return np.pad(first, ((0, 0), (0, self._second.dimension)))
