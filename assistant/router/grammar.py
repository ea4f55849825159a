"""Templates of sentences, matched with sentences.

Knows nothing of how a template is written (:mod:`assistant.router.lines`), nor of languages,
intents or tools. A part is matched at a place of a sentence once, however many templates have it,
so hundreds of templates cost little and none can blow up.
"""

from collections.abc import Collection, Iterator
from functools import cached_property

from assistant.router.spelling import Sentence

__all__ = ["MARKS", "Fit", "Template"]

MARKS = {":": frozenset(":;=(–—-："), ",": frozenset(",:;=(–—-，：；、")}

_COMPOSITE = frozenset(("seq", "alt", "opt", "many"))

Fit = dict[str, tuple[int, int]]
"""From which token to which each slot was filled."""


class Template:
    """A tree of words. ``kind`` is seq, alt, opt, many, word, any, slot, name, mark or rest."""

    def __init__(self, kind: str, text: str = "", parts: tuple["Template", ...] = ()) -> None:
        self.kind = kind
        self.text = text
        self.parts = parts

    def match(self, sentence: Sentence) -> Fit | None:
        """The slots, when the whole sentence fits: the first of them as short as they can be."""
        return _walk((self, None), 0, sentence, {}, set()) if self._may_fit(sentence) else None

    def _may_fit(self, sentence: Sentence) -> bool:
        return not any(map(sentence.vocabulary.isdisjoint, self.needs))

    def ends(self, sentence: Sentence, start: int) -> tuple[int, ...]:
        """Where it can end when it starts at a token; slots in it are not told."""
        words = sentence.words
        if self.kind in _COMPOSITE:
            opening = self._opening
            if opening is not None and (start >= len(words) or words[start] not in opening):
                return ()
            key = (id(self), start)
            found = sentence.cache.get(key)
            if found is None:
                found = sentence.cache[key] = tuple(sorted(self._composed(sentence, start)))
            return found
        if self.kind == "word":
            fits = start < len(words) and words[start] in self._spelt
            return (start + 1,) if fits else ()
        if self.kind == "any":
            return (start + 1,) if start < len(words) else ()
        if self.kind == "mark":
            mark = sentence.marks[start - 1] if start else ""
            return () if MARKS[self.text].isdisjoint(mark) else (start,)
        if self.kind == "name":
            return sentence.names.get(start, ())
        return tuple(range(start + (self.kind == "slot"), len(words) + 1))

    @cached_property
    def first(self) -> frozenset[str] | None:
        """The words it can begin with; None when that may be any."""
        return self._outer(1)

    @cached_property
    def last(self) -> frozenset[str] | None:
        """The words it can end with; None when that may be any."""
        return self._outer(-1)

    def _outer(self, step: int) -> frozenset[str] | None:
        if self.kind == "word":
            return self._spelt
        if self.kind in ("any", "slot", "name", "rest"):
            return None
        found: list[frozenset[str] | None] = []
        for part in self.parts[::step]:
            found.append(part.first if step > 0 else part.last)
            if self.kind != "alt" and not part.empty:
                break
        return _union(found)

    @cached_property
    def _opening(self) -> frozenset[str] | None:
        """The words of which one has to come first; None when it may be any or none."""
        return None if self.empty else self.first

    @cached_property
    def empty(self) -> bool:
        """Whether it can fit no words at all."""
        if self.kind in ("seq", "alt"):
            return (all if self.kind == "seq" else any)(p.empty for p in self.parts)
        return self.kind in ("opt", "mark", "rest")

    @cached_property
    def needs(self) -> tuple[frozenset[str], ...]:
        """Sets of words: a sentence without a word of each can't fit."""
        if self.kind == "seq":
            return tuple(need for p in self.parts for need in p.needs)
        return () if self.empty or self.first is None else (self.first,)

    @cached_property
    def has_slot(self) -> bool:
        """Whether something is to be filled in."""
        return self.kind in ("slot", "name") or any(p.has_slot for p in self.parts)

    @cached_property
    def words(self) -> frozenset[str]:
        """Every word that stands in it."""
        return self._spelt if self.kind == "word" else frozenset().union(*map(_words, self.parts))

    @cached_property
    def _spelt(self) -> frozenset[str]:
        return frozenset(_spellings(self.text))

    @cached_property
    def _by_first(self) -> tuple[dict[str, list["Template"]], list["Template"]]:
        """The options of an alternative by the word they begin with, and those of any."""
        by_word: dict[str, list[Template]] = {}
        others = []
        for part in self.parts:
            if part.first is None or part.empty:
                others.append(part)
            else:
                for word in part.first:
                    by_word.setdefault(word, []).append(part)
        return by_word, others

    def _composed(self, sentence: Sentence, start: int) -> Collection[int]:
        if self.kind == "opt":
            return {start, *self.parts[0].ends(sentence, start)}
        if self.kind == "many":
            found: set[int] = set()
            new = {start}
            while new := {e for p in new for e in self.parts[0].ends(sentence, p)} - found:
                found |= new
            return found
        if self.kind == "alt":
            by_word, others = self._by_first
            word = sentence.words[start] if start < len(sentence.words) else ""
            return {e for p in (*by_word.get(word, ()), *others) for e in p.ends(sentence, start)}
        if not self._may_fit(sentence):
            return ()
        places: Collection[int] = (start,)
        for part in self.parts:
            if len(places) == 1:  # mostly
                (place,) = places
                places = part.ends(sentence, place)
            elif places:
                places = {e for p in places for e in part.ends(sentence, p)}
            else:
                break
        return places


