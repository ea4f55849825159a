"""A caption is said when the captioner and the embedder agree, and otherwise not."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tools.describing import NAMELESS, describe
from tools.images import open_photo
from tools.sight import Sight

BLANK = open_photo(Image.new("RGB", (64, 64)))


def _sight(captions: Sequence[str], likely: str | None, own: bool = True) -> Any:
    """Eyes whose captioner proposes ``captions``; the embedder likes the last best, and is sure of
    ``likely``."""
    return SimpleNamespace(
        models=SimpleNamespace(
            captioner=SimpleNamespace(captions=lambda photo, count, stop: list(captions[:count]))
        ),
        vector=lambda photo: np.ones(1, np.float32),
        embedder=SimpleNamespace(
            embed_texts=lambda texts: np.arange(len(texts), dtype=np.float32)[:, None],
            vocabulary=[(f"thing {n}", ()) for n in range(100 if own else 99)],
        ),
        sure_name=lambda vector: likely,
    )


@pytest.mark.parametrize(
    ("captions", "likely", "said"),
    [
        # the embedder is sure, and the caption says so too: all of the caption
        (["a cat", "a red duck on a blue background"], "duck",
         "a red duck on a blue background"),
        # sure of something else
        (["a cat"], "apple", "an apple"),
        # of one thing, and not sure: no name at all
        (["a cat"], None, NAMELESS),
        # nor of several things that could not be looked at one by one
        (["two red ducks and a cat"], None, NAMELESS),
        (["two red ducks and a cat"], "apple", "an apple"),
        ([], "duck", ""),
    ],
)  # fmt: skip
def test_what_is_said(captions: list[str], likely: str | None, said: str) -> None:
    assert describe(_sight(captions, likely), BLANK) == said


def test_without_many_names_of_its_own_the_embedder_only_chooses() -> None:
    sight = _sight(["a cat", "a dog on a sofa"], "duck", own=False)
    assert describe(sight, BLANK) == "a dog on a sofa"


def test_unsure_of_the_name_it_says_the_word_that_the_likeliest_names_share() -> None:
    names = [("one o'clock", ("clock",)), ("two o'clock", ("clock",)), ("red apple", ())]
    names += [(f"thing {n}", ()) for n in range(20)]
    vectors = np.eye(len(names), dtype=np.float32)

    def said(*cosines: float, other: tuple[float, ...] | None = None) -> str | None:
        embedder = SimpleNamespace(
            vocabulary=names, embed_texts=lambda texts: vectors[: len(texts)], logit_scale=10.0
        )
        sight = Sight(SimpleNamespace(embedder=embedder))  # type: ignore[arg-type]
        views = [v for v in (cosines, other) if v is not None]
        return sight.sure_name(*(np.array([*v, *[0.0] * 20], np.float32) for v in views))

    assert said(0.5, 0.0, 0.0) == "one o'clock"
    assert said(0.16, 0.15, 0.0) == "clock", "each at a sixth"
    assert said(0.0, 0.0, 0.16) is None, "a sixth, and no other apple"
    assert said(0.0, 0.0, 0.0) is None
    assert said(0.3, 0.0, 0.0) == said(0.3, 0.0, 0.0, other=(0.3, 0.0, 0.0)) == "one o'clock"
    assert said(0.3, 0.0, 0.0, other=(0.0, 0.0, 0.3)) == "clock", "seen again, it is an apple"
