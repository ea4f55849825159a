"""Which words of a message fill which slot: the slots of an intent, and the likeliest marking.

Of all ways to mark the words the likeliest that is one is taken (Viterbi, 1967). Knows nothing of
networks or of tools.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np
import numpy.typing as npt

__all__ = ["MUST", "SLOTS", "TAGS", "spans"]

_SLOTS = {
    "teach": "label! other",
    "reject": "label",
    "is_it": "label!",
    "detect": "label",
    "find_label": "label",
    "find": "query!",
    "report": "label",
    "why": "label",
    "forget": "label!",
    "rename": "label! other!",
    "merge": "label! other!",
    "split": "label",
    "alias": "label other!",
    "teach_answer": "question! answer!",
}
SLOTS: Mapping[str, tuple[str, ...]] = {
    intent: tuple(slots.replace("!", "").split()) for intent, slots in _SLOTS.items()
}
"""The slots that an intent may fill; the others have none."""
MUST: Mapping[str, tuple[str, ...]] = {
    intent: tuple(slot[:-1] for slot in slots.split() if slot.endswith("!"))
    for intent, slots in _SLOTS.items()
    if "!" in slots
}
"""Those without which it means nothing."""
TAGS = (
    "O",
    *(mark + slot for slot in ("label", "other", "query", "question", "answer") for mark in "BI"),
)
"""What a word may be: no part of a slot, where one begins, or where it goes on."""
_NEVER = -1e9

Array = npt.NDArray[np.float32]


def _belonging(marks: Array, slot: str) -> list[float]:
    """For each word how likely it belongs to a slot, as a logarithm."""
    begins, goes_on = TAGS.index(f"B{slot}"), TAGS.index(f"I{slot}")
    found: list[float] = np.logaddexp(marks[:, begins], marks[:, goes_on]).tolist()
    return found


def spans(marks: Array, intent: str) -> dict[str, tuple[int, int, float]]:
    """From which to which word each slot is filled, and how likely each of those belongs to it, on
    average; one that must be filled is, however unlikely."""
    slots = SLOTS[intent]
    runs = _runs(marks, slots)
    found = {}
    for slot in slots:
        belongs = _belonging(marks, slot)
        own = [span for name, span in runs if name == slot]
        if not own and slot in MUST.get(intent, ()):
            taken = {i for _, (start, end) in runs for i in range(start, end)}
            free = [i for i in range(len(belongs)) if i not in taken]
            own = [(i, i + 1) for i in free if belongs[i] == max(belongs[j] for j in free)][:1]
        if own:
            start, end = max(own, key=lambda span: fmean(belongs[span[0] : span[1]]))
            found[slot] = (start, end, fmean(map(math.exp, belongs[start:end])))
    return found


def _runs(marks: Array, slots: Sequence[str]) -> list[tuple[str, tuple[int, int]]]:
    """The likeliest marking: a slot goes on only where it has begun."""
    tags = [tag for tag in TAGS if tag == "O" or tag[1:] in slots]
    # Of so few tags a list is quicker than an array. One that goes on has two that may be before
    # it, the others have all: then it is the likeliest.
    rows = marks[:, [TAGS.index(tag) for tag in tags]].tolist()
    best = [_NEVER if tag[0] == "I" else score for tag, score in zip(tags, rows[0], strict=True)]
    back: list[list[int]] = []
    for row in rows[1:]:
        top = best.index(max(best))
        ways = [max(i - 1, i, key=best.__getitem__) if t[0] == "I" else top
                for i, t in enumerate(tags)]  # fmt: skip
        back.append(ways)
        best = [best[way] + score for way, score in zip(ways, row, strict=True)]
    path = [best.index(max(best))]
    for step in reversed(back):
        path.append(step[path[-1]])
    found: list[tuple[str, tuple[int, int]]] = []
    for place, tag in enumerate(reversed(path)):
        mark, slot = tags[tag][0], tags[tag][1:]
        if mark == "B":
            found.append((slot, (place, place + 1)))
        elif mark == "I":
            found[-1] = (slot, (found[-1][1][0], place + 1))
    return found
