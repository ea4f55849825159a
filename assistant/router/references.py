"""Pictures that are pointed at by words: "the first one", "the one before", "both", "the left one".

Knows nothing of what is said of them; the words are data (``references`` in ``*.yaml``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from assistant.router.grammar import Template
from assistant.router.language import LANGUAGES, Language
from assistant.router.spelling import Sentence

__all__ = ["Pictures", "referred"]

_KINDS = (
    "nth", "last", "before", "lasttwo", "firsttwo", "all", "counted", "left", "middle", "right",
    "other",
)  # fmt: skip
_BARE = ("nth", "last", "before", "left", "middle", "right")
_SIDES = ("left", "middle", "right")


@dataclass(frozen=True)
class Pictures:
    """The numbers of the pictures that words can point at."""

    here: tuple[int, ...] = ()
    """Those of this message."""
    count: int = 0
    """How many there are in the conversation, with those."""
    shown: tuple[int, ...] = ()
    """Those of the last message that had any."""

    @property
    def together(self) -> tuple[int, ...]:
        """Several that came together, those of this message or else the last ones; or none."""
        several = self.here or self.shown
        return several if len(several) > 1 else ()

    @property
    def group(self) -> tuple[int, ...]:
        """Those that came together, or else all of the conversation."""
        return self.together or tuple(range(1, self.count + 1))


def referred(
    sentence: Sentence, tongue: Language, pictures: Pictures, before: Sequence[int] = ()
) -> tuple[Sentence, tuple[int, ...]]:
    """The sentence with "this" for what points at pictures, and their numbers.

    ``before`` are the numbers that the message pointed at already: "the other one" is not of them.
    """
    numbers: list[int] = []
    kept: list[int] = []
    unless = tongue.block("references", "unless")
    text, done = "", 0
    place = 0
    while place < len(sentence.words):
        kind, end = _pointing(sentence, place, tongue)
        if end and _means_no_picture(kind, sentence, place, end, tongue):
            end = 0
        if not end or (unless is not None and unless.ends(sentence, end)):
            place += 1
            continue
        these = _numbers(kind, sentence, place, end, tongue, pictures, [*before, *numbers, *kept])
        if these is None:
            place += 1
            continue
        (kept if _left_out(sentence, place, tongue) else numbers).extend(these)
        left, right = sentence.spans[place][0], sentence.spans[end - 1][1]
        text += sentence.raw[done:left] if done else sentence.raw[sentence.spans[0][0] : left]
        text += "this" if len(these) == 1 else "these"
        done, place = right, end
    if not done:
        return sentence, ()
    text += sentence.raw[done : sentence.spans[-1][1]]
    return tongue.read(text), tuple(dict.fromkeys(numbers))


def _left_out(sentence: Sentence, place: int, tongue: Language) -> bool:
    """ "Forget the left one, keep the right one"."""
    block = tongue.block("references", "left_out")
    return bool(place and block is not None and place in block.ends(sentence, place - 1))


def _pointing(sentence: Sentence, place: int, tongue: Language) -> tuple[str, int]:
    found = ("", 0)
    openings = _openings(tongue)
    for kind, block in openings.get(sentence.words[place], openings[""]):
        end = max(block.ends(sentence, place), default=0)
        if end > found[1]:
            found = (kind, end)
    return found


@lru_cache(maxsize=len(LANGUAGES))
def _openings(tongue: Language) -> dict[str, list[tuple[str, Template]]]:
    """What may point at pictures, by the word that it begins with; "" is any other word."""
    blocks = [(k, b) for k in _KINDS if (b := tongue.block("references", k)) is not None]
    words = {w for _, block in blocks for w in block.first or ()}
    return {w: [(k, b) for k, b in blocks if b.first is None or w in b.first] for w in (*words, "")}


def _means_no_picture(
    kind: str, sentence: Sentence, place: int, end: int, tongue: Language
) -> bool:
    if kind == "all" and place and (block := tongue.block("references", "not_after")):
        # "Forget all pictures" means everything, not those of this conversation.
        return place in block.ends(sentence, place - 1)
    if kind == "lasttwo" and (block := tongue.block("references", "changes_after")):
        # "Undo the last two" means changes.
        return any(block.ends(sentence, i) for i in range(place))
    bare, picture = (tongue.block("references", x) for x in ("bare_before", "picture"))
    if bare and picture and kind in _BARE and not picture.ends(sentence, end - 1):
        # "The second one is …", and no "the second zorb" where the language leaves out "one".
        return end < len(sentence.words) and not (
            sentence.marks[end - 1].strip() or bare.ends(sentence, end)
        )
    if kind == "counted":  # "all three are zorbs", and no "all three zorbs"
        block = tongue.block("references", "counted_before")
        return block is None or not block.ends(sentence, end)
    return False


def _numbers(
    kind: str,
    sentence: Sentence,
    place: int,
    end: int,
    tongue: Language,
    pictures: Pictures,
    before: Sequence[int],
) -> list[int] | None:
    """The numbers of the pictures; none of what this message is about anyway, None where words
    point at no picture."""
    here, count, together = pictures.here, pictures.count, pictures.together
    newest = here[0] if here else count  # "the one before" is before the one discussed
    group = list(pictures.group)
    if kind in _SIDES:
        if len(together) < 2 and (kind != "middle" or count < 3):
            return None  # what is on the left of the one picture
        return [group[{"left": 0, "middle": len(group) // 2, "right": -1}[kind]]]
    if kind == "other":
        rest = [n for n in group if n not in before]
        return rest if before and rest else None
    found = {
        "last": [count],
        "before": [max(newest - 1, 1)],
        "lasttwo": [] if len(here) > 1 else [count - 1, count],
        "firsttwo": [1, 2],
        "all": [] if len(here) > 1 else list(range(1, count + 1)),
        "counted": [] if len(here) > 1 else group,
    }.get(kind)
    if found is None:
        words = sentence.words[place:end]
        found = [n for w in words if (n := _number(w, tongue))]
        if len(found) > 1 and words[-1] == "one":
            found.pop()  # "the second one"
        if not found:
            return None
        if together and not any(w.isdecimal() for w in words):
            found = [together[n - 1] if n <= len(together) else n for n in found]
    return [n for n in found if n > 0]


def _number(word: str, tongue: Language) -> int:
    return int(word) if word.isdigit() and len(word) < 4 else tongue.ordinals.get(word, 0)
