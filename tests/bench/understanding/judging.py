"""Whether the calls that came of a message are the expected ones, in the notation of the file.

Knows nothing of where the calls come from.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from typing import Any

from tests.bench.understanding.situations import Situation

__all__ = ["CHANGES", "ORDER", "Call", "judge"]

CHANGES = frozenset(
    {
        "teach_label", "correct_label", "reject_label", "rename_label", "merge_labels",
        "split_label", "alias_label", "forget_label", "forget_pictures", "forget_since",
        "forget_everything", "undo", "teach_answer",
    }
)  # fmt: skip
# The order of a tool's arguments, for the short notation of the file.
ORDER = {
    "teach_label": ("label", "description"),
    "correct_label": ("label", "wrong"),
    "reject_label": ("label",),
    "classify_image": ("labels",),
    "answer_question": ("question",),
    "find_similar": ("query",),
    "report_knowledge": ("label",),
    "rename_label": ("label", "new"),
    "merge_labels": ("label", "into"),
    "split_label": ("label", "new"),
    "alias_label": ("label", "alias"),
    "forget_label": ("label",),
    "forget_pictures": ("photos",),
    "forget_since": ("when",),
    "teach_answer": ("question", "answer"),
    "undo": ("times",),
    "train_adapter": ("labels",),
    "detect_objects": ("labels",),
}
Call = tuple[str, dict[str, Any]]


def judge(calls: Sequence[Call], expected: str, situation: Situation) -> tuple[bool, bool]:
    """Whether the tools are the expected ones, and whether their arguments are too."""
    best = (False, False)
    for wanted in _alternatives(expected):
        if wanted is None:
            fine = not any(name in CHANGES for name, _ in calls)
            best = max(best, (fine, fine))
            continue
        tool = [n for n, _ in calls] == [n for n, _ in wanted]
        args = tool and all(
            _same(name, got, want, situation)
            for (name, got), (_, want) in zip(calls, wanted, strict=True)
        )
        best = max(best, (tool, args))
    return best


def _alternatives(expected: str) -> Iterator[list[Call] | None]:
    """The calls that are equally right; None for whatever changes nothing."""
    tree = ast.parse(expected, mode="eval").body
    for option in tree.values if isinstance(tree, ast.BoolOp) else [tree]:
        if isinstance(option, ast.Name) and option.id == "say":
            yield []
        elif isinstance(option, ast.Name) and option.id == "harmless":
            yield None
        else:
            nodes = option.elts if isinstance(option, ast.Tuple) else [option]
            yield [_call(n) for n in nodes]


def _call(node: ast.expr) -> Call:
    assert isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    names = ORDER.get(node.func.id, ())
    args = {n: _value(v) for n, v in zip(names, node.args, strict=False)}
    assert len(args) == len(node.args), ast.unparse(node)
    return node.func.id, {**args, **{str(k.arg): _value(k.value) for k in node.keywords}}


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.List):
        return [_value(n) for n in node.elts]
    assert isinstance(node, ast.Constant)
    return node.value


def _same(tool: str, got: dict[str, Any], want: dict[str, Any], situation: Situation) -> bool:
    got, want = _explicit(tool, got, situation), _explicit(tool, want, situation)
    return set(want) == set(got) and all(
        want[k] is ... or _plain(k, got[k]) == _plain(k, want[k]) for k in want
    )


def _explicit(tool: str, args: dict[str, Any], situation: Situation) -> dict[str, Any]:
    """Without what the tool assumes anyway."""
    last = [t.photos for t in situation.turns if t.photos][-1:]
    assumed = list(situation.photos or (last[0] if last else ()))
    args = {k: v for k, v in args.items() if v is not None and v != []}
    if tool == "compare_images":
        assumed = list(range(1, max([0, *assumed]) + 1))[-2:]
        args["photos"] = sorted(args.get("photos", assumed))
    else:
        args.setdefault("photos", assumed)
    if situation.about and tool == "correct_label":
        args.setdefault("wrong", situation.about)
    if situation.about and tool == "reject_label":
        args.setdefault("label", situation.about)
    return args


def _plain(argument: str, value: Any) -> Any:
    """Names are compared as they are; free text without capitals, marks and filler."""
    if argument not in ("question", "query", "description", "answer"):
        return value
    words = re.sub(r"[^\w']+", " ", str(value).casefold()).strip()
    if argument == "query":
        filler = r"(?:(?:something|anything|some|any|things?|pictures?|pics?|photos?|an?|the)\s)+"
        words = re.sub(rf"^{filler}", "", words)
    if argument == "description":
        words = re.sub(r"^(?:it is|it's|its|they are)\s", "", words)
    return words
