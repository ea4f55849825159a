"""How alike two short texts are in what they ask for: words that say something, spelt about alike.

Knows nothing of models or meaning: *how large?* and *which size?* are two questions here. A word
says something unless it is one of the small words that questions are built with (English, German,
French, Spanish); of what is left, each word of one text is compared with the nearest of the other
by the Dice coefficient of their letter pairs (Kondrak, 2005), which forgives an ending or a typo.
Writing without spaces is one word. A measure of this kind needs no text tower.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Container, Sequence

__all__ = ["HAVING", "SAME_QUESTION", "content_words", "likeness", "unread"]

SAME_QUESTION = 0.6
"""The least likeness of two ways to ask one thing: *which size?*, *what size is the screw?*."""
_SAME_WORD = 0.55  # letter pairs that two spellings of a word share: colour and color 0.77
_SMALL_WORDS = """
a an the this that these those it its it's is are was were be do does did can could has have had
what what's which how many much of in on at for to and or there here i you we my your me he she
they his her their please tell say know thing one ones picture photo image any anything some
something than with
was wie welche welcher welches ist sind das der die dem den des ein eine einen hat haben viele viel
es im auf bild und mit von hier etwas
quel quelle quels quelles est sont ce cet cette que qu'est l'image le la les un une du de combien
il elle y a-t-il et dans sur avec chose
qué que cuál cual cuántos cuántas cuanto el los las una unos hay tiene en y con algo imagen foto
"""
_SMALL = frozenset(_SMALL_WORDS.split())
HAVING = frozenset({"have", "has", "had"})
"""The small words of questions about the parts of a thing."""
_LONGEST = 6  # words of a name
_WORD = re.compile(r"\w+(?:['’\-]\w+)*")


def likeness(a: str, b: str, ignored: Collection[str] = ()) -> float:
    """How alike two questions are, in [0, 1]; ``ignored`` are names that are no part of them."""
    first, second = content_words(a, ignored), content_words(b, ignored)
    if not first and not second:
        # Only small words: "what is this?" is like itself and little else.
        first, second = _words(a), _words(b)
    if not first or not second:
        return 0.0
    total = sum(_nearest(w, second) for w in first) + sum(_nearest(w, first) for w in second)
    return total / (len(first) + len(second))


def content_words(text: str, ignored: Collection[str] = ()) -> list[str]:
    """The words that say something, in order, each once; ``ignored`` are names that do not."""
    names = {w for name in ignored for word in _words(name) for w in (word, word + "s")}
    return [w for w in _words(text) if w not in _SMALL and w not in names]


def unread(text: str, words: Container[str]) -> tuple[str, ...]:
    """What says something in a question and is not among ``words``, in singular or plural.

    ``words`` may be several words long: of "mechanical leg" neither part is known by itself. What a
    thing *has* says something too: it is another question than what there is.
    """
    row = _WORD.findall(_folded(text))
    left, place = [], 0
    while place < len(row):
        for length in range(_LONGEST, 0, -1):
            part = " ".join(row[place : place + length])
            if any(form in words for form in (part, part.removesuffix("s"), f"{part}s")):
                break
        else:
            left += [word for word in row[place : place + 1] if word not in _SMALL - HAVING]
        place += length
    return tuple(dict.fromkeys(left))


def _word_likeness(a: str, b: str) -> float:
    """The Dice coefficient of two words' letter pairs, ends included, in [0, 1]."""
    first, second = _pairs(a), _pairs(b)
    shared = sum((first & second).values())
    return 2.0 * shared / (first.total() + second.total())


def _nearest(word: str, others: Sequence[str]) -> float:
    best = max(_word_likeness(word, other) for other in others)
    return best if best >= _SAME_WORD else 0.0


def _words(text: str) -> list[str]:
    return list(dict.fromkeys(_WORD.findall(_folded(text))))


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold().replace("’", "'")


def _pairs(word: str) -> Counter[str]:
    padded = f"^{word}$"
    return Counter(padded[i : i + 2] for i in range(len(padded) - 1))
