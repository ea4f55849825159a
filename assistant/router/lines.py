"""Sentence templates as they are written in a language's file:

    undo [that|it]                  a word, and something that may be missing
    (show|find) [me] <all> {query}  one of several, a class of words, what the user fills in
    [please|now]+ (so|very)+ good   the same as often as they come: at all, at least once
    colou?r {label} : {rest} *      a letter that may be missing, a colon that must be, any rest
    {!label}                        the name of a label that is taught, and nothing else
    this [_] toy                    any one word

Knows nothing of how they are matched.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from assistant.router.grammar import MARKS, Template
from assistant.router.spelling import tokens_of

__all__ = ["parse", "words_in"]

_TOKEN = re.compile(r"[\])]\+|[\[\]()|*]|<\w+>|\{!?\w+\}|[^\s\[\]()|*<>{}]+")


def parse(text: str, classes: Mapping[str, Template]) -> Template:
    """The template of a line; ``classes`` are the templates that ``<name>`` stands for."""
    tokens = _TOKEN.findall(text)
    place = 0

    def alternatives() -> Template:
        nonlocal place
        options: list[list[Template]] = [[]]
        while place < len(tokens) and tokens[place][0] not in "])":
            token = tokens[place]
            place += 1
            if token == "|":
                options.append([])
            elif token in "[(":
                inner = alternatives()
                if place >= len(tokens) or tokens[place][0] != {"[": "]", "(": ")"}[token]:
                    raise ValueError(f"{text!r}: a bracket is not closed.")
                if tokens[place][-1] == "+":
                    inner = Template("many", parts=(inner,))
                place += 1
                options[-1].append(Template("opt", parts=(inner,)) if token == "[" else inner)
            else:
                options[-1] += _atoms(token, classes)
        parts = tuple(o[0] if len(o) == 1 else Template("seq", parts=tuple(o)) for o in options)
        return parts[0] if len(parts) == 1 else Template("alt", parts=parts)

    tree = alternatives()
    if place < len(tokens):
        raise ValueError(f"{text!r}: a bracket closes that was not opened.")
    return tree


def words_in(text: str) -> Iterator[str]:
    """The words of a line, without those of its classes; its brackets are not looked at."""
    for token in _TOKEN.findall(text):
        if token[0] not in "[](){}<|*":
            for atom in _atoms(token, {}):
                yield from atom.words


def _atoms(token: str, classes: Mapping[str, Template]) -> list[Template]:
    if token[0] == "<":
        return [classes[token[1:-1]]]
    if token[0] == "{":
        name = token[1:-1]
        return [Template("name", name[1:]) if name[0] == "!" else Template("slot", name)]
    if token in (*MARKS, "，"):
        return [Template("mark", token if token in MARKS else ",")]
    if token == "*":
        return [Template("rest")]
    if token == "_":
        return [Template("any")]
    # A Chinese sign is a word; what is left stays whole, with the marks that may be in it.
    return [_word(w) for w in ([token.casefold()] if token.isascii() else tokens_of(token))]


@lru_cache(maxsize=4000)
def _word(text: str) -> Template:
    return Template("word", text)
