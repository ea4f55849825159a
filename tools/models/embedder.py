"""Pictures and texts as unit vectors of one space: CLIP, SigLIP and SigLIP 2 by the same code.

Knows nothing of labels, memory or thresholds.
"""

from collections.abc import Iterator, Sequence
from copy import copy
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import numpy as np
import torch
import transformers
from PIL import Image
from transformers import AutoModel
from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

from tools.images import Photo
from tools.models.adapting import merge_adapter
from tools.models.hardware import Hardware, choose_hardware, choose_threads, inference
from tools.models.loading import (
    input_side,
    load_model,
    load_processor,
    on_device,
    shrink,
    wrong_role,
)
from tools.models.roles import Features
from tools.models.sources import Located
from tools.shelf import Adapter
from tools.vocabulary import Vocabulary, read_vocabulary

__all__ = ["BACKGROUND", "TransformersEmbedder", "load_embedder"]

BACKGROUND = "background.npz"
"""The statistics of an embedder, beside its weights."""
_BATCH = 32
_Item = TypeVar("_Item")


def load_embedder(
    located: Located, hardware: Hardware | None = None, adapter: Adapter | None = None
) -> "TransformersEmbedder":
    """The embedder in ``located``, with ``adapter`` in its weights.

    Raises :class:`ModelFailed`, and :class:`TrainingFailed` for an adapter that does not fit.
    """
    # Asked of the class: a wrong model may be fourteen gigabytes.
    model_class: Any = getattr(transformers, str(MODEL_MAPPING_NAMES.get(located.model_type)), None)
    embeds = hasattr(model_class, "get_image_features") and hasattr(
        model_class, "get_text_features"
    )
    if not embeds or located.architecture not in ("", model_class.__name__):
        raise wrong_role(located, "embedder", "a CLIP, SigLIP or SigLIP 2 model")
    model = load_model(located, AutoModel, (hardware or choose_hardware()).for_vectors())
    embedder = TransformersEmbedder(located, model, load_processor(located))
    if adapter is not None:
        merge_adapter(model, adapter, located)
        embedder = embedder.changed(adapter.digest, adapter.folder / BACKGROUND)
    return embedder


class TransformersEmbedder:
    """Implements :class:`tools.models.roles.Embedder`; safe to use from several threads."""

    def __init__(self, located: Located, model: Any, processor: Any) -> None:
        self._located = located
        self.model = model
        self._images = processor.image_processor
        self._tokenizer = processor.tokenizer
        self._lock = Lock()
        self._threads = choose_threads(model)
        # SigLIP was trained on lower-case texts padded to its context, and without a mask.
        self._siglip = located.model_type.startswith("siglip")
        self._context = _context(model, self._tokenizer)
        self._side = input_side(self._images)
        self.id = located.id(str(getattr(self._images, "backend", "pil")))
        self.background_path: Path | None = located.folder / BACKGROUND
        """Where the weights keep their background statistics; the file may not exist."""

    @cached_property
    def logit_scale(self) -> float:
        """By which cosines are multiplied to be logits."""
        return float(self.model.logit_scale.detach().float().exp())

    @cached_property
    def logit_bias(self) -> float:
        """What is added to them: SigLIP's, else 0."""
        bias = getattr(self.model, "logit_bias", None)
        return 0.0 if bias is None else float(bias.detach())

    @cached_property
    def dimension(self) -> int:
        """Numbers of a vector."""
        return int(self.embed_texts(["a picture"]).shape[1])

    def embed_photos(self, photos: Sequence[Photo]) -> Features:
        """(n, d) unit vectors, float32."""
        batches = [self._photos(batch) for batch in _batches(photos)]
        return self._stack(batches)

    def embed_texts(self, texts: Sequence[str]) -> Features:
        """(n, d) unit vectors, float32. Texts longer than the model's context are cut."""
        batches = [self._texts(batch) for batch in _batches(texts)]
        return self._stack(batches)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Names shipped with the weights and their aliases; empty where none are."""
        return read_vocabulary(self._located.folder / "vocabulary.json")

    def changed(self, digest: str, background: Path | None = None) -> "TransformersEmbedder":
        """The same model once its weights have changed: another id, and statistics of its own.

        ``digest``: 8 hexadecimal digits or more that name the change.
        """
        name, _, weights = self.id.rpartition("-")
        found = copy(self)
        found.id = f"{name[:22].rstrip('-')}-{weights}-{digest[:8]}"
        found.background_path = background
        return found

    def picture_inputs(self, images: Sequence[Image.Image]) -> Any:
        """What the model is given of pictures."""
        shown = [shrink(image, self._side) for image in images]
        return self._images(images=shown, return_tensors="pt")

    def _photos(self, photos: Sequence[Photo]) -> Features:
        inputs = self.picture_inputs([photo.image for photo in photos])
        return self._forward(self.model.get_image_features, inputs)

    def _texts(self, texts: Sequence[str]) -> Features:
        return self._forward(self.model.get_text_features, self.text_inputs(texts))

    def text_inputs(self, texts: Sequence[str]) -> Any:
        """What the model is given of texts."""
        inputs = self._tokenizer(
            [text.lower() for text in texts] if self._siglip else list(texts),
            padding="max_length" if self._siglip else True,
            max_length=self._context,
            truncation=True,
            return_attention_mask=not self._siglip,
            return_tensors="pt",
        )
        inputs.pop("token_type_ids", None)
        return inputs

    def _forward(self, method: Any, inputs: Any) -> Features:
        with self._lock, inference(self._threads):
            features = method(**on_device(inputs, self.model)).pooler_output.float()
            unit = torch.nn.functional.normalize(features, dim=-1)
        return unit.cpu().numpy()

    def _stack(self, batches: list[Features]) -> Features:
        if not batches:
            return np.zeros((0, self.dimension), dtype=np.float32)
        return np.concatenate(batches)


def _batches(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]


def _context(model: Any, tokenizer: Any) -> int:
    """Tokens of a text the model can see: its position table, or less if the tokenizer says so."""
    positions = int(model.config.text_config.max_position_embeddings)
    return min(positions, int(tokenizer.model_max_length))
