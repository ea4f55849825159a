"""What may be the name of a label or a text to remember, and when two of them are the same.

Knows nothing of sentences: articles and quotes are the router's business.
"""

import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches

from tools.errors import BadLabel

__all__ = ["MAX_NAME", "clean_name", "clean_text", "name_key", "question_key", "unknown_name"]

MAX_NAME = 60


def clean_text(text: str) -> str:
    """``text`` as it is stored and shown: NFC, one line, single spaces, no control characters."""
    text = unicodedata.normalize("NFC", text)
    # Control and format characters (bidi overrides, zero-width) would let a name pose as another.
    text = "".join(
        " " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c
        for c in text
        if unicodedata.category(c) not in ("Cf", "Cs", "Co", "Cn")
    )
    return " ".join(text.split())


def clean_name(name: str) -> str:
    """``name`` as :func:`clean_text` has it.

    Raises :class:`BadLabel` when nothing nameable is left or it is longer than ``MAX_NAME``.
    """
    text = clean_text(name)
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


def question_key(question: str) -> str:
    """Two questions are the same when their keys are equal (case and closing marks don't count)."""
    return name_key(question).rstrip("?!.。 ")


def unknown_name(name: str, known: Iterable[str], seen: Iterable[str] = ()) -> str:
    """A sentence that there is no label called ``name``, with the nearest of those known; where
    none is near, with all that have pictures (``seen``), if any has."""
    names = {name_key(n): n for n in known}
    near = get_close_matches(name_key(name), names, n=1, cutoff=0.6)
    if near:
        return f"I don't know a label called {name}. Did you mean {names[near[0]]}?"
    if not names:
        return f"I don't know a label called {name}: nothing has been taught yet."
    return f"I don't know a label called {name}. I know: {', '.join(list(seen) or names.values())}."
