"""What one memory has that another lacks, as the changes that would add it.

A pure function: no disk, no clock. What is there already is never changed: a picture that is
taught under one label here and another there stays where it is here.
"""

from collections import defaultdict
from dataclasses import replace
from typing import Any

from tools.memory.events import Event
from tools.memory.labels import name_key
from tools.memory.state import Label, State

__all__ = ["joined"]


def joined(mine: State, theirs: State) -> list[Event]:
    """The changes that take ``theirs`` into ``mine``: labels of one name become one.

    Those of an empty memory and any other are that other, told anew. Their numbers are 0: they
    are parts of one change.
    """
    found: list[Event] = []
    taken = {name_key(name) for name in mine.names}
    into: dict[str, Label] = {}
    for label in theirs.labels.values():
        known = next((x for n in label.names if (x := mine.find(n))), None)
        target = known or replace(label, aliases=())
        into[label.id] = target
        taught = [
            e.photo_id for e in theirs.of(label.id) if mine.owners.get(e.photo_id) is None
        ]  # one that is mine already, under whichever label, stays there
        taught = [i for i in taught if (target.id, i) not in mine.exemplars]
        description = "" if target.description and known else label.description
        if taught or not known or description:
            found.append(
                _part(
                    "taught",
                    label_id=target.id,
                    name=target.name,
                    photo_ids=taught,
                    description=description,
                )
            )
        taken.add(name_key(target.name))
    for label in theirs.labels.values():
        for name in label.names:
            if name_key(name) not in taken:
                taken.add(name_key(name))
                found.append(_part("aliased", label_id=into[label.id].id, alias=name))
        rejected = [
            e.photo_id
            for e in theirs.of(label.id, positive=False)
            if (into[label.id].id, e.photo_id) not in mine.exemplars
        ]
        if rejected:
            found.append(_part("rejected", label_id=into[label.id].id, photo_ids=rejected))
    answers: dict[tuple[str, str], list[str]] = defaultdict(list)
    for key, answer in theirs.answers.items():
        if key not in mine.answers:
            answers[answer.question, answer.answer].append(answer.photo_id)
    for (question, said), photo_ids in answers.items():
        found.append(_part("answered", photo_ids=photo_ids, question=question, answer=said))
    return found


def _part(kind: Any, **data: Any) -> Event:
    return Event(0, kind, data, "")
