"""Small pieces of the sentences that tools speak: counts, lists, percentages.

Knows nothing of tools. Plain text only: whoever renders it escapes it.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

__all__ = [
    "article",
    "capital",
    "count",
    "is_plural",
    "join",
    "number",
    "percent",
    "plural",
    "sentence",
    "singular",
]

_NUMBERS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
# Words that end like a plural and are none: a bus, a glass, a lens.
_SINGULAR = re.compile(
    r".*(?:ss|us|is)|(?:.*\W)?(?:alias|atlas|bias|canvas|christmas|gas|pancreas|chaos|cosmos|"
    r"ethos|rhinoceros|thermos|lens|series|species|means|news)",
    re.I | re.S,
)
_TO_PLURAL = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(s|x|z|ch|sh)$", r"\1es"),
        (r"([^aeiou])y$", r"\1ies"),
        (r"man$", "men"),
        (r"(lea|wol|kni)fe?$", r"\1ves"),
        (r"mouse$", "mice"),
    )
)
_TO_SINGULAR = tuple(
    (re.compile(pattern, re.I), replacement)
    for pattern, replacement in (
        (r"ies$", "y"),
        (r"(ch|sh|ss|x|z)es$", r"\1"),
        (r"([^s'us])s$", r"\1"),
    )
)
# By sound: an apple, an hour, but a unicorn, a euro, a one-eyed cat.
_VOWEL = re.compile(
    r"(?!eu|ewe|one\b|once\b|u(?:ni(?!n|m)|s[aeiu]|t[ei]|k[eu]|fo\b|rin))[aeiou]"
    r"|h(?:our|eir|onest)"
)


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


def number(value: int) -> str:
    """``one`` … ``ten``, ``11``; ``no`` for 0."""
    return _NUMBERS[value] if 0 <= value < len(_NUMBERS) else str(value)


def is_plural(name: str) -> bool:
    """Whether a name is a plural (scissors, zorbs), by its spelling alone."""
    return len(name) > 3 and name[-1] == "s" and not _SINGULAR.fullmatch(name)


@lru_cache(maxsize=1024)
def singular(name: str) -> str:
    """English plural → singular of the last word, by its spelling alone."""
    for pattern, replacement in _TO_SINGULAR:
        changed, count = pattern.subn(replacement, name)
        if count and len(changed) > 1:
            return changed
    return name


def plural(name: str) -> str:
    """English plural of a name that is a singular, by its spelling: "box" → "boxes".

    What is already a plural stays; "cup with straw" → "cups with straw".
    """
    head = re.split(r" (?:with|of) ", name, maxsplit=1)[0]
    rest = name[len(head) :]
    if is_plural(head) or head.endswith(("fish", "sheep", "deer")):
        return name
    for pattern, replacement in _TO_PLURAL:
        changed, count = pattern.subn(replacement, head)
        if count:
            return changed + rest
    return f"{head}s{rest}"


def article(name: str) -> str:
    """``a zorb``, ``an apple``, ``a unicorn``; a proper name (Rex) and a plural keep none."""
    if not name or name[0].isupper() or name[0].isdigit() or is_plural(name):
        return name
    return f"{'an' if _VOWEL.match(name) else 'a'} {name}"


def sentence(text: str) -> str:
    """``text`` with a capital and a full stop."""
    text = capital(text.strip())
    return text if not text or text[-1] in ".!?…" else text + "."
