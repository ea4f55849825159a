"""The door for pictures: everything odd is opened right or refused in one sentence."""

import base64
import io
import struct
import zlib
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.fakes import drawing
from tools.errors import PhotoError
from tools.fetch import fetch_bytes
from tools.images import MAX_BYTES, STORED_SIDE, Photo, open_photo


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


def assert_refused(source: object, *words: str) -> str:
    """The refusal of ``source``: one sentence that has ``words``."""
    with pytest.raises(PhotoError) as caught:
        open_photo(source)
    text = str(caught.value)
    assert "\n" not in text and text.endswith(".")
    for word in words:
        assert word in text, text
    return text


def test_the_same_pixels_have_the_same_id_however_they_come(tmp_path: Path) -> None:
    image = drawing()
    path = tmp_path / "zorb.png"
    path.write_bytes(encoded(image))
    uri = "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
    sources = [image, path, str(path), path.read_bytes(), path.open("rb"), uri]
    photos = [open_photo(s) for s in sources]
    sources[4].close()  # type: ignore[union-attr]
    assert len({p.id for p in photos}) == 1
    assert open_photo(photos[0].png()).id == photos[0].id
    assert open_photo(drawing(jitter=1)).id != photos[0].id


def test_other_modes_become_upright_rgb_without_metadata() -> None:
    red = drawing()
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90°
    exif.get_ifd(0x8825)[2] = (48.0, 8.0, 16.0)  # GPS latitude
    wide = red.resize((64, 32))
    turned = open_photo(encoded(wide, "JPEG", exif=exif))
    assert turned.size == (32, 64)
    assert b"Exif" not in turned.png() and not turned.image.info
    for mode, kind in [("CMYK", "JPEG"), ("L", "PNG"), ("1", "PNG"), ("RGBA", "PNG"), ("P", "GIF")]:
        photo = open_photo(encoded(red.convert(mode), kind))
        assert photo.image.mode == "RGB"
    cmyk = open_photo(encoded(red.convert("CMYK"), "JPEG"))
    assert np.abs(np.asarray(cmyk.image, int)[32, 32] - [220, 40, 40]).max() < 12


def test_16_bit_is_scaled_and_transparency_lies_on_white() -> None:
    ramp = (np.arange(64 * 64).reshape(64, 64) * 8).astype(np.uint16)
    photo = open_photo(encoded(Image.fromarray(ramp)))
    assert np.asarray(photo.image).max() == 127
    clear = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    assert np.asarray(open_photo(encoded(clear)).image).min() == 255
    palette = clear.convert("P")
    palette.info["transparency"] = palette.getpixel((0, 0))
    assert np.asarray(open_photo(encoded(palette, transparency=0)).image).min() == 255


def test_an_animation_gives_its_first_frame_and_says_so() -> None:
    data = encoded(
        drawing("red"), "GIF", save_all=True, append_images=[drawing("blue")], duration=50
    )
    photo = open_photo(data)
    assert np.asarray(photo.image)[32, 32, 0] > 150
    assert photo.notes and "first frame" in photo.notes[0]


def test_a_large_photo_is_scaled_at_the_door() -> None:
    photo = open_photo(encoded(drawing(side=3000), "JPEG"))
    assert max(photo.size) == STORED_SIDE


def test_what_is_no_picture_is_refused_in_a_sentence(tmp_path: Path) -> None:
    good = encoded(drawing(side=256))
    text = tmp_path / "notes.png"
    text.write_text("this is not a picture")
    assert_refused(b"", "0 bytes")
    assert_refused(text, "notes.png", "not a picture")
    assert_refused(good[: len(good) // 2], "damaged or cut off")
    assert_refused(encoded(drawing(), "JPEG")[:400], "damaged or cut off")
    assert_refused(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG")
    assert_refused(b"<?xml version='1.0'?><svg/>", "SVG")
    assert_refused(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC")
    assert_refused(b"\0\0\0\x18ftypavif\0\0\0\0mif1avif", "AVIF")
    assert_refused(encoded(drawing(), "TIFF"), "PNG, JPEG")
    assert_refused(encoded(Image.new("RGB", (1, 1))), "too small", "1×1")
    assert_refused(png_header(20_000, 20_000), "megapixels")
    assert_refused(png_header(13_000, 100), "13000")
    assert_refused(b"x" * (MAX_BYTES + 1), "too large")
    assert_refused(tmp_path, str(tmp_path.name))
    assert_refused(tmp_path / "nothing.png", "nothing.png")
    assert_refused("a\0b.png", "can't be read")
    assert_refused(42, "int")
    assert_refused("data:image/png;base64,!!!", "damaged")
    assert_refused("data:text/plain,hello", "base64")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x.png",
        "http://localhost:80/x.png",
        "http://[::1]/x.png",
        "http://10.1.2.3/x.png",
        "http://169.254.169.254/latest/meta-data",
        "http://0.0.0.0/x.png",
        "http://[::ffff:127.0.0.1]/x.png",
        "http://2130706433/x.png",
    ],
)
def test_a_private_address_is_not_fetched(url: str) -> None:
    assert_refused(url, "private address")


def test_other_schemes_are_refused() -> None:
    assert_refused("file:///etc/passwd", "http")
    assert_refused("ftp://example.org/x.png", "http")


def answering(*responses: httpx.Response) -> httpx.MockTransport:
    queue = list(responses)
    return httpx.MockTransport(lambda request: queue.pop(0))


def test_a_public_address_is_fetched_by_its_checked_ip_under_its_name() -> None:
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, content=b"bytes")

    # 8.8.8.8 is written out, so that nothing is looked up.
    got = fetch_bytes("http://8.8.8.8/x.png", limit=10, transport=httpx.MockTransport(handle))
    assert got == b"bytes"
    assert seen[0].headers["host"] == "8.8.8.8" and seen[0].url.host == "8.8.8.8"


def test_a_redirect_into_the_private_network_is_refused() -> None:
    away = httpx.Response(302, headers={"location": "http://127.0.0.1/secret"})
    with pytest.raises(PhotoError, match="private address"):
        fetch_bytes("http://8.8.8.8/x.png", limit=10, transport=answering(away))


def test_a_fetch_has_limits() -> None:
    with pytest.raises(PhotoError, match="larger than"):
        fetch_bytes(
            "http://8.8.8.8/x", limit=5, transport=answering(httpx.Response(200, content=b"x" * 9))
        )
    with pytest.raises(PhotoError, match="404"):
        fetch_bytes("http://8.8.8.8/x", limit=5, transport=answering(httpx.Response(404)))
    around = [httpx.Response(302, headers={"location": "/again"}) for _ in range(9)]
    with pytest.raises(PhotoError, match="redirects"):
        fetch_bytes("http://8.8.8.8/x", limit=5, transport=answering(*around))


def test_photos_compare_by_content() -> None:
    assert open_photo(drawing()) == open_photo(drawing())
    assert len({open_photo(drawing()), open_photo(drawing()), open_photo(drawing("blue"))}) == 2
    assert isinstance(open_photo(drawing()), Photo)
