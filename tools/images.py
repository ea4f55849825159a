"""The one door for pictures: whatever is given becomes a verified, upright RGB :class:`Photo`.

Knows nothing of models, memory or the network (:mod:`tools.fetch` brings what a URL names).
A file is read only as one of the formats below, whatever it is called, and nothing of its
metadata (EXIF, GPS, comments) is kept.
"""

import base64
import binascii
import hashlib
import io
import re
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from tools.errors import PhotoError

__all__ = ["MAX_BYTES", "MAX_PIXELS", "MAX_SIDE", "MIN_SIDE", "STORED_SIDE", "Photo", "open_photo"]

MAX_BYTES = 15_000_000
MAX_PIXELS = 40_000_000
MAX_SIDE = 12_000
MIN_SIDE = 8
STORED_SIDE = 1280  # no model here looks at more; larger pictures are scaled down at the door
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
_ACCEPTED = "PNG, JPEG, WebP, GIF or BMP"
_BACKGROUND = (255, 255, 255)
_DATA_URI = re.compile(r"data:(?P<type>[\w.+/-]*)(?:;[\w=.-]+)*?;base64,(?P<body>.*)", re.S)


@dataclass(frozen=True, eq=False)
class Photo:
    """An opened, verified, upright RGB picture, at most ``STORED_SIDE`` on its longer side.

    ``notes`` says, in whole sentences for the user, what was done to it (first frame only…).
    Two photos are equal when their pixels are.
    """

    image: Image.Image
    notes: tuple[str, ...] = field(default=())

    @cached_property
    def id(self) -> str:
        """sha256 of the size and the RGB pixels, 64 hexadecimal digits."""
        width, height = self.image.size
        return hashlib.sha256(b"%dx%d:" % (width, height) + self.image.tobytes()).hexdigest()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.size

    def png(self) -> bytes:
        """The picture as PNG, lossless, without metadata; opening it gives the same id."""
        out = io.BytesIO()
        self.image.save(out, format="PNG", compress_level=1)
        return out.getvalue()

    def thumbnail(self, side: int = 160) -> Image.Image:
        """A copy that fits a square of ``side`` pixels."""
        copy = self.image.copy()
        copy.thumbnail((side, side))
        return copy

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Photo) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"Photo({self.id[:8]}, {self.size[0]}x{self.size[1]})"


def open_photo(source: Any, *, name: str | None = None) -> Photo:
    """Open a path, bytes, a binary file, a PIL image, a ``data:`` URI or an http(s) URL.

    ``name`` is what messages call the picture. Raises :class:`PhotoError`, whose text is one
    sentence: what is wrong with it, and what to do.
    """
    if isinstance(source, Photo):
        return source
    if isinstance(source, Image.Image):
        return _checked(source, name or "this picture")
    if isinstance(source, bytes | bytearray | memoryview):
        return _decode(bytes(source), name or "this picture")
    if isinstance(source, str):
        if source.startswith("data:"):
            return _decode(_data_uri(source), name or "this data: URI")
        if re.match(r"https?://", source, re.I):
            from tools.fetch import fetch_bytes  # httpx is needed for URLs only

            return _decode(fetch_bytes(source, limit=MAX_BYTES), name or source[:80])
        if re.match(r"[a-z][a-z0-9+.-]+://", source, re.I):
            raise PhotoError(
                f"I can't open {source[:80]!r}: give a file, or an http or https address."
            )
        return _from_path(Path(source), name)
    if isinstance(source, Path):
        return _from_path(source, name)
    if hasattr(source, "read"):
        return _from_file(source, name)
    raise PhotoError(
        f"A picture can't be made of {type(source).__name__}: "
        "give a path, bytes, a PIL image, a data: URI or an http(s) URL."
    )


def _from_path(path: Path, name: str | None) -> Photo:
    shown = name or path.name or str(path)
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise PhotoError(_too_many_bytes(shown, size))
        data = path.read_bytes()
    except FileNotFoundError as exc:
        raise PhotoError(f"There is no file {shown}: check its path.") from exc
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or exc
        raise PhotoError(f"{shown} can't be read ({reason}): check the path.") from exc
    return _decode(data, shown)


def _from_file(file: IO[bytes], name: str | None) -> Photo:
    data = file.read(MAX_BYTES + 1)
    if not isinstance(data, bytes):
        raise PhotoError("The file is open as text: open it in binary mode ('rb').")
    return _decode(data, name or "this file")


