"""The roles a model can play, as protocols: what the tools need, and all that they may use.

Knows nothing of transformers or torch, so anything may import it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tools.images import Photo

__all__ = ["Answerer", "Captioner", "Embedder", "Features"]

Features = NDArray[np.float32]


class Embedder(Protocol):
    """Pictures and texts as unit vectors of one space (CLIP, SigLIP)."""

    @property
    def id(self) -> str:
        """Names these weights and their preprocessing; 3–40 characters of ``[a-z0-9-]``."""

    @property
    def dimension(self) -> int:
        """Length d of a vector."""

    @property
    def logit_scale(self) -> float:
        """What a cosine is multiplied by before a softmax over texts (100 for CLIP)."""

    @property
    def vocabulary(self) -> Sequence[tuple[str, tuple[str, ...]]]:
        """Names the embedder was trained on, each with its aliases; may be empty."""

    @property
    def background_path(self) -> Path | None:
        """Where its statistics (:mod:`tools.background`) lie, or would lie."""

    def embed_photos(self, photos: Sequence[Photo]) -> Features:
        """(n, d) unit vectors, float32."""

    def embed_texts(self, texts: Sequence[str]) -> Features:
        """(n, d) unit vectors, float32. Texts longer than the model's context are cut."""


class Captioner(Protocol):
    """Describes a picture (BLIP)."""

    @property
    def id(self) -> str:
        """Names these weights."""

    def caption(
        self,
        photo: Photo,
        *,
        on_token: Callable[[str], None] | None = None,
        stop: Event | None = None,
    ) -> str:
        """One sentence; ``on_token`` gets its text piece by piece; ``stop`` ends it early."""

    def captions(self, photo: Photo, count: int, *, stop: Event | None = None) -> list[str]:
        """Up to ``count`` different sentences, likeliest first; [] when stopped at once."""


class Answerer(Protocol):
    """Answers a question about a picture (LLaVA, SmolVLM)."""

    @property
    def id(self) -> str:
        """Names these weights."""

    @property
    def takes_examples(self) -> bool:
        """Whether a question may come with examples: questions on other pictures, and answers."""

    @property
    def words(self) -> frozenset[str]:
        """All words and names that it can read beside small words; empty for any there are."""

    def answer(
        self,
        photo: Photo,
        question: str,
        *,
        on_token: Callable[[str], None] | None = None,
        stop: Event | None = None,
    ) -> str:
        """The answer's text; ``on_token`` gets it piece by piece; ``stop`` ends it early."""
