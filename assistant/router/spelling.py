"""From how people type to the words of the phrases, and back to what they typed.

Contractions and known misspellings are replaced by a table, letters with accents by those that are
typed without, and what only sounds ("lol") is left out; a word that is one letter off (or two
swapped) can be corrected to a word of the phrases. What fills a slot is taken from what was typed.
"""

import re
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property

__all__ = ["HAN", "Sentence", "Spelling", "checksum", "near", "tokens_of"]

# A Chinese sign is a word of its own; what is left are words as they stand between spaces.
HAN = r"\u3400-\u9fff\uf900-\ufaff"
_TOKEN = re.compile(
    rf"[{HAN}]|[\w@&%+][^\s{HAN}，。？！、：；,;:!?=()\[\]“”«»\"]*|[^\s\w]", re.UNICODE
)
_DULL = ".'’-_*"  # marks that a word may have inside and does not end with
_OPENING, _CLOSING = "\"'“«„‘<", "\"'”“»’>"
_SHORTEST, _LONGEST = 4, 20  # letters of a word that is corrected


def tokens_of(text: str) -> list[str]:
    """The words and marks of a text."""
    return [m[0] for m in _TOKEN.finditer(text)]


class Sentence:
    """Typed text as known words: small, spelt right, without the marks between them."""

    def __init__(self, raw: str, words: list[tuple[str, int, int]], marks: list[str]) -> None:
        self.raw = raw
        self.spans = [(start, end) for _, start, end in words]
        self.words = [word for word, _, _ in words]
        self.marks = marks
        """For each word what stands between it and the next."""
        self.vocabulary = frozenset(self.words)
        self.cache: dict[tuple[int, int], tuple[int, ...]] = {}
        self.names: Mapping[int, tuple[int, ...]] = {}
        """Where the names of taught labels begin, and where they can end."""

    @property
    def text(self) -> str:
        """What was typed, from the first word to the last, with the marks in between."""
        return self.raw_of((0, len(self.words)))

    def raw_of(self, span: tuple[int, int]) -> str:
        """What was typed from one word to another."""
        start, end = span
        if start >= end:
            return ""
        left, right = self.spans[start][0], self.spans[end - 1][1]
        # Quotes and brackets belong to what they enclose.
        while left and self.raw[left - 1] in _OPENING:
            left -= 1
        while right < len(self.raw) and self.raw[right] in _CLOSING:
            right += 1
        return self.raw[left:right]

    def part(self, start: int, end: int | None = None) -> "Sentence":
        """The words from one place to another."""
        among = slice(start, end)
        words = [(w, *s) for w, s in zip(self.words[among], self.spans[among], strict=True)]
        return Sentence(self.raw, words, self.marks[among])


class Spelling:
    """The table of a language, and the words its phrases know."""

    def __init__(
        self,
        table: Mapping[str, str],
        words: Iterable[str],
        elisions: frozenset[str],
        *,
        folding: Mapping[str, str] | None = None,
        noise: frozenset[str] = frozenset(),
        real: frozenset[str] = frozenset(),
    ) -> None:
        """``real``: words that are no misspelling though the phrases do not have them."""
        self._elisions = elisions
        self._folding = str.maketrans(dict(folding or {}))
        self._noise = noise
        self._table = {self.folded(k): tokens_of(self.folded(v)) for k, v in table.items()}
        self._counts = Counter(words)
        self._real = real

    def folded(self, text: str) -> str:
        """``text`` with the letters that people type in place of those they would write."""
        return text.translate(self._folding) if self._folding else text

    def read(self, raw: str, *, guess: bool = False) -> Sentence:
        """``raw`` in known words; ``guess`` corrects what is one letter off."""
        sentence = self._read(raw, guess, self._noise)
        return sentence if sentence.words else self._read(raw, guess, frozenset())

    def _read(self, raw: str, guess: bool, noise: frozenset[str]) -> Sentence:
        words: list[tuple[str, int, int]] = []
        marks: list[str] = []
        for token in _TOKEN.finditer(raw):
            text = token[0]
            if not text.isalnum():  # most are words and nothing else
                text = text.rstrip(_DULL) if len(text) > 1 else text
                if not any(c.isalnum() for c in text) and text != "?" and text not in _SIGNS:
                    if marks:
                        marks[-1] += token[0]
                    continue
            small = self.folded(text.casefold())
            if small in noise:
                if marks:
                    marks[-1] += token[0][len(text) :]
                continue
            end = token.start() + len(text)
            head, mark, tail = small.partition("'")
            if mark and tail and head in self._elisions and small not in self._table:
                middle = token.start() + len(head) + 1  # l'image: two words
                words += [(head, token.start(), middle), (tail, middle, end)]
                marks += ["", token[0][len(text) :]]
                continue
            small = self._short(small)
            for word in self._table.get(small) or [self._right(small) if guess else small]:
                words.append((word, token.start(), end))
                marks.append("")
            marks[-1] += token[0][len(text) :]
        return Sentence(raw, words, marks)

    def _short(self, word: str) -> str:
        """The word of the phrases that is drawn out in it ("yesss", "heeello"), or the word."""
        if not _DRAWN.search(word) or word in self._counts or word in self._table:
            return word
        known = (w for to in (r"\1", r"\1\1") if (w := _DRAWN.sub(to, word)) in self._counts)
        return next(known, word)

    def _right(self, word: str) -> str:
        """The word of the phrases that is nearly this one, or the word itself."""
        if not _SHORTEST <= len(word) <= _LONGEST or word in self._counts or not word.isalpha():
            return word
        if word in self._real:
            return word
        close = {w for key in _deletions(word) for w in self._by_deletion.get(key, ())}
        close = {w for w in close if near(word, w, 1)}
        return max(close, key=lambda w: (w[0] == word[0], self._counts[w], w), default=word)

    @cached_property
    def _by_deletion(self) -> dict[str, list[str]]:
        index: dict[str, list[str]] = {}
        for word in self._counts:
            if len(word) >= _SHORTEST and word.isalpha():
                for key in _deletions(word):
                    index.setdefault(key, []).append(word)
        return index


_DRAWN = re.compile(r"([^\W\d_])\1{2,}")
_SIGNS = frozenset("👍👎✅❌🎉👏❤")  # marks that say something


def near(a: str, b: str, most: int) -> bool:
    """Whether at most ``most`` letters are wrong, missing, too many or swapped with the next.

    The restricted Damerau–Levenshtein distance (Oommen and Loke, 1997).
    """
    if abs(len(a) - len(b)) > most or len(set(a).symmetric_difference(b)) > 2 * most:
        return False  # a letter that is another takes away one kind and brings one
    before: list[int] = []
    last = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            cost = min(last[j] + 1, row[-1] + 1, last[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, last = last, row
    return last[-1] <= most


def _deletions(word: str) -> set[str]:
    return {word, *(word[:i] + word[i + 1 :] for i in range(len(word)))}


def checksum(feature: str) -> int:
    """The number that stands for a feature: two of some ten thousand share one by chance."""
    return zlib.crc32(feature.encode())
