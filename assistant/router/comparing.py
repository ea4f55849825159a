"""Handlers of what asks whether pictures show the same.

Knows nothing of how a message is taken apart.
"""

import re

from assistant.router.actions import Action, Context
from assistant.router.language import Reading
from assistant.router.names import mentioned
from assistant.router.pointing import Handler
from assistant.router.reading import Clause

__all__ = ["COMPARING"]

_PLURAL = re.compile(
    r"\b(?:they|them|these|those|both|two|twice|each other|one another|photos|pictures|pics|images|"
    r"in common)\b",
    re.I,
)


def _on_compare(reading: Reading, clause: Clause, context: Context) -> Action | None:
    if len(clause.photos) == 1:
        here = context.turn_photos[-1] if context.turn_photos else context.photo_count
        if here != clause.photos[0]:
            return Action("compare_images", {"photos": sorted((clause.photos[0], here))})
    typed = [int(n) for n in re.findall(r"\b\d\b", clause.text)]  # "compare 1 and 3"
    if not typed:
        said = [clause.tongue.counts.get(w) or clause.tongue.ordinals.get(w, 0)
                for w in clause.sentence.words]  # fmt: skip
        typed = [n for n in said if n]
    typed = [n for n in typed if 0 < n <= context.photo_count]
    photos = list(clause.photos) if len(clause.photos) > 1 else typed if len(typed) == 2 else []
    return Action("compare_images", {"photos": photos} if photos else {})


def _on_compare_loosely(reading: Reading, clause: Clause, context: Context) -> Action | None:
    """ "Are my teapots the same?": asked of two pictures, and not of a label."""
    pair = clause.photos or context.turn_photos
    many = _PLURAL.search(clause.text) is not None and context.photo_count > 1
    if len(pair) != 2 and not (many and len(context.turn_photos) != 1):
        return None
    named = mentioned(clause.text, context.labels)
    return None if named else _on_compare(reading, clause, context)


COMPARING: dict[str, Handler] = {
    "compare": _on_compare,
    "compare_loosely": _on_compare_loosely,
    "look_alike": _on_compare,
}
