"""What people say in one language, read from its file: phrases, word classes, names, spelling.

Knows nothing of what a phrase leads to. ``en.yaml`` explains the format; the other languages have
less of the same. A file is read when it is first needed.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from importlib.resources import files
from typing import Any

import yaml

from assistant.router.grammar import Template
from assistant.router.lines import parse, words_in
from assistant.router.spelling import Sentence, Spelling, tokens_of
from assistant.router.tongues import evidence

__all__ = [
    "LANGUAGES", "LONGEST", "Language", "Reading", "language", "likely", "spoken", "unheaded",
]  # fmt: skip

LANGUAGES = ("en", "de", "fr", "es", "zh")
LONGEST = 60  # words of a clause that is matched; a longer one is no order
_KNOWN, _STAYS = 2, 4  # what speaks for a language, as a natural logarithm: a word of its phrases,
# and that it was spoken before
_CLOSE = 1  # to the likeliest
_MARKDOWN = re.compile(r"\s*(?:#{1,6}\s|>)")
_WORD = re.compile(
    r"(?<![<{\w/])[^\W\d_]+(?![>}\w?'/])"
)  # of a line, but no class, slot or colou?r


@dataclass(frozen=True)
class Reading:
    """The intent of a clause and what filled its slots (label, other, query, list…)."""

    intent: str
    slots: dict[str, str]


class Language:
    """The tables of one language."""

    def __init__(self, code: str, data: Mapping[str, Any]) -> None:
        self.code = code
        self._folding = str.maketrans(dict(data.get("folding", {})))
        self.ordinals = {self._folded(k): int(v) for k, v in data.get("ordinals", {}).items()}
        self.counts = {self._folded(k): int(v) for k, v in data.get("counts", {}).items()}
        self.headings: str = data.get("headings", "")
        self.between: str = data.get("between", "or|and|vs\\.?")
        self.joints = frozenset(self._folded(data.get("joints", "")).split())
        self.reasons = frozenset(self._folded(data.get("reasons", "")).split())
        self.hedges = frozenset(self._folded(data.get("hedges", "")).split())
        self.negations = frozenset(self._folded(data.get("negations", "")).split())
        self.denying = frozenset(self._folded(data.get("denying", "")).split())
        self.titles = frozenset(data.get("titles", "").split())
        self.importing = frozenset(self._folded(data.get("importing", "")).split())
        self.stopping = frozenset(self._folded(data.get("stopping", "")).split())
        self.doubtful = frozenset(self._folded(data.get("doubtful", "")).split())
        self.asking = frozenset(self._folded(data.get("asking", "")).split())
        self._data = data
        self._classes: dict[str, Template] = {}
        for name, text in data.get("classes", {}).items():
            self._classes[name] = self._template(text)
        self._blocks: dict[tuple[str, ...], Template | None] = {}
        self._tables: dict[str, _Table] = {}

    def readings(self, sentence: Sentence, section: str = "intents") -> Iterator[Reading]:
        """Every line of a section that fits, in its order; the caller takes the first it can."""
        if 0 < len(sentence.words) <= LONGEST:
            for intent, line in self._table(section).fitting(sentence):
                found = line.match(sentence)
                if found is not None:
                    slots = {k: sentence.raw_of(v) for k, v in found.items()}
                    yield Reading(intent, slots)

    def lines(self, section: str) -> list[tuple[str, Template]]:
        """The lines of a section with their intents, parsed."""
        return self._table(section).lines

    def block(self, *path: str) -> Template | None:
        """The lines of a block as one template; None where the language has none."""
        if path not in self._blocks:
            data: Any = self._data
            for name in path:
                data = data.get(name) if data else None
            lines = tuple(self._template(x) for x in (data or "").splitlines() if x.strip())
            self._blocks[path] = Template("alt", parts=lines) if lines else None
        return self._blocks[path]

    def fits(self, name: str, text: str) -> bool:
        """Whether the whole ``text`` fits a block."""
        block = self.block(name)
        sentence = self.read(text)
        if block is None or len(sentence.words) > LONGEST:
            return False
        return len(sentence.words) in block.ends(sentence, 0)

    def said(self, key: str, **slots: str) -> str:
        """What the assistant says; in English where this language has no words for it."""
        text = self._data.get("say", {}).get(key)
        if text is None:
            return language("en").said(key, **slots)
        return str(text).format(**slots)

    def has_result(self, key: str) -> bool:
        """Whether this language has words for a result."""
        return key in self._data.get("results", {})

    def result(self, key: str, **slots: str) -> str:
        """What a tool found, in this language."""
        return str(self._data["results"][key]).format(**slots)

    def asks(self, key: str, **slots: str) -> str | None:
        """Words of a question before a change; None where nothing is written for it."""
        text = self._data.get("consent", {}).get(key)
        return None if text is None else str(text).format_map(slots)

    def failed(self, english: str) -> str:
        """What a tool could not do, in this language where it has words for it."""
        for key, text in language("en")._data["failures"].items():
            slots = re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+?)", re.escape(text))
            found = re.fullmatch(slots, english, re.S)
            own = self._data.get("failures", {}).get(key)
            if found is not None and own is not None:
                return str(own).format(**found.groupdict())
        return english

    def order(self, tool: str, **args: str) -> str:
        """A message that orders a tool call."""
        return str(self._data["orders_said"][tool]).format(**args)

    def button(self, key: str, **slots: str) -> str:
        """What a button says, and sends when it is clicked."""
        return str(self._data["buttons"][key]).format(**slots)

    def not_here(self, tool: str, **slots: str) -> str | None:
        """What to say when a tool is not there; None where nothing is written for it."""
        text = self._data.get("not_here", {}).get(tool)
        if text is None and self.code != "en":
            return language("en").not_here(tool, **slots)
        return None if text is None else str(text).format(**slots)

    def knows(self, words: Iterable[str]) -> int:
        """How many of the words, small as they were typed, its phrases have."""
        return len({self._folded(w) for w in words} & self.vocabulary)

    def read(self, text: str, *, guess: bool = False) -> Sentence:
        """``text`` in the words of the phrases; ``guess`` corrects what is one letter off."""
        return self._read(text, guess)

    @cached_property
    def _read(self) -> Callable[[str, bool], Sentence]:
        # A turn asks for the same words again and again, and what fits where is kept with them.
        return lru_cache(maxsize=64)(lambda text, guess: self._spelling.read(text, guess=guess))

    @cached_property
    def vocabulary(self) -> frozenset[str]:
        """The words that its phrases are made of."""
        # From the lines as they stand: of a language that nobody speaks none has to be parsed.
        lines = [x for name in ("intents", "answers") for _, x in _lines(self._data.get(name, {}))]
        blocks = [self._data.get(name, "") for name in ("lead", "tail", "articles")]
        texts = [*lines, *blocks]
        texts += self._data.get("classes", {}).values()
        found = {w for text in texts for w in words_in(self._as_read(text))}
        return frozenset(found.union(map(self._folded, self._data.get("spelling", {}))))

    @cached_property
    def _spelling(self) -> Spelling:
        words = [w for _, line in self._table("intents").lines for w in line.words]
        return Spelling(
            self._data.get("spelling", {}),
            words,
            frozenset(self._data.get("elisions", "").split()),
            folding=self._data.get("folding"),
            noise=frozenset(self._data.get("noise", "").split()),
            real=frozenset(self._data.get("real", "").split()),
        )

    def _folded(self, text: str) -> str:
        return text.translate(self._folding) if self._folding else text

    def _template(self, text: str) -> Template:
        return parse(self._as_read(text), self._classes)

    def _as_read(self, text: str) -> str:
        """A line whose words are as they are read in a sentence: small, spelt right."""
        spelling = self._data.get("spelling", {})

        def read(word: re.Match[str]) -> str:
            small = word[0].casefold()
            right = str(spelling.get(small, small))
            return small if " " in right else right

        return self._folded(_WORD.sub(read, text))

    def _table(self, section: str) -> "_Table":
        if section not in self._tables:
            rows = _lines(self._data.get(section, {}))
            self._tables[section] = _Table([(i, self._template(x)) for i, x in rows])
        return self._tables[section]


class _Table:
    """The lines of a section, by the word they begin with or by one they can't do without."""

    def __init__(self, lines: list[tuple[str, Template]]) -> None:
        self.lines = lines
        self._by_first: dict[str, list[int]] = {}
        self._by_word: dict[str, list[int]] = {}
        self._of_any: list[int] = []
        for place, (_, line) in enumerate(lines):
            if line.first is not None:
                for word in line.first:
                    self._by_first.setdefault(word, []).append(place)
            elif line.needs:
                for word in min(line.needs, key=len):
                    self._by_word.setdefault(word, []).append(place)
            else:
                self._of_any.append(place)

    def fitting(self, sentence: Sentence) -> list[tuple[str, Template]]:
        """The lines that a sentence may fit, in their order."""
        places = {*self._of_any, *self._by_first.get(sentence.words[0], ())}
        for word in sentence.vocabulary:
            places.update(self._by_word.get(word, ()))
        return [self.lines[place] for place in sorted(places)]


