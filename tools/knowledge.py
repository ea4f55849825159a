"""``list_labels`` and ``report_knowledge``: what has been taught, and how well it is known.

Knows nothing of the maths of recognition. A label is judged by asking about each of its pictures
as if that one had not been shown (leave-one-out), so nothing is judged by a label's only picture.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from math import sqrt
from typing import TYPE_CHECKING, Annotated

from langchain_core.tools import InjectedToolArg, tool

from tools.artifacts import LabelList, LabelSummary
from tools.desk import Desk
from tools.memory import Memory
from tools.memory.state import Exemplar, Label
from tools.report import (
    LEAST,
    UNEVEN,
    Accuracy,
    Confusion,
    KnowledgeReport,
    LabelReport,
    NextPicture,
    WorstExemplar,
    worded,
)
from tools.wording import article, count, join

if TYPE_CHECKING:
    from tools.recognizer import LeftOut

__all__ = ["list_labels", "report_knowledge", "summaries", "wilson"]

_THUMBNAILS = 4
_NOTHING = "Nothing yet. Send a picture and say “this is a zorb”, and I will know zorbs."
_ALIKE = 0.95  # cosine in the deciding metric that every two pictures of a label reach
_COMPARED = 8  # newest pictures of a label that are compared with each other


@tool(response_format="content_and_artifact")
def list_labels(*, desk: Annotated[Desk, InjectedToolArg]) -> tuple[str, LabelList]:
    """List the labels that have been taught, with how many pictures each has."""
    # A name whose every picture got another name, or was forgotten, is no thing that is known.
    labels = [x for x in summaries(desk.memory) if x.count or x.aliases or x.description]
    if not labels:
        return _NOTHING, LabelList(())
    parts = [
        f"{x.name} ({f'also called {join(x.aliases)}, ' if x.aliases else ''}"
        f"{count(x.count, 'picture')})"
        for x in labels
        if x.count
    ]
    known = f"I know {count(len(parts), 'thing')}: {join(parts)}. " if parts else ""
    without = [x.name for x in labels if not x.count]
    more = f"Of {join(without)} I have no picture." if without else ""
    return (known + more).strip(), LabelList(tuple(labels))


@tool(response_format="content_and_artifact", parse_docstring=True)
def report_knowledge(
    label: str | None = None, *, desk: Annotated[Desk, InjectedToolArg]
) -> tuple[str, KnowledgeReport]:
    """Say how well the taught labels are known, which are mixed up, and what to show next.

    Args:
        label: The label to report on; leave out for all of them.
    """
    state = desk.memory.state
    if label is None and not state.labels:
        return _NOTHING, KnowledgeReport((), Accuracy(0, 0))
    about = list(state.labels.values()) if label is None else [desk.memory.label(label)]
    left_out = desk.recall.recognizer().leave_one_out()
    reports = tuple(_label_report(desk, x, left_out) for x in about)
    ids = {x.id for x in about}
    overall = _accuracy([x for x in left_out if x.label_id in ids])
    confusion = _confusion(desk, left_out, ids)
    report = KnowledgeReport(reports, overall, confusion, _next_picture(reports, confusion))
    return worded(report, one=label is not None), report


def summaries(memory: Memory) -> list[LabelSummary]:
    """Every label with its counts and its newest photos."""
    state = memory.state
    result = []
    for label in state.labels.values():
        shown = state.of(label.id)
        result.append(
            LabelSummary(
                label.name,
                len(shown),
                len(state.of(label.id, positive=False)),
                label.description,
                tuple(e.photo_id for e in shown[-_THUMBNAILS:]),
                label.aliases,
            )
        )
    return result


def wilson(right: int, asked: int) -> tuple[float, float]:
    """The 95 % score interval of a share, in [0, 1] (Wilson, JASA 22, 1927); ``asked`` ≥ 1."""
    z = 1.959964
    share, z2 = right / asked, z * z
    middle = (share + z2 / (2 * asked)) / (1 + z2 / asked)
    half = z * sqrt(share * (1 - share) / asked + z2 / (4 * asked * asked)) / (1 + z2 / asked)
    return max(0.0, middle - half), min(1.0, middle + half)


# --- judging ------------------------------------------------------------------------------------


def _label_report(desk: Desk, label: Label, left_out: "Sequence[LeftOut]") -> LabelReport:
    shown = desk.memory.state.of(label.id)
    mine = [x for x in left_out if x.label_id == label.id]
    photos = {e.id: e.photo_id for e in shown}
    least = min(mine, key=lambda x: (_own(x), x.sample_id), default=None)
    worst = None
    if least is not None and len(shown) >= LEAST:
        worst = WorstExemplar(photos[least.sample_id], label.name, _own(least))
    return LabelReport(
        label.name,
        len(shown),
        _accuracy(mine),
        unrecognised=sum(x.ranking.decision == "unknown" for x in mine),
        worst=worst,
        alike=len(shown) > 1 and _alike(desk, shown),
        aliases=label.aliases,
    )


def _accuracy(left_out: "Sequence[LeftOut]") -> Accuracy:
    right, asked = sum(x.right for x in left_out), len(left_out)
    if asked < LEAST:
        return Accuracy(right, asked)
    return Accuracy(right, asked, *wilson(right, asked))


def _own(x: "LeftOut") -> float:
    """The probability of the picture's own label."""
    return next((s.probability for s in x.ranking.labels if s.label_id == x.label_id), 0.0)


