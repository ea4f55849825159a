"""What the adapter in use says of a photo, and what that is worth beside what was taught.

An adapter knows the labels it was trained on and no others, so it never turns an *unknown* into a
name, and never contradicts a picture's own label. Knows nothing of sentences.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from tools.artifacts import Candidate, Recognition
from tools.desk import Desk
from tools.forms import named_class
from tools.images import Photo
from tools.memory.state import State
from tools.questions import SAME_QUESTION, likeness
from tools.ranking import is_ambiguous
from tools.shelf import Adapter

__all__ = ["answered", "voted"]

_WHAT = "what is this?"


def voted(desk: Desk, photo: Photo, found: Recognition) -> Recognition:
    """``found`` after the vote of the adapter in use, where it has one.

    By Bayes: of the labels that the adapter knows, the one it names is likelier by how often it was
    right on pictures it had not seen, r, against (1 - r) / (K - 1); of a label that it does not
    know it says nothing, 1 / K. The probability of *unknown* stays.
    """
    adapter = desk.models.adapters.current()
    state = desk.memory.state
    if adapter is None or not adapter.classes or not adapter.worth_using:
        return found
    if found.source != "taught" or found.decision == "unknown" or photo.id in state.owners:
        return found
    names = _names_now(adapter, state)
    own = set(names.values())
    if len(own & {c.name for c in found.candidates if c.probability > 0}) < 2:
        return found  # nothing to decide between
    vote = names.get(_class(desk, adapter, photo) or "")
    if vote is None or vote not in {c.name for c in found.candidates}:
        return found
    k, r = len(adapter.classes), adapter.reliability
    weighed = [
        c.probability * (r if c.name == vote else (1 - r) / (k - 1) if c.name in own else 1 / k)
        for c in found.candidates
    ]
    scale = sum(c.probability for c in found.candidates) / sum(weighed)
    ranked = sorted(
        (Candidate(c.name, scale * w) for c, w in zip(found.candidates, weighed, strict=True)),
        key=lambda c: -c.probability,
    )
    first, before = ranked[0], found.candidates[0]
    close = is_ambiguous(first.probability, ranked[1].probability)
    return replace(
        found,
        candidates=tuple(ranked),
        decision="ambiguous" if close else "known",
        adapter=adapter.name,
        vote=vote,
        alone=before.name if first.name != before.name else "",
    )


def answered(desk: Desk, photo: Photo, question: str) -> tuple[str, str] | None:
    """The answer of the adapter in use to a question it was trained for, and its name."""
    adapter = desk.models.adapters.current()
    if adapter is None:
        return None
    if not adapter.classes:
        return desk.models.adapters.answer(
            adapter, photo, question, on_token=desk.on_token, stop=desk.stop
        ), adapter.name
    asked = max(likeness(question, own) for own in (adapter.question or _WHAT, _WHAT))
    if asked < SAME_QUESTION or _not_for(desk, photo):
        return None
    label = _names_now(adapter, desk.memory.state).get(_class(desk, adapter, photo) or "")
    return None if label is None else (label, adapter.name)


def _not_for(desk: Desk, photo: Photo) -> bool:
    """Whether memory has the word: the picture was taught, or is like nothing that was."""
    state = desk.memory.state
    if photo.id in state.owners:
        return True
    taught = any(e.positive for e in state.exemplars.values())
    return taught and desk.recall.recognise(photo).decision == "unknown"


def _class(desk: Desk, adapter: Adapter, photo: Photo) -> str | None:
    """The class that the adapter's answer to its own question names."""
    text = desk.models.adapters.answer(adapter, photo, adapter.question or _WHAT, stop=desk.stop)
    return named_class(text, adapter.classes, adapter.form)


def _names_now(adapter: Adapter, state: State) -> Mapping[str, str]:
    """What the adapter's classes are called now; without those whose pictures were forgotten.

    A class trained on taught pictures is the label that most of them have now, whatever it was
    called then; of others the name is all there is.
    """
    if not adapter.remembered:
        found = {name: state.find(name) for name in adapter.classes}
        return {name: name if label is None else label.name for name, label in found.items()}
    owners: dict[str, Counter[str]] = {}
    for photo_id, name in adapter.shown.items():
        if photo_id in state.owners:
            owners.setdefault(name, Counter())[state.owners[photo_id]] += 1
    return {name: state.labels[counts.most_common(1)[0][0]].name for name, counts in owners.items()}
