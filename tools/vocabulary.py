"""What small models know: the names an embedder was trained on, the words an answerer can read.

Both lie beside the weights, as ``vocabulary.json`` and ``words.txt``; large models have neither.

Knows nothing of vectors.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from tools.config import ModelChoice
from tools.errors import ModelFailed
from tools.models.sources import locate

__all__ = ["Vocabulary", "common_words", "read_vocabulary", "read_words", "shipped_vocabulary"]

Vocabulary = tuple[tuple[str, tuple[str, ...]], ...]


def read_vocabulary(path: Path) -> Vocabulary:
    """Names with aliases from a JSON list of ``{"name": …, "aliases": […]}``; () when no file."""
    if not path.is_file():
        return ()
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return tuple((str(e["name"]), tuple(map(str, e.get("aliases", ())))) for e in entries)
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ModelFailed(f"{path} is not a vocabulary ({exc}): install it again.") from exc


def read_words(path: Path) -> frozenset[str]:
    """One word or name a line; empty when there is no file: then anything may be read."""
    if not path.is_file():
        return frozenset()
    try:
        return frozenset(path.read_text(encoding="utf-8").splitlines())
    except ValueError as exc:
        raise ModelFailed(f"{path} is not a list of words ({exc}): install it again.") from exc


def common_words(vocabulary: Vocabulary) -> Mapping[str, tuple[int, ...]]:
    """Words that several names share, and the numbers of those names: "clock" → all the clocks.

    The last word of a name or of an alias says what kind of thing it is.
    """
    found: dict[str, set[int]] = defaultdict(set)
    for number, (name, aliases) in enumerate(vocabulary):
        for text in (name, *aliases):
            found[_kind(text)].add(number)
    return {w: tuple(sorted(n)) for w, n in found.items() if len(n) > 1 and w.isalpha()}


def _kind(text: str) -> str:
    return text.split()[-1] if text.strip() else ""


@lru_cache(maxsize=1)
def shipped_vocabulary() -> Vocabulary:
    """The pocket embedder's names, which serve embedders that come without any."""
    return read_vocabulary(locate(ModelChoice("pocket:clip")).folder / "vocabulary.json")
