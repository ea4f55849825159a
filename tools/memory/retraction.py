"""Taking back some events out of a journal, as if they had never been: which can be, and what goes.

Knows nothing of who asks. An event goes alone only where nothing later rests on it: a picture
taught can go when another one of the label was taught since, not when it was moved since, or when
its label was renamed since.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from tools.memory.events import Event, in_force, standing
from tools.memory.labels import name_key
from tools.memory.state import fold

__all__ = ["Retraction", "retraction"]

_TEACHING = ("taught", "corrected")
_PHOTO, _ANSWER, _LABEL = "photo", "answer", "label"


@dataclass(frozen=True)
class Retraction:
    """What taking events back does; false when it does nothing."""

    seqs: tuple[int, ...] = ()
    """The events that are taken back."""
    changes: tuple[Event, ...] = ()
    """Those of them that counted until then, oldest first."""
    kept: tuple[Event, ...] = ()
    """What stays, because something later rests on it."""

    def __bool__(self) -> bool:
        return bool(self.changes)


def retraction(
    events: Sequence[Event], seqs: Collection[int], *, along: Collection[int] = ()
) -> Retraction:
    """What taking back the events of these numbers comes to, the newest first.

    Those of ``along`` may go too, and do when one of ``seqs`` cannot go without them.
    """
    stood, counted = standing(events), {e.seq for e in in_force(events)}
    taken: set[int] = set()
    kept: list[Event] = []
    for event in reversed([e for e in events if e.seq in set(seqs)]):
        more = taken | _resting(events, event, taken, along)
        left = _left(events, more)
        others = [e for e in left if e.seq > event.seq]
        # What counts no longer, and what counts again because what undid it is taken back.
        moved = [e for e in events if e.seq in counted ^ {x.seq for x in left}]
        if _clash(left) or any(_rests(later, on) for later in others for on in moved):
            kept += [event] if event in stood else []
        else:
            taken = more
    changes = [e for e in stood if e.seq in taken and not (e.targets and e.targets <= taken)]
    return Retraction(tuple(sorted(taken)), tuple(changes), tuple(kept[::-1]))


def _resting(
    events: Sequence[Event], event: Event, taken: set[int], along: Collection[int]
) -> set[int]:
    """The events of ``along`` that rest on this one, or on one that does."""
    found = {event.seq}
    for later in _left(events, taken):
        if later.seq in along and later.seq > event.seq:
            before = [e for e in events if e.seq in found]
            if any(_rests(later, on) for on in before):
                found.add(later.seq)
    return found


def _left(events: Sequence[Event], without: Collection[int]) -> list[Event]:
    """The changes that count when some events are taken back."""
    return in_force([*events, Event(0, "retracted", {"seqs": list(without)}, "")])


def _clash(changes: Sequence[Event]) -> bool:
    """Whether two labels would have one name."""
    return max(Counter(map(name_key, fold(changes).names)).values(), default=0) > 1


def _rests(later: Event, on: Event) -> bool:
    """Whether what a later event did would be lost or changed without an earlier one."""
    return any(_rests_part(a, b) for a in later.parts for b in on.parts)


def _rests_part(later: Event, on: Event) -> bool:
    shared = _makes(on) & _needs(later)
    if on.kind in _TEACHING and later.kind in _TEACHING:
        # Teaching needs no label: it makes one.
        shared -= {(_LABEL, later.data["label_id"])} - _wrong(later)
    return bool(shared)


def _makes(event: Event) -> set[tuple[str, str]]:
    """What is other than before after an event."""
    data = event.data
    kind = _ANSWER if event.kind == "answered" else _PHOTO
    made = {(kind, i) for i in data.get("photo_ids", ())}
    if event.kind != "rejected":
        made |= _labels(data.get(k) for k in ("label_id", "into_id", "new_id"))
    return made


def _needs(event: Event) -> set[tuple[str, str]]:
    """What has to be as it was for an event to do what it did."""
    data = event.data
    kinds = {"answered": (_ANSWER,), "dropped": (_ANSWER, _PHOTO)}.get(event.kind, (_PHOTO,))
    photos = {(kind, i) for kind in kinds for i in data.get("photo_ids", ())}
    return photos | _labels(data.get(k) for k in ("label_id", "into_id")) | _wrong(event)


def _wrong(event: Event) -> set[tuple[str, str]]:
    """The labels that a correction speaks against."""
    data = event.data
    return _labels([data.get("wrong_id"), *data.get("wrong_ids", {}).values()])


def _labels(ids: Iterable[str | None]) -> set[tuple[str, str]]:
    return {(_LABEL, i) for i in ids if i}
