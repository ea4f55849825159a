"""From what a user fills into a sentence to the name of a label: articles, quotes, plurals, typos.

Knows nothing of sentences or tools; which words are no names is data (``*.yaml``).
"""

import re
from collections.abc import Sequence

from assistant.router.language import Language, language
from assistant.router.spelling import Sentence, near, tokens_of
from tools.memory.labels import name_key
from tools.wording import singular

__all__ = ["find_known", "is_name", "mentioned", "name_in", "named", "names_in", "proper_name"]

_QUOTES = "\"'`“”‘’«»„*_"
_CALLED = re.compile(r".*\b(?:called|named|known as)\s+(?P<name>.+)", re.I | re.S)
_MY = re.compile(r"(?i:my|our) (?:\w+ ){0,2}\w+,? (?P<name>[A-Z][\w'.-]*)")  # my dog Rex
_QUOTED = re.compile(r".*?[\"“«„](?P<name>[^\"”»“]+)[\"”»“].*", re.S)
# "this is hilarious", "it is raining": what ends like this and has no article is no name
_NO_NOUN = re.compile(
    r"[a-z]{2,}(?:able|ible|ful|less|ous|ing|ed|ive|ical|est|ly|ier|iest)"
    r"|(?:redd|blu|green|yellow|gr[ae]y|brown|pink|purpl|whit|black|dark|round|small|bigg|long|old|"
    r"young|tall|fool|child|self|styl|girl|boy|fever|sheep|devil|freak)ish",  # no squish
    re.S,
)
_MAX_WORDS = 6


def name_in(
    slot: str,
    labels: Sequence[str],
    *,
    plural: bool = False,
    typos: bool = False,
    tongue: Language | None = None,
) -> str | None:
    """The name in what filled a ``{label}``, or None when it can't be one.

    A taught label is found whatever its case, article or number (and, with ``typos``, if it is a
    letter off); ``plural`` ("these are zorbs") makes a new name singular.
    """
    tongue = tongue or language("en")
    text = slot.strip().rstrip(".!,;:?。！，？").strip()
    quoted = _QUOTED.fullmatch(text)
    if quoted:
        text = quoted["name"]
    elif (called := _CALLED.fullmatch(text)) is not None:
        text = called["name"]
    elif (mine := _MY.fullmatch(text)) is not None and find_known(text, labels) is None:
        text = mine["name"]
    text = text.strip(_QUOTES + " ").rstrip(".!,;:?")
    known = find_known(text, labels)
    if known is not None:
        return known
    bare = text if quoted else _without_article(text, tongue)
    known = find_known(bare, labels, typos=typos)
    if known is not None:
        return known
    if not quoted and re.search(r"[:：]\s|,\s|，", bare):
        return None  # two things were said
    if not quoted and (not is_name(bare, tongue) or (bare == text and _NO_NOUN.fullmatch(bare))):
        return None
    titled = " " in bare and all(word[0].isupper() for word in bare.split())  # the Weeping Twins
    return singular(bare) if plural and tongue.code == "en" and not titled else bare


def names_in(slot: str, labels: Sequence[str], tongue: Language | None = None) -> list[str]:
    """The names in "a zorb, a blick or a gromp"."""
    joined = (tongue or language("en")).between
    parts = re.split(rf"\s*(?:,|，|、|;|/|\b(?:{joined})\b|还是|和)\s*", slot, flags=re.I)
    tongue = tongue or language("en")
    names = [
        name_in(p, labels, typos=True, tongue=tongue) or _without_article(p.strip(" ?"), tongue)
        for p in parts
    ]
    return list(dict.fromkeys(n for n in names if n))


def find_known(text: str, labels: Sequence[str], *, typos: bool = False) -> str | None:
    """The taught label that ``text`` is, in any case, singular or plural, or a letter off."""
    keys = {name_key(x): x for x in labels}
    wanted = name_key(text)
    for form in _forms(wanted):
        if form in keys:
            return keys[form]
    # Of a long name one letter is a typo, whatever is said of it.
    for form in (wanted, singular(wanted)):
        close = [k for k in keys if _nearly(form, k) and (typos or min(len(form), len(k)) > 7)]
        if len(close) == 1:
            return keys[close[0]]
    return None


