"""The messages worth one click after an answer, in the language of the user.

Knows nothing of pages, nor of what a message leads to.
"""

from collections.abc import Sequence

from assistant.router.language import Language
from tools.artifacts import Artifact, Change, Recognition
from tools.training import AdapterUse, Training
from tools.wording import article

__all__ = ["agreeing", "options_for"]


def options_for(artifacts: Sequence[Artifact], tongue: Language) -> tuple[str, ...]:
    """The messages worth one click after these artifacts, the likeliest first."""
    if not artifacts:
        return ()
    last = artifacts[-1]
    if isinstance(last, Training):
        return _said(
            tongue, ("status", "stop") if last.goes_on else ("use",) if last.offered else ()
        )
    if isinstance(last, AdapterUse):
        return _said(tongue, ("unuse",) if last.in_use else ())
    if isinstance(last, Change):
        if last.same_as:
            return _said(tongue, ("same", "new", "undo"))
        following = last.more if last.action == "undone" else last.action != "known"
        return _said(tongue, ("undo",) if following else ())
    if not isinstance(last, Recognition) or (last.outside and last.source != "taught"):
        return ()
    names = [c.name for c in last.candidates[:2]]
    if last.decision == "known":
        return _said(tongue, ("why",) if last.source == "taught" else ())
    if last.decision == "unknown" and last.source == "taught":
        names = [last.hint, *names[:1]]
    return tuple(_naming(tongue, n) for n in dict.fromkeys(names) if n)


def agreeing(tongue: Language) -> tuple[str, str]:
    """Yes and no."""
    return tongue.button("yes"), tongue.button("no")


def _said(tongue: Language, keys: Sequence[str]) -> tuple[str, ...]:
    return tuple(tongue.button(key) for key in keys)


def _naming(tongue: Language, name: str) -> str:
    return tongue.button("it_is", label=article(name) if tongue.code == "en" else name)