def _data_uri(uri: str) -> bytes:
    match = _DATA_URI.match(uri)
    if not match:
        raise PhotoError(
            "The data: URI holds no base64 picture: send data:image/png;base64 and the picture."
        )
    try:
        return base64.b64decode(match["body"], validate=True)
    except (binascii.Error, ValueError) as exc:
        raise PhotoError("The data: URI is damaged (not base64): send it again.") from exc


def _decode(data: bytes, name: str) -> Photo:
    if not data:
        raise PhotoError(f"{name} is empty (0 bytes): send the picture again.")
    if len(data) > MAX_BYTES:
        raise PhotoError(_too_many_bytes(name, len(data)))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd EXIF is not the user's business
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=_FORMATS)
            return _checked(image, name)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as exc:
        raise PhotoError(f"{name} has too many pixels: send one of at most 40 megapixels.") from exc
    except UnidentifiedImageError as exc:
        raise PhotoError(_not_a_picture(data, name)) from exc
    except OSError as exc:  # a header that ends too early
        raise PhotoError(_damaged(name)) from exc


def _checked(image: Image.Image, name: str) -> Photo:
    width, height = image.size
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise PhotoError(
            f"{name} is too large ({width}×{height}): send one of at most "
            f"{MAX_PIXELS // 1_000_000} megapixels, {MAX_SIDE:,} pixels on a side."
        )
    if min(width, height) < MIN_SIDE:
        raise PhotoError(
            f"{name} is too small to see anything in ({width}×{height}): "
            f"send one of at least {MIN_SIDE}×{MIN_SIDE} pixels."
        )
    notes: list[str] = []
    try:
        if getattr(image, "n_frames", 1) > 1 and image.format in ("GIF", "WEBP", "PNG"):
            image.seek(0)
            notes.append("It is an animation: I looked at its first frame.")
        # JPEG decodes straight to 1/2, 1/4 or 1/8: 12 megapixels take 20 ms instead of 180.
        image.draft("RGB", (STORED_SIDE, STORED_SIDE))
        image.load()
        upright = ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, EOFError, TypeError, ZeroDivisionError) as exc:
        raise PhotoError(_damaged(name)) from exc
    rgb = _to_rgb(upright)
    if max(rgb.size) > STORED_SIDE:
        rgb.thumbnail((STORED_SIDE, STORED_SIDE), Image.Resampling.LANCZOS)
        if min(rgb.size) < MIN_SIDE:
            raise PhotoError(f"{name} is too narrow ({width}×{height}): send a wider picture.")
    return Photo(rgb, tuple(notes))


def _to_rgb(image: Image.Image) -> Image.Image:
    """RGB pixels in an image that carries nothing else."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        top = 65535.0 if image.mode.startswith("I") else float(np.nanmax(values, initial=1.0))
        scaled = np.nan_to_num(values / max(top, 1e-12)).clip(0, 1) * 255
        return Image.fromarray(scaled.round().astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        flat = Image.new("RGB", rgba.size, _BACKGROUND)
        flat.paste(rgba, mask=rgba.getchannel("A"))
        return flat
    # Through bytes: convert() and copy() carry EXIF and text chunks along in `info`.
    rgb = image.convert("RGB")
    return Image.frombytes("RGB", rgb.size, rgb.tobytes())


def _damaged(name: str) -> str:
    return f"{name} is damaged or cut off: it could not be decoded; send it again."


def _too_many_bytes(name: str, size: int) -> str:
    return (
        f"{name} is too large ({size / 1e6:.1f} MB): "
        f"send a picture of at most {MAX_BYTES // 1_000_000} MB."
    )


def _not_a_picture(data: bytes, name: str) -> str:
    head = data[:512].lstrip().lower()
    if data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1"):
        return f"{name} is a HEIC picture, which I can't read: send it as JPEG or PNG."
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return f"{name} is an AVIF picture, which I can't read: save it as PNG and send that."
    if head.startswith((b"<svg", b"<?xml", b"<!doctype svg")) and b"<svg" in data[:4096].lower():
        return f"{name} is an SVG drawing, which I can't read: export it as PNG and send that."
    return f"{name} is not a picture I can read: send a {_ACCEPTED} file."