def _lines(section: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for intent, block in section.items():
        for line in block.splitlines():
            if line.strip():
                yield intent, line.strip()


@lru_cache(maxsize=len(LANGUAGES))
def language(code: str) -> Language:
    """The language of that code, read once."""
    text = files("assistant.router").joinpath(f"{code}.yaml").read_text(encoding="utf-8")
    # Everything is text to this loader: "no" stays a word.
    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # C where it is there: 16 times faster
    return Language(code, yaml.load(text, Loader=loader))


@lru_cache(maxsize=256)  # a conversation is asked about again at every turn
def likely(text: str, before: str) -> tuple[str, ...]:
    """The codes of the languages that a message may be in, the likeliest first: by its letters, by
    the words that the phrases of each have, and by what was spoken ``before``."""
    words = {w for w in tokens_of(text.casefold()) if w.isalnum() or "'" in w}
    if not words:
        return (before,)
    letters = evidence(text)
    score = {
        code: letters[code] + _KNOWN * language(code).knows(words) + _STAYS * (code == before)
        for code in LANGUAGES
    }
    ranked = sorted(score, key=score.__getitem__, reverse=True)
    return tuple(code for code in ranked if score[code] > score[ranked[0]] - _CLOSE)


def unheaded(text: str) -> str:
    """Without what counts it, in any language ("Test case 3 (negative): …", "Step 2 - …"), and
    without the lines that Markdown has for headings and for what somebody else said."""
    own = "\n".join(x for x in text.splitlines() if not _MARKDOWN.match(x)).strip() or text
    return _heading().sub("", own) or own


@cache
def _heading() -> re.Pattern[str]:
    words = "|".join(language(code).headings for code in LANGUAGES)
    return re.compile(rf"^\s*(?:{words})\s*#?\d+\s*(?:\([^)]*\)\s*)?[:：.–-]\s*", re.I)


def spoken(texts: Iterable[str]) -> str:
    """The code of the language that somebody speaks who said these texts one after another."""
    code = "en"
    for text in texts:
        code = likely(text, code)[0]
    return code
