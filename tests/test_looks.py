"""How a picture is drawn: what tells a photo from a drawing of the same thing."""

import numpy as np
from PIL import Image, ImageDraw

from tools.images import Photo
from tools.looks import LOOKS, with_looks


def _looks(image: Image.Image) -> np.ndarray:
    (row,) = with_looks(np.zeros((1, 3), np.float32), [Photo(image)])
    assert row.shape == (3 + LOOKS,) and row.dtype == np.float32
    assert not row[:3].any(), "the vector stands before the looks"
    return row[3:]


def _drawn(side: int) -> Image.Image:
    image = Image.new("RGB", (side, side), "white")
    ImageDraw.Draw(image).ellipse([side // 4] * 2 + [3 * side // 4] * 2, fill=(200, 30, 40))
    return image


def _grained(image: Image.Image, amount: float) -> Image.Image:
    grain = np.random.default_rng(0).normal(0, amount, (*image.size, 3))
    return Image.fromarray((np.asarray(image) + grain).clip(0, 255).astype(np.uint8))


def test_each_number_lies_between_nothing_and_all() -> None:
    grain = _grained(Image.new("RGB", (64, 64), (128, 128, 128)), 200)
    for image in (
        Image.new("RGB", (64, 64)),
        _drawn(64),
        grain,
        Image.new("L", (5, 5)).convert("RGB"),
    ):
        found = _looks(image)
        assert ((found >= 0) & (found <= 1)).all(), found


def test_grain_is_less_flat_rougher_and_busier_at_the_rim() -> None:
    plain, grained = _looks(_drawn(64)), _looks(_grained(_drawn(64), 25))
    assert (grained[:3] < plain[:3] - 0.2).all(), "neighbours differ"
    assert (grained[3:9] > plain[3:9]).all(), "steps, roughness and rim"
    assert grained[10] > plain[10], "colours"


def test_the_size_it_was_sent_in_hardly_matters() -> None:
    small, large = _looks(_drawn(64)), _looks(_drawn(512))
    assert np.abs(small - large).max() < 0.1


def test_a_picture_of_a_line_has_looks_too() -> None:
    for size in ((1, 1), (1, 64), (300, 1), (2, 3)):
        assert np.isfinite(_looks(Image.new("RGB", size, "red"))).all()


def test_no_pictures_no_rows() -> None:
    assert with_looks(np.zeros((0, 4), np.float32), []).shape == (0, 4 + LOOKS)
