"""What is asked of a learner to measure it: each picture and question once, all answers beside.

Knows nothing of figures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from finetune.data import Row
from finetune.evaluation.predictions import Prediction
from finetune.learners.learner import InEpisodes, Learner, Session

__all__ = ["answered", "once"]


def once(rows: Sequence[Row]) -> list[Row]:
    """One row a picture and question; what other rows answer to it is among its ``others``."""
    several: dict[object, list[Row]] = defaultdict(list)
    for row in rows:
        several[row.key].append(row)
    return [
        replace(first, others=(*first.others, *(a for row in more for a in _answers(row))))
        for first, *more in several.values()
    ]


def answered(
    learner: Learner, rows: Sequence[Row], session: Session, *, base: bool = False
) -> list[Prediction]:
    """What the learner says of each row, with everything that is right."""
    ask = learner.examined if isinstance(learner, InEpisodes) else learner.predict
    found = ask(rows, session, base=base)
    return [replace(p, others=row.others) for p, row in zip(found, rows, strict=True)]


def _answers(row: Row) -> tuple[str, ...]:
    return row.others if row.answer is None else (row.answer, *row.others)
