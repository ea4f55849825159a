"""What may be the name of a label, and when two names are the same.

Knows nothing of sentences: articles and quotes are the router's business.
"""

import unicodedata

from tools.errors import BadLabel

__all__ = ["MAX_NAME", "clean_name", "name_key"]

MAX_NAME = 60


def clean_name(name: str) -> str:
    """``name`` as it is stored and shown: NFC, one line, single spaces, no control characters.

    Raises :class:`BadLabel` when nothing nameable is left or it is longer than ``MAX_NAME``.
    """
    text = unicodedata.normalize("NFC", name)
    # Control and format characters (bidi overrides, zero-width) would let a name pose as another.
    text = "".join(
        " " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c
        for c in text
        if unicodedata.category(c) not in ("Cf", "Cs", "Co", "Cn")
    )
    text = " ".join(text.split())
    if not any(c.isalnum() for c in text):
        shown = f" ({text[:20]!r})" if text else ""
        raise BadLabel(f"That is not a name I can use{shown}: give one with letters or digits.")
    if len(text) > MAX_NAME:
        raise BadLabel(
            f"That name is too long ({len(text):,} characters, “{text[:20]}…”): "
            f"give one of at most {MAX_NAME}."
        )
    return text


def name_key(name: str) -> str:
    """Two names are the same label when their keys are equal (case and width don't count)."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())
