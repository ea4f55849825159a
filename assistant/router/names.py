"""From what a user fills into a sentence to the name of a label: articles, quotes, plurals.

Knows nothing of sentences or tools.
"""

import re
from collections.abc import Sequence

from tools.memory.labels import name_key

__all__ = ["find_known", "is_name", "name_in", "names_in", "singular"]

_QUOTES = "\"'`“”‘’«»„*_"
_ARTICLE = re.compile(r"(?:(?:an?|the|some|these|those|another|one of the|one of my)\s+)+", re.I)
_CALLED = re.compile(r".*\b(?:called|named|known as)\s+(?P<name>.+)", re.I | re.S)
_MY = re.compile(r"(?i:my|our) (?:\w+ ){1,2}(?P<name>[A-Z]\w*)")  # my dog Rex
_QUOTED = re.compile(r".*?[\"“«„](?P<name>[^\"”»“]+)[\"”»“].*", re.S)
_MAX_WORDS = 6

# "this is great": words and beginnings that are no name of a thing
_NOT_A_NAME = re.compile(
    r"(?:so|very|really|too|quite|pretty|just|not|n't|rather|only|more|less|how|what|why|where|"
    r"when|who|whose|which|that|if|because|since|for|in|on|at|from|about|of|with|without|to|than|"
    r"by|under|over|behind|near|beside|between|getting|going|being|becoming|still|already|never|"
    r"always|mine|yours|ours|working|broken|done|enough|all|both|up|down|here|there|now|then|"
    r"again|also|it|this|me|you|i|we|us|as|like|supposed|fun|funny|your turn|my turn|"
    r"same|(?:my|your|the) (?:favou?rite|same|one|first|second|third|last|next|best|worst|end|"
    r"point|problem|question|picture|photo|image|case|opposite|answer|way|"
    r"reason))\b.*"
    r"|(?:great|good|bad|nice|cool|awesome|fine|wrong|right|correct|incorrect|true|false|ok|"
    r"okay|"
    r"amazing|beautiful|ugly|cute|interesting|boring|wonderful|fantastic|terrible|horrible|easy|"
    r"hard|difficult|strange|weird|odd|blurry|dark|bright|lovely|perfect|excellent|brilliant|"
    r"impressive|clever|stupid|silly|sad|happy|better|worse|different|similar|identical|new|old|"
    r"important|obvious|clear|unclear|possible|impossible|hello|hi|hey|thanks|yes|no|yep|nope|"
    r"maybe|please|help|everything|nothing|something|anything|annoying|useless|useful|crazy|"
    r"insane|adorable|gorgeous|super|neat|red|green|blue|yellow|black|white|big|small|large|tiny)"
    r"(?:[ ,](?:to|for|of|that|work|job|stuff|but|and|isn't|don't|thanks?|enough)\b.*)?",
    re.I | re.S,
)
# "this is a great picture": an article before one of these names nothing either
_META = re.compile(
    r"(?:.*\s)?(?:test|question|joke|mess|shame|problem|example|mistake|error|try|attempt|lie|"
    r"game|day|idea|pictures?|photos?|images?|drawings?|answer|surprise|secret|bug|feature|demo|"
    r"thing|things|lot|bit|pity|pleasure|start|one|ones|job|work|guess|it|them|name|label)",
    re.I | re.S,
)


def name_in(slot: str, labels: Sequence[str], *, plural: bool = False) -> str | None:
    """The name in what filled a ``<label>``, or None when it can't be one.

    A taught label is found whatever its case, article or number; ``plural`` ("these are zorbs")
    makes a new name singular.
    """
    text = slot.strip().rstrip(".!,;:?").strip()
    quoted = _QUOTED.fullmatch(text)
    if quoted:
        text = quoted["name"]
    elif (called := _CALLED.fullmatch(text)) is not None:
        text = called["name"]
    elif (mine := _MY.fullmatch(text)) is not None:
        text = mine["name"]
    text = text.strip(_QUOTES + " ").rstrip(".!,;:?")
    article = _ARTICLE.match(f"{text} ")  # with a space, so that an article alone is no name
    bare = text[article.end() :].strip(_QUOTES + " ") if article else text
    known = find_known(bare, labels)
    if known is not None:
        return known
    if not quoted and not is_name(bare):
        return None
    return singular(bare) if plural else bare


def names_in(slot: str, labels: Sequence[str]) -> list[str]:
    """The names in "a zorb, a blick or a gromp"."""
    parts = re.split(r"\s*(?:,|;|/|\bor\b|\band\b|\bvs\.?\b)\s*", slot, flags=re.I)
    names = [name_in(p, labels) or p.strip() for p in parts if p.strip()]
    return list(dict.fromkeys(names))


def find_known(text: str, labels: Sequence[str]) -> str | None:
    """The taught label that ``text`` is, in any case, singular or plural."""
    keys = {name_key(x): x for x in labels}
    wanted = name_key(text)
    for form in (wanted, singular(wanted), wanted + "s"):
        if form in keys:
            return keys[form]
    return None


def is_name(text: str) -> bool:
    """Whether ``text`` (without article) can be what someone calls a thing."""
    if not text or (len(text.split()) > _MAX_WORDS and len(text) > 40):
        # Kept when it is one endless word: the tool words why it is no name.
        return len(text.split()) == 1
    return not _NOT_A_NAME.fullmatch(text) and not _META.fullmatch(text)


def singular(name: str) -> str:
    """English plural → singular of the last word, by its spelling alone."""
    rules = ((r"ies$", "y"), (r"(ch|sh|ss|x|z)es$", r"\1"), (r"([^s'us])s$", r"\1"))
    for pattern, replacement in rules:
        changed, count = re.subn(pattern, replacement, name, flags=re.I)
        if count and len(changed) > 1:
            return changed
    return name