def _forms(key: str) -> tuple[str, ...]:
    """What may be the name of a label where ``key`` was typed: of one, of many, of its owner."""
    return key, singular(key), key + "s", re.sub(r"['’]s?$", "", key)


def mentioned(text: str, labels: Sequence[str]) -> list[str]:
    """The taught labels that stand anywhere in ``text``, in the order of the text."""
    key = name_key(text)
    found = []
    for label in labels:
        place = re.search(rf"(?<!\w){re.escape(name_key(label))}(?:e?s|'s|n)?(?!\w)", key)
        if place is None and not label.isascii():
            place = re.search(re.escape(name_key(label)), key)
        if place is not None:
            found.append((place.start(), label))
    if not found:
        for start, word in ((m.start(), m[0]) for m in re.finditer(r"[\w'-]+", key)):
            close = find_known(word, labels, typos=True)
            if close is not None:
                found.append((start, close))
    return list(dict.fromkeys(label for _, label in sorted(found)))


def named(sentence: Sentence, labels: Sequence[str], *, typos: bool = True) -> Sentence:
    """The sentence with the places of taught labels in it.

    ``typos``: also those that are a letter off, where none is right.
    """
    keys = {name_key(x) for x in labels}
    longest = max((len(tokens_of(x)) for x in labels), default=0)
    size = len(sentence.words)
    letters = {key[:1] for key in keys}  # a form of a name begins as the name does
    ends = {
        start: tuple(
            end
            for end in range(start + 1, min(start + longest, size) + 1)
            if name_key(sentence.raw[sentence.spans[start][0]]) in letters
            and not keys.isdisjoint(_forms(name_key(sentence.raw_of((start, end)))))
        )
        for start in range(size)
    }
    if typos and not any(ends.values()):
        ends = {
            start: (start + 1,)
            for start in range(size)
            if find_known(sentence.raw_of((start, start + 1)), labels, typos=True) is not None
        }
    found = sentence.part(0)
    found.names = {start: places for start, places in ends.items() if places}
    return found


def proper_name(sentence: Sentence, tongue: Language) -> str | None:
    """The one name that an English sentence has in it: capitals inside, and no word of a phrase."""
    if tongue.code != "en" or sentence.text.isupper():
        return None
    runs: list[tuple[int, int]] = []
    for place, word in enumerate(sentence.words):
        typed = sentence.raw_of((place, place + 1))
        if place and len(typed) > 2 and typed[0].isupper() and word not in tongue.vocabulary:
            start = runs.pop()[0] if runs and runs[-1][1] == place else place
            runs.append((start, place + 1))
    return sentence.raw_of(runs[0]) if len(runs) == 1 else None


def is_name(text: str, tongue: Language | None = None) -> bool:
    """Whether ``text`` (without article) can be what someone calls a thing."""
    if not text or (len(text.split()) > _MAX_WORDS and len(text) > 40):
        # Kept when it is one endless word: the tool words why it is no name.
        return len(text.split()) == 1
    tongue = tongue or language("en")
    return not tongue.fits("not_names", text) and not (
        tongue.code != "en" and language("en").fits("not_names", text)
    )


def _without_article(text: str, tongue: Language) -> str:
    """Without "a", "the", "another"…; an article alone is no name."""
    block = tongue.block("articles")
    sentence = tongue.read(text)
    start = 0
    while block is not None and (end := max(block.ends(sentence, start), default=start)) > start:
        start = end
    if start >= len(sentence.words):
        return "" if start else text
    # What stands before the first word (a mark, a tag) is part of the name.
    return text[sentence.spans[start - 1][1] :].strip(_QUOTES + " ,:") if start else text


def _nearly(a: str, b: str) -> bool:
    shortest = min(len(a), len(b))
    return shortest > 3 and near(a, b, 2 if shortest > 7 else 1)