def _taken_for(x: "LeftOut") -> str:
    """The id of the label that a picture was wrongly taken for; empty when for none."""
    best = x.ranking.best
    wrong = best is not None and x.ranking.decision != "unknown" and best.label_id != x.label_id
    return best.label_id if best is not None and wrong else ""


def _confusion(desk: Desk, left_out: "Sequence[LeftOut]", about: set[str]) -> Confusion | None:
    """The pair of labels, at least one of them in ``about``, that is mixed up most."""
    labels, exemplars = desk.memory.state.labels, desk.memory.state.exemplars
    taken = Counter((x.label_id, other) for x in left_out if (other := _taken_for(x)))
    pairs = [p for p in taken if about & set(p)]
    if not pairs:
        return None
    order = list(labels)
    # Of equals the one that is taken more often in this direction, then the one taught first.
    own, other = min(
        pairs,
        key=lambda p: (-(taken[p] + taken[p[::-1]]), -taken[p], *map(order.index, p)),
    )
    lost = [x for x in left_out if x.label_id == own and _taken_for(x) == other]
    photos = {e.id: e.photo_id for e in exemplars.values()}
    worst = min(lost, key=lambda x: (_own(x), x.sample_id))
    return Confusion(
        labels[own].name,
        labels[other].name,
        taken[own, other],
        taken[other, own],
        photos[worst.sample_id],
    )


def _alike(desk: Desk, shown: Sequence[Exemplar]) -> bool:
    """Whether every two of the newest pictures are nearly the same."""
    vectors = desk.memory.vectors(desk.sight.embedder)
    recognizer = desk.recall.recognizer()
    newest = [vectors[e.photo_id] for e in shown[-_COMPARED:]]
    return all(recognizer.similarity(a, b) >= _ALIKE for a, b in combinations(newest, 2))


def _next_picture(labels: Sequence[LabelReport], mixed: Confusion | None) -> NextPicture | None:
    """What helps most: a second picture, then what is known to fail, then what may."""
    if not labels:
        return None
    fewest = min(labels, key=lambda x: x.count)
    most = max(labels, key=lambda x: x.count)
    if fewest.count < 2:
        have = "I have only one picture of it" if fewest.count else "I have no picture of it"
        wanted = _another(fewest.name) if fewest.count else article(fewest.name)
        return _next(fewest.name, f"{wanted}, because {have}")
    if mixed is not None:
        text = (
            f"{_another(mixed.label)} like the one I took for {article(mixed.other)}, "
            "because I mix up the two"
        )
        return _next(mixed.label, text)
    alike = next((x for x in labels if x.alike), None)
    if alike is not None:
        text = (
            f"{article(alike.name)} from another side or in another style, because its "
            f"{count(alike.count, 'picture')} are nearly the same"
        )
        return _next(alike.name, text)
    weak = min(labels, key=lambda x: x.accuracy.right - x.accuracy.asked)
    missed = weak.accuracy.asked - weak.accuracy.right
    if missed:
        text = (
            f"{_another(weak.name)}, because I would have missed {missed} of its "
            f"{count(weak.accuracy.asked, 'picture')}"
        )
        return _next(weak.name, text)
    if fewest.count < LEAST:
        return _next(fewest.name, f"{_another(fewest.name)}, because two pictures are few")
    if most.count >= UNEVEN * fewest.count:
        text = (
            f"{_another(fewest.name)}, because I have {fewest.count} of it and "
            f"{most.count} of {most.name}"
        )
        return _next(fewest.name, text)
    name = min(labels, key=lambda x: x.worst.probability if x.worst else 1.0).name
    return _next(name, f"{_another(name)} that looks unlike the others, because I know these")


def _another(name: str) -> str:
    """``another zorb``, ``another picture of Rex``."""
    return f"another picture of {name}" if article(name) == name else f"another {name}"


def _next(label: str, text: str) -> NextPicture:
    return NextPicture(label, f"Most worth showing next: {text}.")
