"""The form of a trained answer ("Reasoning: {reasoning} Answer: {label}"), and reading one back.

Knows nothing of models: training writes answers by a form, whoever asks later reads them by it.
"""

import re
from collections.abc import Sequence

__all__ = ["FIELD", "around_label", "named_class"]

FIELD = re.compile(r"\{(label|description|reasoning|classes|descriptions)\}")
"""What is filled into a form."""
_NOT_WORDS = re.compile(r"[\W_]+")


def around_label(form: str) -> tuple[str, str]:
    """The words of ``form`` right before its ``{label}`` and right behind, up to other fields."""
    before, _, after = form.partition("{label}")
    return FIELD.split(before)[-1], FIELD.split(after)[0]


def named_class(text: str, classes: Sequence[str], form: str = "{label}") -> str | None:
    """The class that a free answer names: exactly, else the only one in it; None if none.

    Where the answer has a form, only what stands in the place of the class counts.
    """
    mark, end = (words.strip() for words in around_label(form))
    if mark and mark in text:
        text = text.rpartition(mark)[2]
    if any(c.isalpha() for c in end):
        text = text.partition(end)[0]
    said = _plain(text)
    exact = [c for c in classes if _plain(c) == said]
    if exact:
        return exact[0]
    inside = [c for c in classes if f" {_plain(c)} " in f" {said} "]
    # "boot" is inside "ankle boot": the longer name is meant.
    outer = [c for c in inside if not any(c != d and _plain(c) in _plain(d) for d in inside)]
    return outer[0] if len(outer) == 1 else None


def _plain(text: str) -> str:
    return _NOT_WORDS.sub(" ", text.casefold()).strip()
