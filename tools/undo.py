"""``undo``: take the last changes of memory back, and say which, and which would be next.

Knows nothing of how a change is taken back (:mod:`tools.memory.state`).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from langchain_core.tools import InjectedToolArg, tool
from pydantic import Field

from tools.artifacts import Change
from tools.desk import Desk
from tools.errors import ToolError
from tools.memory import Event, Retraction, State, fold
from tools.wording import article, capital, count, join

__all__ = ["changed", "kept", "phrase", "retracted", "summary", "undo"]

_MOST = 1000
_LINES = 4  # more changes than that are told in one sentence
_NAMED = 4  # kinds of changes in it


@tool(response_format="content_and_artifact", parse_docstring=True)
def undo(
    times: Annotated[int, Field(ge=1, le=_MOST)] = 1,
    changes: list[int] | None = None,
    *,
    desk: Annotated[Desk, InjectedToolArg],
) -> tuple[str, list[Change]]:
    """Take back the last changes of memory, the newest first; can be repeated.

    Args:
        times: How many changes.
        changes: Numbers of the changes in the journal, where the user was offered to take back
            just these; leave out otherwise.
    """
    memory = desk.memory
    if changes is not None:
        return _retracted(desk, changes)
    done = [memory.undo()]
    while len(done) < times and memory.last_change is not None:
        done.append(memory.undo())
    events, befores = zip(*done, strict=True)
    afters = [*befores[1:], memory.state]
    told = [
        _undone(e, before, after, memory.events)
        for e, before, after in zip(events, befores, afters, strict=True)
    ]
    desk.recall.recognizer()
    lines = [line for _, _, line in told]
    if len(done) > _LINES:
        lines = [f"Undone: {changed(events, memory.events)}."]
    if len(done) < times:
        lines.append(f"That was all: there was no more than {count(len(done), 'change')}.")
    elif memory.last_change is None:
        lines[-1] += " Nothing else is left to undo."
    else:
        following = phrase(memory.last_change, memory.events)
        lines[-1] += f" “Undo” once more takes back {following}."
    more = memory.last_change is not None
    undone = [
        replace(_change(memory.state, name, other, more), again=_again(event, after))
        for (name, other, _), event, after in zip(told, events, afters, strict=True)
    ]
    return "\n".join(lines), undone


def retracted(found: Retraction, events: Sequence[Event]) -> str:
    """What taking changes back did and did not do, in sentences."""
    did = f"Took back {changed(found.changes, events)}." if found else ""
    return " ".join(x for x in (did, kept(found, events)) if x)


def kept(found: Retraction, events: Sequence[Event]) -> str:
    """That some changes cannot be taken back alone; empty when all can."""
    if not found.kept:
        return ""
    stays = "stays" if len(found.kept) == 1 else "stay"
    what = capital(changed(found.kept, events))
    return f"{what} {stays}: something that I learned later rests on it."


def changed(changes: Sequence[Event], events: Sequence[Event]) -> str:
    """What several changes were, as a noun."""
    return join(summary(changes, events, _NAMED))


def phrase(event: Event, events: Sequence[Event]) -> str:
    """What a change was, as a noun; ``events`` is the journal, which knows the names."""
    data = event.data
    names = _names(event, events) if "label_id" in data and "name" not in data else {}
    name = str(data.get("name") or names.get(data.get("label_id", ""), "it"))
    pictures = count(len(data.get("photo_ids", ())), "picture")
    match event.kind:
        case "taught":
            return f"{pictures} of {name}" if data["photo_ids"] else f"what you said of {name}"
        case "corrected":
            return f"the correction of {pictures} to {name}"
        case "rejected":
            return f"that {pictures} {'is' if pictures[:2] == '1 ' else 'are'} not {article(name)}"
        case "renamed":
            return f"the renaming of {data['old']} to {data['new']}"
        case "merged":
            return f"the merging of {name} into {names.get(data['into_id'], 'it')}"
        case "aliased":
            return f"the name {data['alias']} for {name}"
        case "unaliased":
            return f"the forgetting of the name {data['alias']} for {name}"
        case "split":
            return f"the splitting of {data['new']} from {name}"
        case "answered":
            return f"the answer “{data['answer']}” to “{data['question']}”"
        case "imported":
            taught = [i for part in event.parts for i in part.data.get("photo_ids", ())]
            return f"the import of a pack ({count(len(set(taught)), 'picture')})"
        case "dropped":
            return f"the forgetting of {pictures}"
        case "reverted":
            return f"the forgetting of what you taught me {data['when']}"
        case "cleared":
            return "the forgetting of everything"
        case "undone" | "retracted":
            back = [e for e in events if e.seq in event.targets]
            return f"the taking back of {changed(back, events)}"
        case _:
            return f"the forgetting of {name}"


def summary(changes: Sequence[Event], events: Sequence[Event], most: int) -> list[str]:
    """What several changes were, as at most ``most`` nouns; taught pictures are counted by name."""
    taught: Counter[str] = Counter()
    others: list[Event] = []
    for event in changes:
        if event.kind == "taught" and event.data["photo_ids"]:
            taught[event.data["name"]] += len(event.data["photo_ids"])
        else:
            others.append(event)
    parts = [f"{count(n, 'picture')} of {name}" for name, n in taught.most_common(most)]
    parts += [phrase(e, events) for e in others[: most - len(parts)]]
    more = len(taught) + len(others) - len(parts)
    return [*parts, f"{count(more, 'more change')}"] if more else parts


def _retracted(desk: Desk, seqs: Sequence[int]) -> tuple[str, list[Change]]:
    before, events = desk.memory.state, desk.memory.events
    found = desk.memory.retract(seqs)
    text = retracted(found, events)
    if not found:
        raise ToolError(text or "There is nothing left to take back: it is undone already.")
    desk.recall.recognizer()
    after = desk.memory.state
    differ = [
        x.name
        for i, x in {**before.labels, **after.labels}.items()
        if before.labels.get(i) != after.labels.get(i) or before.of(i) != after.of(i)
    ]
    return text, [_change(after, name) for name in differ or [""]]


def _change(state: State, name: str, other: str = "", more: bool = False) -> Change:
    label = state.find(name)
    number = len(state.of(label.id)) if label else 0
    return Change("undone", name, (), number, other=other, more=more)


def _names(event: Event, events: Sequence[Event]) -> dict[str, str]:
    """What the labels were called when the event happened, by id."""
    before = fold(e for e in events if e.seq < event.seq)
    return {x.id: x.name for x in before.labels.values()}


def _again(event: Event, after: State) -> tuple[str, ...]:
    """The label that each picture has once more which had another before what is taken back."""
    if event.kind not in ("taught", "corrected"):
        return ()
    owners = [after.owners.get(i, "") for i in event.data["photo_ids"]]
    return tuple(after.labels[o].name for o in owners if o not in ("", event.data["label_id"]))


def _told_again(names: Sequence[str]) -> str:
    verb = "It is" if len(names) == 1 else "They are"
    return f" {verb} {join([article(n) for n in dict.fromkeys(names)])} again." if names else ""


def _undone(
    event: Event, before: State, after: State, events: Sequence[Event]
) -> tuple[str, str, str]:
    """The label, the other label and the sentence of a change that was taken back."""
    data = event.data
    label_id = data.get("label_id", "")
    label = after.labels.get(label_id) or before.labels.get(label_id)
    name = label.name if label else str(data.get("name", "it"))
    left = count(len(after.of(label_id)), "picture")
    pictures = count(len(data.get("photo_ids", ())), "picture")
    still = f" {capital(name)} has {left} now." if label_id in after.labels else ""
    match event.kind:
        case "taught" | "corrected":
            gone = phrase(event, events) if event.kind == "taught" else f"{pictures} of {name}"
            now = still or f" I don't know {name} now."
            return name, "", f"Undone: {gone} taken back.{now}{_told_again(_again(event, after))}"
        case "rejected":
            return name, "", f"Undone: I no longer hold that it is not {article(name)}.{still}"
        case "renamed":
            old, new = str(data["old"]), str(data["new"])
            return old, new, f"Undone: {new} is called {old} again."
        case "merged":
            into = before.labels.get(data["into_id"])
            other = into.name if into else ""
            return name, other, f"Undone: {name} and {other} are two labels again.{still}"
        case "aliased":
            alias = str(data["alias"])
            return name, alias, f"Undone: {name} is no longer also called {alias}."
        case "unaliased":
            alias = str(data["alias"])
            return name, alias, f"Undone: {name} is also called {alias} again."
        case "split":
            new = str(data["new"])
            return name, new, f"Undone: {new} is part of {name} again.{still}"
        case "answered":
            return "", "", f"Undone: I no longer hold {phrase(event, events)}."
        case "forgotten":
            return name, "", f"Undone: {name} is back, with {left}."
        case "imported":
            back = f"{phrase(event, events)} is taken back."
        case "dropped":
            back = f"{pictures} {'is' if len(data['photo_ids']) == 1 else 'are'} back."
        case "reverted":
            back = f"what you taught me {data['when']} is back."
        case _:
            back = "everything is back."
    known = f"{count(len(after.labels), 'label')} and {count(len(after.owners), 'picture')}"
    return "", "", f"Undone: {back} I know {known} now."
