"""A sentence about a picture: BLIP, and the models that caption without a prompt (BLIP-2, GIT).

Knows nothing of questions or conversations.
"""

from collections.abc import Callable, Sequence
from threading import Event, Lock
from typing import Any

from PIL import Image

from tools.images import Photo
from tools.models.adapting import merge_adapter
from tools.models.generation import generate_several, generate_text, greedy
from tools.models.hardware import Hardware, choose_hardware, choose_threads, inference
from tools.models.loading import (
    input_side,
    load_model,
    load_processor,
    on_device,
    shrink,
    wrong_role,
)
from tools.models.sources import Located
from tools.shelf import Adapter

__all__ = ["TransformersCaptioner", "load_captioner"]

_TYPES = ("blip", "blip-2", "git")
_MAX_NEW_TOKENS = 32


def load_captioner(
    located: Located, hardware: Hardware | None = None, adapter: Adapter | None = None
) -> "TransformersCaptioner":
    """The captioner in ``located``, with ``adapter`` in its weights.

    Raises :class:`ModelFailed`, and :class:`TrainingFailed` for an adapter that does not fit.
    """
    if located.model_type not in _TYPES or located.architecture == "BlipForQuestionAnswering":
        raise wrong_role(located, "captioner", "a BLIP, BLIP-2 or GIT captioning model")
    from transformers import AutoModelForImageTextToText

    model = load_model(located, AutoModelForImageTextToText, hardware or choose_hardware())
    if adapter is not None:
        merge_adapter(model, adapter, located)
    return TransformersCaptioner(located, model, load_processor(located))


class TransformersCaptioner:
    """Implements :class:`tools.models.roles.Captioner`; one caption at a time."""

    def __init__(self, located: Located, model: Any, processor: Any) -> None:
        self.model = model
        self.tokenizer = processor.tokenizer
        self._images = processor.image_processor
        self._side = input_side(self._images)
        self._lock = Lock()
        self._threads = choose_threads(model)
        self.id = located.id()
        greedy(model)

    def inputs(self, images: Sequence[Image.Image]) -> Any:
        """What the model is given of pictures."""
        shown = [shrink(image, self._side) for image in images]
        return self._images(images=shown, return_tensors="pt")

    def caption(
        self,
        photo: Photo,
        *,
        on_token: Callable[[str], None] | None = None,
        stop: Event | None = None,
    ) -> str:
        """One sentence; ``on_token`` gets its text piece by piece; ``stop`` ends it early."""
        inputs = self.inputs([photo.image])
        with self._lock, inference(self._threads):
            return generate_text(
                self.model,
                self.tokenizer,
                on_device(inputs, self.model),
                max_new_tokens=_MAX_NEW_TOKENS,
                on_token=on_token,
                stop=stop,
            )

    def captions(self, photo: Photo, count: int, *, stop: Event | None = None) -> list[str]:
        """Up to ``count`` different sentences by beam search, likeliest first."""
        inputs = self.inputs([photo.image])
        with self._lock, inference(self._threads):
            return generate_several(
                self.model,
                self.tokenizer,
                on_device(inputs, self.model),
                count=count,
                max_new_tokens=_MAX_NEW_TOKENS,
                stop=stop,
            )
