"""The lines people type at ``imprint chat``: words, with picture files dropped among them.

Knows nothing of conversations.
"""

import shlex
import sys
from pathlib import Path

__all__ = ["photos_in", "read_line"]


def read_line() -> str:
    """The next line; empty at the end of the input or on Ctrl-C."""
    try:
        return input("> " if sys.stdin.isatty() else "").strip()
    except (EOFError, KeyboardInterrupt):
        return ""


def photos_in(line: str) -> tuple[str, list[str]]:
    """The text and the pictures of a line: words that are files that exist are pictures."""
    try:
        words = shlex.split(line)
    except ValueError:  # an apostrophe: "what's this"
        words = line.split()
    photos = [w for w in words if Path(w).is_file() or w.startswith(("http://", "https://"))]
    if not photos:
        return line, []
    return " ".join(w for w in words if w not in photos), photos
