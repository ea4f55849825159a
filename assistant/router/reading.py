"""A message taken apart: clauses, references to photos, and the intent of each clause.

Knows nothing of tools or messages; the phrases are data (``*.yaml``).
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import yaml

__all__ = ["Clause", "Reading", "is_question", "match", "split"]

_LONGEST = 300  # characters of a clause that the table is tried on; longer ones are no orders
_PIECES = {
    "this": r"(?:this one|that one|these ones|this|that|it|these|those|they|he|she|both(?: of "
    r"(?:these|them))?|(?:this|that|the|these|those) (?:thing|creature|animal|object|ones?|"
    r"pictures?|photos?|images?|drawings?|guy|person|toy|character|plant|things))",
    "isnt": r"(?:\s+(?:is|are|was|were)(?:\s+not|n't|nt)|'s not|'re not|\s+(?:does not|doesn't) "
    r"show|\s+ain't)",
    "is": r"(?:\s+(?:is|are|was|were|shows?|depicts?)(?!n't)\b|'s|'re|\s?=)",
    "no": r"(?:no+|nope|nah|wrong|incorrect|not quite|sorry|oops|actually|false|"
    r"(?:that|this|it)(?:'s| is) (?:wrong|incorrect|not right|not it|false))",
    "a": r"(?:an?\s+)?",
    "label": r"(?P<label>.+?)",
    "other": r"(?P<other>.+?)",
    "query": r"(?P<query>.+?)",
    "list": r"(?P<list>.+?)",
    "description": r"(?P<description>.+)",
}
_TYPOS = {
    r"w(?:ah|ha|a|u|hta)t": "what",
    r"hwat": "what",
    r"wats|whats|what s": "what's",
    r"th(?:si|ia|s)|tihs|htis": "this",
    r"taht|thta": "that",
    r"thats": "that's",
    r"teh": "the",
    r"isnt": "isn't",
    r"arent": "aren't",
    r"wasnt": "wasn't",
    r"dont": "don't",
    r"doesnt": "doesn't",
    r"its(?= (?:an?|the|not|called|really|actually)\b)": "it's",
    r"u": "you",
    r"ur": "your",
    r"pls|plz": "please",
    r"fo?rge?t+|froget|fogret": "forget",
    r"renmae|reanme": "rename",
    r"udno|undoo": "undo",
    r"descri(?:be|b)|discribe": "describe",
}
_BEFORE = re.compile(
    r"(?:(?:please|hey|hi|hello|imprint|ok|okay|well|so|yes|yep|yeah|yup|right|great|cool|nice|"
    r"and|then|also|now|alright|all right|look|hm+|oh|ah|um+|just|but)\b[\s,!.:…-]*(?=\S)|"
    r"(?:can|could|would|will) you (?:please |just |also )?(?=(?:tell|describe|show|find|forget|"
    r"rename|merge|undo|remember|learn|list|explain|caption|compare|classify|identify|call|give|"
    r"look|name|guess|say|delete|search|teach|label)\b)|"
    r"(?:i want you to|i(?:'d| would) like you to|i want to know|i(?:'d| would) like to know|let's|"
    r"let us|i think|i believe|i(?:'d| would) say|i guess|try to|go ahead and)\s+|"
    r"(?:tell me|say|do you know|can you tell(?: me)?|could you tell(?: me)?)\s+"
    r"(?=(?:if|whether|what|how|where|who|which)\b))",
    re.I,
)
_AFTER = re.compile(
    r"[\s,]*\b(?:please|for me|thanks|thank you|imprint|ok|okay|then|right now|by the way|btw|"
    r"i think|i guess|i believe|of course)$"
    r"|\s*(?::-?\)|;-?\)|:-?D)$",
    re.I,
)
_AND = re.compile(
    r"(?:,\s*)?(?:\band then\b|\bthen\b|\band also\b|\band\b|,)\s+(?=(?:please )?(?:tell me|"
    r"describe|say (?:if|what|whether)|what|how many|how sure|where|is (?:it|this|that|there)|"
    r"are there|does (?:it|this)|show me|undo|rename|forget|merge|caption|compare|why)\b)",
    re.I,
)
_ORDINALS = {
    w: i + 1
    for i, words in enumerate(
        ("first 1st", "second 2nd", "third 3rd", "fourth 4th", "fifth 5th", "sixth 6th")
    )
    for w in words.split()
}
_PICTURE = r"(?:pictures?|photos?|images?|drawings?|pics?|ones?)"
_REFERENCES = re.compile(
    rf"\b(?:(?:the |my |that |your )?(?P<ordinal>{'|'.join(_ORDINALS)})(?: {_PICTURE}|(?=$| and ))"
    rf"|(?:the )?(?:pictures?|photos?|images?|drawings?|pics?) (?:number |nr\.? |no\.? |#)?"
    rf"(?P<number>\d+)(?:(?:,? and |, ?| ?& ?)#?(?P<number2>\d+))?"
    rf"|(?:the |my )(?P<last>last|latest|newest|most recent) {_PICTURE}"
    rf"|the (?P<before>(?:previous|earlier) {_PICTURE}|{_PICTURE} before(?: that| this)?)"
    rf"|(?:the )?(?P<two>(?:last|previous) two(?: {_PICTURE})?|two {_PICTURE}|both {_PICTURE}))\b",
    re.I,
)
_QUESTION = re.compile(
    r"(?:what|who|whose|where|when|why|how|which|is|are|was|were|do|does|did|can|could|has|have|"
    r"will|would|should|isn't|aren't|any)\b",
    re.I,
)


@dataclass(frozen=True)
class Clause:
    """One statement, order or question; ``photos`` are the numbers it refers to by words."""

    text: str
    question: bool
    photos: tuple[int, ...] = ()


@dataclass(frozen=True)
class Reading:
    """The intent of a clause and what filled its slots (label, other, query, list…)."""

    intent: str
    slots: dict[str, str]


def split(message: str, *, photo_count: int, turn_photos: tuple[int, ...]) -> list[Clause]:
    """The clauses of a message, cleaned of politeness, typos and picture references."""
    text = message.replace("’", "'").replace("‘", "'").replace("`", "'")
    clauses = []
    for part in re.findall(r"[^.!?\n]+(?:[.!?]+(?!\s|$)[^.!?\n]*)*[.!?]*|[?]+", text):
        marked = part.strip()
        question = marked.endswith("?")
        marked = marked.rstrip("?!.… ").strip() if marked.strip("?!. ") else "?"
        for piece in _AND.split(marked):
            body = _polite(_spelt(piece.strip(" ,")))
            if not body:
                continue
            body, photos = _referred(body, photo_count, turn_photos)
            clauses.append(Clause(body, question, photos))
    return clauses


def is_question(clause: Clause) -> bool:
    """Whether it asks, by its mark or its first word."""
    return clause.question or _QUESTION.match(clause.text) is not None


def match(clause: Clause, table: str = "phrases.yaml") -> list[Reading]:
    """Every shape of the table that fits, in its order; the caller takes the first that serves."""
    if len(clause.text) > _LONGEST:
        head = clause.text[:40]
        # A name of ten thousand characters is still a name, if a wrong one: the tool says so.
        shape = re.match(r"(?:this|that|it) is (?:an? )?", head, re.I)
        if shape and " " not in clause.text[shape.end() :].strip():
            return [Reading("teach", {"label": clause.text[shape.end() :]})]
        return []
    found = []
    for intent, pattern in _table(table):
        fit = pattern.fullmatch(clause.text)
        if fit:
            found.append(Reading(intent, {k: v for k, v in fit.groupdict().items() if v}))
    return found


@lru_cache(maxsize=2)
def _table(name: str) -> tuple[tuple[str, re.Pattern[str]], ...]:
    text = files("assistant.router").joinpath(name).read_text(encoding="utf-8")
    rows = [(i, s) for group in yaml.safe_load(text) for i, ss in group.items() for s in ss]
    return tuple((intent, re.compile(_expand(shape), re.I | re.S)) for intent, shape in rows)


def _expand(shape: str) -> str:
    for name, piece in _PIECES.items():
        shape = shape.replace(f"<{name}>", piece)
    return shape


@lru_cache(maxsize=1)
def _typos() -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((re.compile(rf"\b(?:{k})\b", re.I), v) for k, v in _TYPOS.items())


def _spelt(text: str) -> str:
    if len(text) > _LONGEST:
        return text
    for pattern, right in _typos():
        text = pattern.sub(right, text)
    return text


def _polite(text: str) -> str:
    """Without the words that only oil a sentence; never without all of its words."""
    while (found := _BEFORE.match(text)) and found.end() < len(text):
        text = text[found.end() :]
    while (found := _AFTER.search(text)) and found.start() > 0:
        text = text[: found.start()]
    return text.strip(" ,")


def _referred(text: str, count: int, turn: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """Put "this" for a reference to a picture, and return its number."""
    if re.match(r"(?:undo|revert|take)\b", text, re.I):
        return text, ()
    numbers: list[int] = []
    newest = turn[0] if turn else count  # "the one before" is before the one discussed

    def replace(found: re.Match[str]) -> str:
        if found["ordinal"]:
            numbers.append(_ORDINALS[found["ordinal"].lower()])
        elif found["number"]:
            numbers.extend(int(n) for n in (found["number"], found["number2"]) if n)
        elif found["last"]:
            numbers.append(count)
        elif found["before"]:
            numbers.append(max(newest - 1, 1))
        else:
            numbers.extend(n for n in (count - 1, count) if n > 0)
            return "these"
        return "this" if len(numbers) < 2 else "these"

    replaced = _REFERENCES.sub(replace, text)
    return replaced, tuple(n for n in dict.fromkeys(numbers) if n > 0)
