"""A caption is said when the captioner and the embedder agree, and otherwise not."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tools.artifacts import Candidate
from tools.describing import NAMELESS, describe, things_in
from tools.images import open_photo
from tools.sight import SURE

BLANK = open_photo(Image.new("RGB", (64, 64)))


def _sight(captions: Sequence[str], likely: Sequence[tuple[str, float]], own: bool = True) -> Any:
    """Eyes whose captioner proposes ``captions``, of which the embedder likes the last one best."""
    return SimpleNamespace(
        models=SimpleNamespace(
            captioner=SimpleNamespace(captions=lambda photo, count, stop: list(captions[:count]))
        ),
        vector=lambda photo: np.ones(1, np.float32),
        embedder=SimpleNamespace(
            embed_texts=lambda texts: np.arange(len(texts), dtype=np.float32)[:, None],
            vocabulary=[(f"thing {n}", ()) for n in range(100 if own else 99)],
        ),
        name=lambda vector, count: [Candidate(n, p) for n, p in likely[:count]],
    )


@pytest.mark.parametrize(
    ("captions", "likely", "said"),
    [
        # the embedder is sure, and the caption says so too: all of the caption
        (["a cat", "a red duck on a blue background"], [("duck", SURE)],
         "a red duck on a blue background"),
        # sure of something else
        (["a cat"], [("apple", SURE + 0.1), ("cat", 0.05)], "an apple"),
        # of one thing, and not sure: no name at all
        (["a cat"], [("cat", SURE - 0.01)], NAMELESS),
        # of several things the captioner alone can speak
        (["two red ducks and a cat"], [("apple", SURE - 0.1)], "two red ducks and a cat"),
        (["two red ducks and a cat"], [("apple", SURE + 0.1)], "an apple"),
        ([], [("duck", 0.9)], ""),
    ],
)  # fmt: skip
def test_what_is_said(captions: list[str], likely: list[tuple[str, float]], said: str) -> None:
    assert describe(_sight(captions, likely), BLANK) == said


def test_without_many_names_of_its_own_the_embedder_only_chooses() -> None:
    sight = _sight(["a cat", "a dog on a sofa"], [("duck", 0.9)], own=False)
    assert describe(sight, BLANK) == "a dog on a sofa"


def test_a_caption_is_taken_apart() -> None:
    assert things_in("two red apples and a cat on a blue background") == ["two red apples", "a cat"]
    assert things_in("a box to the left of a sand castle") == ["a box", "a sand castle"]
    assert things_in("a cup, a hat, and a door") == ["a cup", "a hat", "a door"]
