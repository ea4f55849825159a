"""What things are called and what belongs together: rename, alias, merge, split.

Knows nothing of how the order was put. None of it changes a picture: names are attributes, and
pictures only change hands.
"""

from typing import Annotated

from langchain_core.tools import InjectedToolArg, tool

from tools.artifacts import Change
from tools.desk import Desk
from tools.errors import ToolError
from tools.memory import Label, State
from tools.memory.labels import name_key
from tools.wording import article, capital, count, join

__all__ = ["alias_label", "merge_labels", "rename_label", "split_label"]

_PLACES = ("first", "second", "third", "fourth", "fifth", "sixth")


@tool(response_format="content_and_artifact", parse_docstring=True)
def rename_label(
    label: str, new: str, *, desk: Annotated[Desk, InjectedToolArg]
) -> tuple[str, Change]:
    """Give a taught label another name.

    Args:
        label: Its name now.
        new: Its new name.
    """
    before, after = desk.memory.rename(label, new)
    number = len(desk.memory.state.of(after.id))
    change = Change("renamed", after.name, (), number, other=before.name)
    if before.name == after.name:
        return f"It is called {after.name} already.", change
    return f"{capital(before.name)} is now called {after.name}.", change


@tool(response_format="content_and_artifact", parse_docstring=True)
def alias_label(
    label: str, alias: str, *, desk: Annotated[Desk, InjectedToolArg]
) -> tuple[str, Change]:
    """A taught label has another name, too; it answers to both from now on.

    Args:
        label: The label's name.
        alias: What it is also called.
    """
    state = desk.memory.state
    if state.find(label) is None and state.find(alias) is not None:
        label, alias = alias, label  # which of the two was taught is no matter
    found, new = desk.memory.alias(label, alias)
    number = len(desk.memory.state.of(found.id))
    if not new:
        known = Change("known", found.name, (), number)
        if name_key(alias) == name_key(found.name):
            return f"{capital(found.name)} is what I call it already.", known
        return f"I know already that {article(found.name)} is also called {alias}.", known
    change = Change("aliased", found.name, (), number, other=found.aliases[-1])
    return (
        f"All right: {article(found.name)} is also called {found.aliases[-1]}. "
        "You can use either name.",
        change,
    )


@tool(response_format="content_and_artifact", parse_docstring=True)
def merge_labels(
    label: str, into: str, *, desk: Annotated[Desk, InjectedToolArg]
) -> tuple[str, Change]:
    """Two labels are the same thing: move the pictures of one to the other.

    Args:
        label: The label that goes away.
        into: The label that stays.
    """
    source, target = desk.memory.merge(label, into)
    number = len(desk.memory.state.of(target.id))
    change = Change("merged", target.name, (), number, other=source.name)
    return (
        f"{capital(source.name)} is part of {target.name} now, which has "
        f"{count(number, 'picture')}. Say “undo” to part them again.",
        change,
    )


@tool(response_format="content_and_artifact", parse_docstring=True)
def split_label(
    label: str,
    new: str | None = None,
    photos: list[int] | None = None,
    *,
    desk: Annotated[Desk, InjectedToolArg],
) -> tuple[str, Change]:
    """A taught label is two different things: move some of its pictures to a label of their own.

    Args:
        label: The label that is two things.
        new: What the other thing is called; leave out for a provisional name.
        photos: Numbers of the photos that go to the new label; leave out for those of this
            message, or for the two groups that look most different.
    """
    state = desk.memory.state
    found = desk.memory.label(label)
    mine = [e.photo_id for e in state.of(found.id)]
    if len(mine) < 2:
        raise ToolError(
            f"I have only {count(len(mine), 'picture')} of {found.name}: "
            "there is nothing to split until I have two."
        )
    moved = _named(desk, photos, found, mine)
    by_looks = not moved or len(moved) == len(mine)
    if by_looks:
        vectors = desk.memory.vectors(desk.sight.embedder)
        from tools.grouping import two_groups  # scipy takes long to import

        apart = two_groups([vectors[i] for i in mine], desk.sight.background)
        moved = [i for i, other in zip(mine, apart, strict=True) if other]
    kept, made = desk.memory.split(found.name, new or _free_name(state, found), moved)
    desk.recall.recognizer()
    left = len(mine) - len(moved)
    change = Change("split", made.name, tuple(moved), len(moved), other=kept.name)
    how = "by their looks, " if by_looks and len(mine) > 2 else ""
    hint = "" if new else f" Say “rename {made.name} to …” to name it."
    return (
        f"Split {kept.name}: {how}{count(left, 'picture')} "
        f"{'stays' if left == 1 else 'stay'} {kept.name} and {count(len(moved), 'picture')}"
        f"{_places(mine, moved)} {'is' if len(moved) == 1 else 'are'} "
        f"{made.name} now.{hint} Say “undo” to put them together again.",
        change,
    )


def _named(desk: Desk, photos: list[int] | None, label: Label, mine: list[str]) -> list[str]:
    """The pictures of ``label`` that were named; none when none came with the order."""
    if not photos and not desk.turn_photos:
        return []
    chosen = list(dict.fromkeys(p.id for p in desk.look(photos)))
    others = [i for i in chosen if i not in mine]
    if others:
        which = "This is" if len(chosen) == 1 else f"{len(others)} of these are"
        what = "no picture" if len(chosen) == 1 else "no pictures"
        raise ToolError(
            f"{which} {what} that I have as {label.name}: name pictures that you taught me as "
            f"{label.name}, or say only “split {label.name}”."
        )
    return chosen


def _places(mine: list[str], moved: list[str]) -> str:
    """Which of the label's pictures these are, in the order of teaching; of many, how many."""
    if len(moved) > len(_PLACES):
        return ""
    places = sorted(mine.index(i) for i in moved)
    words = [f"the {_PLACES[n]}" if n < len(_PLACES) else f"number {n + 1}" for n in places]
    return f" ({join(words)} you showed me)"


def _free_name(state: State, label: Label) -> str:
    number = 2
    while state.find(f"{label.name[:50]} {number}") is not None:
        number += 1
    return f"{label.name[:50]} {number}"
