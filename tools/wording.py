"""Small pieces of the sentences that tools speak: counts, lists, percentages.

Knows nothing of tools. Plain text only: whoever renders it escapes it.
"""

from collections.abc import Sequence

__all__ = ["article", "capital", "count", "join", "percent", "sentence"]


def percent(probability: float) -> str:
    """``93 %``; never 0 % or 100 %, which nothing here is sure enough for."""
    return f"{min(max(round(probability * 100), 1), 99)} %"


def join(items: Sequence[str], word: str = "and") -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    if len(items) <= 1:
        return "".join(items)
    return f"{', '.join(items[:-1])} {word} {items[-1]}"


def count(number: int, noun: str) -> str:
    """``1 picture``, ``2 pictures``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def capital(text: str) -> str:
    """``text`` with its first letter large, the rest as it is."""
    return text[:1].upper() + text[1:]


def article(name: str) -> str:
    """``a zorb``, ``an apple``; a proper name (Rex) and a plural keep none."""
    if not name or name[0].isupper() or name[0].isdigit():
        return name
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def sentence(text: str) -> str:
    """``text`` with a capital and a full stop."""
    text = capital(text.strip())
    return text if not text or text[-1] in ".!?…" else text + "."