_Rest = tuple[Template, "_Rest"] | None
"""The templates still to be matched, as a chain."""


def _walk(
    rest: "_Rest", place: int, sentence: Sentence, slots: Fit, dead: set[tuple[int, int]]
) -> Fit | None:
    """The slots of a fit of the chain from a place to the end of the sentence."""
    if rest is None:
        return slots if place == len(sentence.words) else None
    key = (id(rest), place)
    if key in dead:
        return None
    head, tail = rest
    found = None
    if head.kind == "slot":
        ends = head.ends(sentence, place) if tail else (len(sentence.words),)
        # A question may have in it what stands before the answer: it is as long as it can be.
        for end in reversed(ends) if head.text == "question" else ends:
            if end <= place:
                break
            filled = {**slots, head.text: (place, end)}
            if (found := _walk(tail, end, sentence, filled, dead)) is not None:
                return found
    elif head.kind == "name":
        for end in reversed(head.ends(sentence, place)):
            filled = {**slots, head.text: (place, end)}
            if (found := _walk(tail, end, sentence, filled, dead)) is not None:
                return found
    elif not head.has_slot:
        for end in reversed(head.ends(sentence, place)):
            if (found := _walk(tail, end, sentence, slots, dead)) is not None:
                return found
    else:
        for chain in _unfolded(head, tail):
            if (found := _walk(chain, place, sentence, slots, dead)) is not None:
                return found
        return None  # the chains are made anew: their ids mean nothing later
    dead.add(key)
    return None


def _unfolded(head: Template, tail: "_Rest") -> Iterator["_Rest"]:
    """What a template with slots in it can stand for, before the rest of its chain."""
    if head.kind == "seq":
        chain = tail
        for part in reversed(head.parts):
            chain = (part, chain)
        yield chain
    else:
        for part in head.parts:
            yield (part, tail)
        if head.kind == "opt":
            yield tail


def _words(part: Template) -> frozenset[str]:
    return part.words


def _union(
    sets: "Iterator[frozenset[str] | None] | list[frozenset[str] | None]",
) -> frozenset[str] | None:
    found: set[str] = set()
    for words in sets:
        if words is None:
            return None
        found |= words
    return frozenset(found)


def _spellings(word: str) -> list[str]:
    """``colour`` and ``color`` of ``colou?r``."""
    head, mark, tail = word.partition("?")
    if not head or not mark:
        return [word]
    if word == r"\?":  # a question mark that stands alone
        return ["?"]
    return [start + rest for rest in _spellings(tail) for start in (head, head[:-1])]
