"""What the clauses of a message lead to, put together: what is said twice is done once, and a name
that takes another back is one correction.

Knows nothing of words.
"""

from collections.abc import Sequence
from dataclasses import replace

from assistant.router.actions import Action, Context
from assistant.router.guessing import NAMING
from assistant.router.pointing import discussed

__all__ = ["merged"]


def _same(one: Action, other: Action) -> bool:
    """Whether two actions are about the same pictures."""
    return (one.args or {}).get("photos") == (other.args or {}).get("photos")


def _forgets(action: Action, label: str | None) -> bool:
    return action.tool == "forget_label" and (action.args or {}).get("label") == label


def _corrects(action: Action, taught: Action) -> bool:
    """Whether a name takes the place of one that the same message gave before."""
    wrong = (action.args or {}).get("wrong", (taught.args or {}).get("label"))
    same = wrong == (taught.args or {}).get("label")
    return action.tool == "correct_label" and same and _same(action, taught)


def _correction(action: Action, rejected: Action) -> Action:
    """A name and what it is not, said one after the other."""
    args, wrong = action.args or {}, (rejected.args or {}).get("label")
    if args.get("label") == wrong:
        return action
    return replace(action, tool="correct_label", args={"wrong": wrong, **args})


def _named(kind: Action, name: Action) -> Action:
    """What a thing is called, where what it is was said before: a correction if that was one."""
    return replace(name, tool=kind.tool, args={**(kind.args or {}), **(name.args or {})})


def _taken_back(action: Action, context: Context) -> bool:
    """Whether what an undo is said beside was done before: "it isn't a zorb, take that back"."""
    known = (action.args or {}).get("label") in context.labels
    return action.tool == "reject_label" or (action.tool in NAMING and known)


def merged(actions: Sequence[Action], context: Context) -> list[Action]:
    """ "It's not a zorb. It's a blick." is one correction; a call said twice is one call."""
    kept: list[Action] = []
    for action in actions:
        last = kept[-1] if kept else None
        if last and last.tool == "reject_label" and action.tool in ("teach_label", "correct_label"):
            wrong = (last.args or {}).get("label")
            args = {**(action.args or {}), **({"wrong": wrong} if wrong else {})}
            kept[-1] = Action("correct_label", args)
        elif last and last.tool == "teach_label" and _corrects(action, last):
            label = (action.args or {})["label"]  # "a wotsit... no, sorry, a doofer"
            kept[-1] = replace(last, args={**(last.args or {}), "label": label})
        elif last and last.tool == "forget_label" and action.tool == "undo":
            continue  # "forget zorb, remove it": said twice, not taken back
        elif last and action.tool == "undo" and _taken_back(last, context):
            kept[-1] = action
        elif last and last.tool == action.tool == "undo":
            continue  # "never mind, that doesn't count, don't keep it": one thing is taken back
        elif last and last.tool == "undo" and _forgets(action, discussed(context)):
            continue  # "undo, I don't want zorb": of what is taken back just so
        elif last and last.tool in NAMING and action.tool == "reject_label" and _same(last, action):
            kept[-1] = _correction(last, action)  # "That's a blick! Not a zorb."
        elif (
            last
            and last.tool in NAMING
            and action.tool in NAMING
            and _same(last, action)
            and last.naming != action.naming
        ):
            # "It's my bear. His name is Boppo": the name counts, not the kind of thing.
            kept[-1] = last if last.naming else _named(last, action)
        elif last and last.tool in NAMING and (action.tool, action.args) == ("export_memory", {}):
            continue  # "XK-7. Save."
        elif action not in kept:
            kept.append(action)
    if any(a.tool == "classify_image" and "labels" in (a.args or {}) for a in kept):
        # "Zorb or blick, what do you think?" is one question.
        kept = [a for a in kept if (a.tool, a.args) != ("classify_image", {})]
    if kept and kept[-1].tool in ("teach_label", "correct_label"):
        # "Do you know what this is? It's a zorb": the question was answered.
        kept = [a for a in kept if a.tool != "classify_image"]
    return kept
