"""How well labels are known: what a report holds, and how it is said.

Knows nothing of how it is found out (:mod:`tools.knowledge`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tools.wording import capital, count, join, percent

__all__ = [
    "LEAST",
    "UNEVEN",
    "Accuracy",
    "Confusion",
    "KnowledgeReport",
    "LabelReport",
    "NextPicture",
    "WorstExemplar",
    "worded",
]

LEAST = 3
"""Pictures below which a share of right answers says nothing."""
UNEVEN = 3
"""Times as many pictures of one label as of another, which is then said."""
_NAMED = 4


@dataclass(frozen=True)
class Accuracy:
    """How many of the pictures that could be asked about were recognised when left out."""

    right: int
    asked: int
    low: float | None = None
    """The ends of the 95 % Wilson interval, in [0, 1]; None where there is too little to tell."""
    high: float | None = None


@dataclass(frozen=True)
class WorstExemplar:
    """The picture that fits its label least: the label's probability when it is left out."""

    photo_id: str
    label: str
    probability: float


@dataclass(frozen=True)
class Confusion:
    """Two labels that are mixed up: pictures of ``label`` taken for ``other``, and the reverse."""

    label: str
    other: str
    taken: int
    """Pictures of ``label`` taken for ``other``."""
    reverse: int
    """Pictures of ``other`` taken for ``label``; never more than ``taken``."""
    photo_id: str
    """The picture of ``label`` that looked least like one."""


@dataclass(frozen=True)
class NextPicture:
    """The picture most worth showing next."""

    label: str
    text: str
    """Which picture and why, a sentence."""


@dataclass(frozen=True)
class LabelReport:
    """How well one label is known."""

    name: str
    count: int
    """Its pictures."""
    accuracy: Accuracy
    unrecognised: int = 0
    """Pictures left out that were not taken for any label."""
    worst: WorstExemplar | None = None
    alike: bool = False
    """Its pictures are all nearly the same, so that its accuracy says little."""
    aliases: tuple[str, ...] = ()
    """What it is also called."""


@dataclass(frozen=True)
class KnowledgeReport:
    """How well the taught labels are known, each picture judged by the others."""

    labels: tuple[LabelReport, ...]
    """The labels reported on, in the order of teaching: all of them, or the one asked about."""
    overall: Accuracy
    confusion: Confusion | None = None
    """The pair that is mixed up most."""
    next: NextPicture | None = None
    kind: Literal["knowledge"] = "knowledge"

    @property
    def worst(self) -> WorstExemplar | None:
        """The picture of these labels that fits its label least."""
        found = [x.worst for x in self.labels if x.worst is not None]
        return min(found, key=lambda w: w.probability, default=None)


def worded(report: KnowledgeReport, *, one: bool) -> str:
    """The report in a few sentences; ``one``: of one label that was asked about."""
    pictures = sum(x.count for x in report.labels)
    if one:
        label = report.labels[0]
        other = f", also called {join(label.aliases)}" if label.aliases else ""
        opening = f"{capital(label.name)}{other}, {count(pictures, 'picture')}: "
    else:
        known = count(len(report.labels), "thing")
        opening = f"I know {known} from {count(pictures, 'picture')}: "
    parts = [opening + _judged(report.overall)]
    if not one:
        parts += _few(report.labels)
    parts += _faults(report, one=one)
    if report.next is not None:
        parts.append(report.next.text)
    return " ".join(parts)


def _judged(accuracy: Accuracy) -> str:
    if accuracy.low is None or accuracy.high is None:
        return "too few to tell how well."
    return (
        f"asked about each as if I had not seen it, I get {accuracy.right} of {accuracy.asked} "
        f"right ({_share(accuracy.right / accuracy.asked)}, likely between "
        f"{round(accuracy.low * 100)} and {_share(accuracy.high)})."
    )


def _few(labels: Sequence[LabelReport]) -> list[str]:
    few = [x.name for x in labels if x.count < LEAST]
    # When nothing at all can be judged, that has been said.
    if not few or all(x.accuracy.low is None for x in labels):
        return []
    more = len(few) - _NAMED
    names = join([*few[:_NAMED], f"{more} more"] if more > 0 else few)
    return [f"Of {names} I have too few to tell."]


def _faults(report: KnowledgeReport, *, one: bool) -> list[str]:
    parts = []
    mixed = report.confusion
    if mixed is not None:
        text = f"I took {count(mixed.taken, 'picture')} of {mixed.label} for {mixed.other}"
        if mixed.reverse:
            text += f" and {mixed.reverse} of {mixed.other} for {mixed.label}"
        parts.append(f"{text}.")
    unrecognised = sum(x.unrecognised for x in report.labels)
    if unrecognised:
        parts.append(f"I would not have recognised {unrecognised} at all.")
    worst = report.worst
    if worst is not None and (mixed is not None or unrecognised or one):
        parts.append(
            f"The picture that fits least is {'this' if one else 'this ' + worst.label} "
            f"({percent(worst.probability)})."
        )
    counts = [x.count for x in report.labels]
    if len(counts) > 1 and max(counts) >= UNEVEN * max(min(counts), 1):
        most = max(report.labels, key=lambda x: x.count)
        fewest = min(report.labels, key=lambda x: x.count)
        parts.append(
            f"The pictures are uneven: {most.count} of {most.name}, "
            f"{fewest.count} of {fewest.name}."
        )
    return parts


def _share(share: float) -> str:
    """A share that was counted, which may be 0 or 100 %."""
    return f"{round(share * 100)} %"
