"""Files and folders that appear whole or not at all.

Knows nothing of what is in them.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.whole import whole_file

__all__ = ["replace_folder", "write_bytes", "write_json", "write_text"]


def write_text(path: Path, text: str) -> None:
    """``text`` in ``path``, in place of what was there."""
    write_bytes(path, text.encode())


def write_json(path: Path, content: Any) -> None:
    """``content`` as JSON that people can read."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_bytes(path: Path, content: bytes) -> None:
    """``content`` in ``path``, on disk when this returns."""
    with whole_file(path, durable=True) as temporary:
        temporary.write_bytes(content)


def replace_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """``folder`` as ``fill`` makes it, in place of what was there; unchanged if ``fill`` fails."""
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
    old = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.old")
    temporary.mkdir(parents=True)
    try:
        fill(temporary)
        if folder.exists():
            os.rename(folder, old)
        os.rename(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
