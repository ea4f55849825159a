"""Files that appear whole or not at all, however the process ends.

Knows nothing of what is in them.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["whole_file"]


@contextmanager
def whole_file(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """A path to write to; at the end of the block the file takes the place of ``path``.

    Nothing is left, and ``path`` stays as it was, when the block or the renaming fails. ``durable``
    waits until the file and its name survive a power cut (some milliseconds). Makes the folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:64]}-{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        if durable:
            _sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    if durable and os.name == "posix":  # Windows opens no folder; NTFS journals the rename itself
        _sync(path.parent)


def _sync(path: Path) -> None:
    # A file has to be open for writing on Windows, a folder may not be anywhere.
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
