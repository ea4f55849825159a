"""What the reader learns from: examples as their files hold them, and more that are made of them.

An example is a line under a heading ``## INTENT BEFORE``, its slots marked as
``[what fills it](slot)``; in a line under ``## several BEFORE`` each wish begins with its
``<intent>``. Knows nothing of networks.
"""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from assistant.router.learned import BEFORE
from assistant.router.marking import SLOTS

__all__ = ["RENAMED", "SEVERAL", "TAUGHT", "Example", "examples_in", "paired", "renamed"]

TAUGHT = {
    code: ("zorb", "blick", "gromp", "Rex", mug)
    for code, mug in (
        ("en", "coffee mug"), ("de", "Kaffeebecher"), ("fr", "tasse à café"),
        ("es", "taza de café"), ("zh", "咖啡杯"),
    )
}  # fmt: skip
"""The names that stand for taught ones in the examples of a language."""
_SLOT = re.compile(r"\[([^\]]+)\]\((\w+)\)")
SEVERAL = "several"
"""What stands for the intent of an example that holds several wishes."""
_WISH = re.compile(r"<(\w+)>")
RENAMED = {"teach": "label", "is_it": "label", "rename": "other", "alias": "other"}
"""Which slot of an intent may hold what nobody taught."""
_TALKED, _FIRST = 0.4, 0.65  # of those with talk in place of one, and with the talk before the wish
_ALONE = ("several", "help", "dont_know", "off_topic", "nothing")
_JOINTS = {
    code: tuple(x.replace("_", " ").replace("\\", "\n") for x in text.split())
    for code, text in {
        "en": """._ ._ ._ !_ \\ _ ;_ _-_ ,_ ,_ ,_and_ _and_ _and_ _and_then_ ,_then_ _then_ ._Then_
            ._Also_ _also_ _and_also_ _plus_ ,_plus_ _but_first_ _&_ _after_that_ ._And_ ._Now_""",
        "de": """._ ._ ._ !_ \\ _ ;_ _-_ ,_ ,_ ,_und_ _und_ _und_ _und_dann_ ,_dann_ _dann_ ._Dann_
            ._Außerdem_ _und_außerdem_ _danach_ ,_aber_erst_ _und_noch_ ._Und_ ._Jetzt_""",
        "fr": """._ ._ ._ !_ \\ _ ;_ _-_ ,_ ,_ ,_et_ _et_ _et_ _et_puis_ ,_puis_ _puis_ ._Puis_
            ._Aussi_ _et_aussi_ _ensuite_ ,_ensuite_ _mais_d'abord_ ._Et_ ._Maintenant_""",
        "es": """._ ._ ._ !_ \\ _ ;_ _-_ ,_ ,_ ,_y_ _y_ _y_ _y_luego_ ,_luego_ _luego_ ._Luego_
            ._También_ _y_también_ _después_ ,_y_después_ _pero_primero_ ._Y_ ._Ahora_""",
        "zh": """。 。 。 ！ \\ _ ， ， ， ； ，然后 ，再 然后 ，还有
            ，顺便 ，另外 。另外 ，接着 ，同时 ，也 。现在""",
    }.items()
}
"""What may join two wishes in one message; "_" is a space, a backslash a new line."""


@dataclass(frozen=True)
class Example:
    """What somebody may type, and what it means."""

    intent: str
    before: str
    """One of :data:`assistant.router.learned.BEFORE`."""
    text: str
    slots: tuple[tuple[int, int, str], ...]
    """From which to which character what fills which slot."""
    starts: tuple[int, ...] = ()
    """The characters at which a further wish begins."""


def examples_in(text: str) -> Iterator[Example]:
    """The examples of a file; of a line with several wishes the whole, and then each of them.

    Raises ValueError, with the line, for one that is none.
    """
    intent = before = ""
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith("## "):
            intent, before = line[3:].split()
        elif intent == SEVERAL:
            lead, *wishes = _WISH.split(line)
            if lead or len(wishes) < 4:
                raise ValueError(f"{line!r}: no line of several wishes.")
            parts = [_example(i, before, w) for i, w in zip(wishes[::2], wishes[1::2], strict=True)]
            ends = list(accumulate(len(p.text) for p in parts))
            yield Example(SEVERAL, before, "".join(p.text for p in parts), (), tuple(ends[:-1]))
            yield from parts
        elif not line.startswith("#"):
            yield _example(intent, before, line)


def _example(intent: str, before: str, line: str) -> Example:
    plain, slots, place = "", [], 0
    for found in _SLOT.finditer(line):
        plain += line[place : found.start()]
        slots.append((len(plain), len(plain) + len(found[1]), found[2]))
        plain += found[1]
        place = found.end()
    # A correction says what a thing is, as a teaching does: what came before tells them apart.
    meant = "teach" if intent == "correct" else intent
    if before not in BEFORE or any(s not in SLOTS.get(meant, ()) for _, _, s in slots):
        raise ValueError(f"{line!r}: no line for {intent!r} after {before!r}.")
    return Example(meant, before, plain + line[place:], tuple(slots))


def renamed(examples: Sequence[Example], chance: random.Random) -> Iterator[Example]:
    """The examples that give a name, each with a name of another."""
    names = [e.text[a:b] for e in examples for a, b, s in e.slots if s in ("label", "other")]
    for example in examples:
        if example.intent in RENAMED:
            text, place, slots = "", 0, []
            for start, end, slot in example.slots:
                new = slot == RENAMED[example.intent]
                filled = chance.choice(names) if new else example.text[start:end]
                text += example.text[place:start]
                slots.append((len(text), len(text) + len(filled), slot))
                text += filled
                place = end
            yield replace(example, text=text + example.text[place:], slots=tuple(slots))


def paired(
    examples: Sequence[Example], number: int, code: str, chance: random.Random
) -> Iterator[Example]:
    """So many pairs of examples in one message: two wishes, or a wish and talk beside it."""
    wishes: dict[str, list[Example]] = {}
    talk: dict[str, list[Example]] = {}
    for example in examples:
        if example.intent == "nothing":
            talk.setdefault(example.before, []).append(example)
        elif example.intent not in _ALONE:
            wishes.setdefault(example.before, []).append(example)
    if not wishes:
        return
    weights = [len(x) for x in wishes.values()]
    for _ in range(number):
        (before,) = chance.choices(list(wishes), weights)
        one, other = chance.choice(wishes[before]), chance.choice(wishes[before])
        if before in talk and chance.random() < _TALKED:
            said = chance.choice(talk[before])
            one, other = (said, one) if chance.random() < _FIRST else (one, said)
        yield _put_together(one, other, chance.choice(_JOINTS[code]))


def _put_together(one: Example, other: Example, joint: str) -> Example:
    """One message of two, the later of which begins with what joins them."""
    first, later = one.text.rstrip(), other.text
    named = any(start == 0 for start, _, _ in other.slots)
    if joint[0] not in ".!。！\n":
        first = first.rstrip(".!。！")
        if not named and later[1:2].islower():
            later = later[0].lower() + later[1:]
    elif first[-1:] in "?!.？！。":
        joint = joint[1:]
    mark = len(joint) - len(joint.lstrip(" ,;.!-–\n，。；、！"))
    begins, shift = len(first) + mark, len(first) + len(joint)
    slots = (*one.slots, *((a + shift, b + shift, s) for a, b, s in other.slots))
    talked = [e for e in (one, other) if e.intent != "nothing"]
    text = first + joint + later
    if len(talked) == 1:
        return Example(talked[0].intent, one.before, text, slots)
    return Example(SEVERAL, one.before, text, (), (begins,))
