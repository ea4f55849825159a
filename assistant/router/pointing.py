"""Which label a slot of a line means: a name, or "it", which is what was talked about last.

Knows nothing of what is to be done with the label.
"""

import re
from collections.abc import Callable, Sequence

from assistant.router.actions import Action, Context
from assistant.router.language import Reading
from assistant.router.names import name_in
from assistant.router.reading import Clause

__all__ = ["OF_MANY", "POINTED", "Handler", "discussed", "label_in"]

OF_MANY = re.compile(r" are |\bone of\b", re.I)
Handler = Callable[[Reading, Clause, Context], Action | Sequence[Action] | None]
"""Makes an action of a line that matched, or None so that the next line is tried."""

POINTED = re.compile(
    r"(?:it|this|that|this one|that one|him|her|them|the label|the last one)", re.I
)


def label_in(
    reading: Reading, clause: Clause, context: Context, key: str = "label", *, typos: bool = True
) -> str | None:
    """The label in a slot; "it" is the one that was talked about last."""
    slot = reading.slots.get(key, "")
    if POINTED.fullmatch(slot):
        return discussed(context)
    return name_in(slot, context.labels, typos=typos, tongue=clause.tongue)


def discussed(context: Context) -> str | None:
    """The label that was recognised or changed last."""
    found = context.recognised
    if found is not None and found.source == "taught" and found.candidates:
        return found.candidates[0].name
    return context.changed.label if context.changed is not None else None
