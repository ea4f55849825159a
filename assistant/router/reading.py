"""A message taken apart: sentences, politeness, references to photos, and what may be two clauses.

Knows nothing of what a clause means or of tools; the words are data (``*.yaml``).
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace

from assistant.router.grammar import Template
from assistant.router.language import LONGEST, Language
from assistant.router.references import Pictures, referred
from assistant.router.sides import sided
from assistant.router.spelling import Sentence

__all__ = ["Clause", "clauses", "halves", "noted", "pieces"]

_END = re.compile(
    r"(?<!\bmr)(?<!\bmrs)(?<!\bms)(?<!\bdr)(?<!\bprof)(?<!\bst)[.!?…]+(?=[\s)\"”]|$)(?!\s\d)"
    r"|[。！？]+|\n+",
    re.I,
)
_TAIL = 8  # words of what only ends a sentence
_MOST = 24  # clauses of a message that are read
_ENDS = re.compile(r"[,.;:!?¿，。！？][\s,.;:!?¿，。！？]*")
_CUTS = ",，、;；–—-()"


@dataclass(frozen=True)
class Clause:
    """One statement, order or question; ``photos`` are the numbers it refers to by words."""

    sentence: Sentence
    marked: bool
    """Whether it ended with a question mark, or stood in a sentence that did."""
    tongue: Language
    photos: tuple[int, ...] = ()

    @property
    def text(self) -> str:
        """What was typed."""
        return self.sentence.text

    @property
    def question(self) -> bool:
        """Whether it asks, by its mark or its first word."""
        words, denied = self.sentence.words, self.tongue.block("denied")
        if self.marked or not words or words[0] not in self.tongue.asking:
            return self.marked
        if self.tongue.fits("exclaims", self.text):
            return False  # "how lovely"
        end = max(denied.ends(self.sentence, 0), default=0) if denied is not None else 0
        subjects = self.tongue.block("subjects")  # "isn't it …" asks, "can't tell" does not
        return not end or end == len(words) or bool(subjects and subjects.ends(self.sentence, end))


def clauses(message: str, tongue: Language, pictures: Pictures) -> list[Clause]:
    """The sentences of a message without politeness, picture references put as "this"."""
    found: list[Clause] = []
    oil: list[Clause] = []
    pointed: list[int] = []
    start = 0
    for end in [*_END.finditer(message), None]:
        part = message[start : end.start() if end else len(message)].strip()
        mark = end[0] if end else ""
        start = end.end() if end else start
        asks = "?" in mark or "？" in mark
        if not part.strip(" ,;:-–—，、；："):
            part = "?" if asks else ""  # only marks
        if not part:
            continue
        whole = tongue.read(part)
        if not whole.words:
            continue
        if len(found) >= _MOST:
            break
        if len(whole.words) > LONGEST:  # no order; a question about the picture at most
            found.append(Clause(whole, asks, tongue))
            continue
        sentence, asks = _plain(whole, tongue, asks)
        if several := sided(sentence, tongue, pictures.group):
            last = several[-1][1]
            found += [Clause(s, asks and s is last, tongue, (n,)) for n, s in several]
            continue
        sentence, photos = referred(sentence, tongue, pictures, pointed)
        pointed += photos
        lead = tongue.block("lead")
        if lead is not None and len(whole.words) in lead.ends(whole, 0) and not asks:
            oil.append(Clause(whole, asks, tongue, photos))  # "hi there" says no less than "hi"
        else:
            found.append(Clause(sentence, asks, tongue, photos))
    return found or oil


def halves(clause: Clause, second: str) -> Iterator[tuple[Clause, Clause]]:
    """The two parts a clause may have: "describe this | and tell me what colour it is".

    The later one begins with what the block named ``second`` has.
    """
    sentence, tongue = clause.sentence, clause.tongue
    starts = tongue.block(second)
    if starts is None or len(sentence.words) > LONGEST:
        return
    for place in range(1, len(sentence.words)):
        begin = place
        while begin < len(sentence.words) and sentence.words[begin] in tongue.joints:
            begin += 1
        comma = any(c in ",，;；–—" for c in sentence.marks[place - 1])
        if (begin == place and not comma) or sentence.words[place - 1] in tongue.joints:
            continue
        if begin < len(sentence.words):
            later, asks = _plain(sentence.part(begin), tongue, clause.marked)
            if starts.ends(sentence, begin) or starts.ends(later, 0):
                first = Clause(sentence.part(0, place), False, tongue, clause.photos)
                yield first, replace(clause, sentence=later, marked=asks)


def pieces(clause: Clause, *, joined: bool) -> list[Clause]:
    """What stands between its commas, dashes and small pictures; ``joined``: between "and"s too.

    Reasons and conditions ("because …", "if …") are left out: they say nothing for themselves.
    """
    sentence, tongue = clause.sentence, clause.tongue
    words, anchors = sentence.words, tongue.block("anchors")
    loose = joined and anchors is not None
    cuts = [0]
    for place in range(1, len(words)):
        apart = any(
            c in _CUTS or unicodedata.category(c) == "So" for c in sentence.marks[place - 1]
        )
        if joined:
            apart = apart or words[place] in tongue.joints or words[place] in tongue.reasons
            loose = loose and words[place - 1] not in tongue.hedges
            apart = apart or bool(loose and anchors and anchors.ends(sentence, place))
        if apart:
            cuts.append(place)
    found: list[Clause] = []
    if len(cuts) == 1:
        return found
    for start, end in zip(cuts, [*cuts[1:], len(words)], strict=True):
        while start < end and words[start] in tongue.joints:
            start += 1
        if start < end and words[start] not in tongue.reasons:
            part, asks = _plain(sentence.part(start, end), tongue, clause.marked)
            found.append(replace(clause, sentence=part, marked=asks))
    return found


def _plain(sentence: Sentence, tongue: Language, asks: bool) -> tuple[Sentence, bool]:
    """Without the words that only oil a sentence; never without all of its words."""
    lead, tail = tongue.block("lead"), tongue.block("tail")
    while len(sentence.words) > 1:
        if cut := _before(sentence, tongue, "requests", "orders"):
            asks = False  # "can you forget it?" is an order
        else:
            cut = _before(sentence, tongue, "ask_leads", "starts")
            cut = cut or _before(sentence, tongue, "that_leads", "subjects")
            ends = lead.ends(sentence, 0) if lead is not None and not cut else ()
            cut = max((e for e in ends if e < len(sentence.words)), default=cut)
        if not cut:
            break
        sentence = sentence.part(cut)
    cut = len(sentence.words)
    for name, still in (("tags", False), ("ask_tags", True)):
        # "It's a zorb, can't you see?" tells; "it's a zorb, right?" asks.
        begin = _after(sentence, tongue.block(name), cut)
        if asks and begin and sentence.marks[begin - 1]:
            cut, asks = begin, still
    while begin := _after(sentence, tail, cut):
        cut = begin
    return (sentence.part(0, cut) if cut < len(sentence.words) else sentence), asks


def _after(sentence: Sentence, block: Template | None, end: int) -> int:
    """Where the longest fit of a block begins that goes up to ``end``; 0 where none does."""
    if block is None or (block.last is not None and sentence.words[end - 1] not in block.last):
        return 0
    starts = range(max(1, end - _TAIL), end)
    return next((i for i in starts if end in block.ends(sentence, i)), 0)


def _before(sentence: Sentence, tongue: Language, name: str, following: str) -> int:
    """Where a block ends that the sentence begins with, if one of another block comes next."""
    block, then = tongue.block(name), tongue.block(following)
    if block is None or then is None:
        return 0
    return max((e for e in block.ends(sentence, 0) if then.ends(sentence, e)), default=0)


def noted(message: str, tongue: Language) -> str:
    """A message without the question behind it whether it will be remembered."""
    whole = len(message.rstrip())
    ends = [found.start() for found in _ENDS.finditer(message) if found.end() < whole]
    asked, rest = False, message
    for place in reversed(ends):
        last = _ENDS.sub("", rest[place:])
        asked_now = tongue.fits("noted", last)
        if not (asked_now or tongue.fits("polite", last)):
            break
        asked, rest = asked or asked_now, rest[:place]
    return rest if asked else message
