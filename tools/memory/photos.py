"""Photos on disk, named by their content: writing one twice changes nothing.

Knows nothing of labels. A file appears under its name only when all of it is on disk.
"""

import re
from pathlib import Path

from tools.errors import MemoryDamaged, PhotoError
from tools.images import Photo, open_photo
from tools.whole import whole_file

__all__ = ["PhotoStore"]

_ID = re.compile(r"[0-9a-f]{64}")


class PhotoStore:
    """``folder/ab/ab12….png``; the name is the photo's id."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def folder(self) -> Path:
        """Where they lie."""
        return self._folder

    def path(self, photo_id: str) -> Path:
        """Where the photo of that id lies, or would lie."""
        if not _ID.fullmatch(photo_id):
            raise ValueError(f"not a photo id: {photo_id!r}")
        return self._folder / photo_id[:2] / f"{photo_id}.png"

    def __contains__(self, photo_id: str) -> bool:
        return self.path(photo_id).exists()

    def put(self, photo: Photo, *, durable: bool = True) -> Path:
        """Store ``photo``; nothing happens when it is there already.

        ``durable`` waits until it survives a power cut (some milliseconds).
        """
        path = self.path(photo.id)
        if path.exists():
            return path
        with whole_file(path, durable=durable) as temporary:
            temporary.write_bytes(photo.png())
        return path

    def get(self, photo_id: str) -> Photo:
        """The photo of that id; :class:`MemoryDamaged` when its file is missing or altered."""
        path = self.path(photo_id)
        try:
            photo = open_photo(path)
        except PhotoError as exc:
            raise MemoryDamaged(
                f"The picture {photo_id[:8]} of this memory is missing or damaged ({path}): "
                "restore it from a backup, or forget its label."
            ) from exc
        if photo.id != photo_id:
            raise MemoryDamaged(
                f"The picture {photo_id[:8]} of this memory was altered ({path}): "
                "restore it from a backup, or forget its label."
            )
        return photo

    def sweep(self) -> int:
        """Delete the temporary files a killed process left; returns how many."""
        leftovers = list(self._folder.glob("*/.*.tmp"))
        for path in leftovers:
            path.unlink(missing_ok=True)
        return len(leftovers)
