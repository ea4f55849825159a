"""What the learned reader sees of each word of a message.

Knows nothing of weights. Names of taught labels are one sign, and so are words that too few
examples have: of those their shape, their ending and the marks beside them are left.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from assistant.router.language import Language
from assistant.router.names import named

__all__ = ["Token", "features_of", "tokens_in"]

_TAUGHT, _RARE = "§", "¤"
_QUOTES = "\"“«„'‘‹「"
_LONGEST = 10  # letters that are counted


@dataclass(frozen=True)
class Token:
    """A word of a message, or the whole name of a taught label."""

    word: str
    start: int
    end: int
    """From which to which character of what was typed."""
    taught: bool
    mark: str
    """What stands between it and the token before."""


def tokens_in(text: str, labels: Sequence[str], tongue: Language) -> list[Token]:
    """The words of a text as the tables spell them, with the names of ``labels`` in one piece."""
    sentence = named(tongue.read(text), labels, typos=False)
    tokens = []
    place = 0
    while place < len(sentence.words):
        ends = sentence.names.get(place, ())
        end = max(ends, default=place + 1)
        tokens.append(
            Token(
                _TAUGHT if ends else sentence.words[place],
                sentence.spans[place][0],
                sentence.spans[end - 1][1],
                bool(ends),
                sentence.marks[place - 1].strip() if place else "",
            )
        )
        place = end
    return tokens


def features_of(text: str, tokens: Sequence[Token], common: Collection[str]) -> list[list[str]]:
    """The features of each token; ``common`` are the words that are seen as they are."""
    found = []
    for place, token in enumerate(tokens):
        word = token.word if token.taught or token.word in common else _RARE
        shape = _shape(text[token.start : token.end])
        last = place + 1 == len(tokens)
        after = text[token.end :].strip()[:1] if last else tokens[place + 1].mark[:1]
        quoted = token.start > 0 and text[token.start - 1] in _QUOTES
        found.append(
            [
                f"w={word}",
                f"sh={shape}{place == 0}",
                f"before={token.mark[:1] if place else '<'}",
                f"after={after}{last}",
                f"quoted={quoted}",
                f"e3={token.word[-3:]}",
                f"e2={token.word[-2:]}",
                f"p3={token.word[:3]}",
                f"rare={word == _RARE}{shape}",
                f"long={min(len(token.word), _LONGEST)}",
            ]
        )
    return found


def _shape(typed: str) -> str:
    if any(c.isdigit() for c in typed):
        return "d"
    if len(typed) > 1 and typed.isupper():
        return "U"
    return "T" if typed[:1].isupper() else "l"
