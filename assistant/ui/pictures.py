"""Small copies of photos, and packs, that a browser may load, in the page's private folder.

Knows nothing of turns. The home folder is never served: what is shown is copied here, under a
name that cannot be guessed from the picture.
"""

import hashlib
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from tools.errors import ImprintError
from tools.images import Photo
from tools.whole import whole_file

__all__ = ["LARGE", "SMALL", "Pictures"]

SMALL = 160
"""Side of a thumbnail, in pixels: evidence, cards, lists."""
LARGE = 1024
"""Side of a picture of the conversation."""


class Pictures:
    """The copies of one running page."""

    def __init__(self, folder: Path) -> None:
        self._key = secrets.token_bytes(16)
        self._folder = folder / f"shown-{secrets.token_hex(16)}"
        self._folder.mkdir(parents=True, mode=0o700)

    def file(self, photo_id: str, side: int, find: Callable[[str], Photo]) -> Path | None:
        """The copy of a photo, made at first need; None when the photo is gone."""
        name = hashlib.blake2b(photo_id.encode(), key=self._key, digest_size=16).hexdigest()
        path = self._folder / f"{name}-{side}.webp"
        if not path.exists():
            try:
                copy = find(photo_id).thumbnail(side)
            except ImprintError:
                return None
            with whole_file(path) as temporary:
                copy.save(temporary, format="WEBP", quality=88, method=1)
        return path

    def pack(self, path: Path) -> str:
        """The address of a copy of an exported pack; empty when it is gone."""
        name = hashlib.blake2b(str(path).encode(), key=self._key, digest_size=16).hexdigest()
        copy = self._folder / name / "imprint-memory.zip"
        if not copy.exists():
            if not path.is_file():
                return ""
            with whole_file(copy) as temporary:
                shutil.copyfile(path, temporary)
        return _address(copy)

    def url(self, photo_id: str, side: int, find: Callable[[str], Photo]) -> str:
        """The address of :meth:`file`, relative to the page; empty when the photo is gone."""
        path = self.file(photo_id, side, find)
        return _address(path) if path else ""


def _address(path: Path) -> str:
    return f"gradio_api/file={quote(path.as_posix())}"
