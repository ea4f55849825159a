"""What tools found, told in another language than theirs: from their artifacts, by templates.

The tools speak English; this words the common results again in the language of the user. Knows
nothing of how a message is understood. What has no template, and every failure, stays as it is.
"""

from collections.abc import Callable, Sequence
from typing import Any

from assistant.router.language import Language
from tools.artifacts import (
    Artifact,
    Caption,
    Change,
    Comparison,
    Explanation,
    Exported,
    LabelList,
    Matches,
    Recognition,
)
from tools.describing import NAMELESS
from tools.report import KnowledgeReport
from tools.training import AdapterUse, Training
from tools.wording import capital, percent

__all__ = ["told"]


def told(tongue: Language, artifacts: Sequence[Artifact], args: dict[str, Any]) -> str | None:
    """The sentences of one tool call's artifacts; None when one of them has no template.

    ``args`` are the call's: a recognition that was asked for by name is answered yes or no.
    """
    sentences = []
    for artifact in artifacts:
        tell = _TELLERS.get(type(artifact))
        sentence = tell(tongue, artifact, args) if tell is not None else None
        if sentence is None:
            return None
        sentences.append(capital(sentence))
    return "\n".join(sentences) or None


def _counted(tongue: Language, noun: str, number: int) -> str:
    one, many = tongue.result(noun, n=str(number)).split("|")
    return one if number == 1 else many


def _joined(tongue: Language, names: Sequence[str], word: str) -> str:
    if len(names) < 2:
        return "".join(names)
    joint = tongue.result(word)
    gap = "" if joint == "、" or not joint.isascii() else " "
    comma = "、" if not gap else ", "
    return f"{comma.join(names[:-1])}{gap}{joint}{gap}{names[-1]}"


def _recognition(tongue: Language, found: Recognition, args: dict[str, Any]) -> str:
    names = [c.name for c in found.candidates]
    first = names[0] if names else ""
    share = percent(found.candidates[0].probability) if names else ""
    rivals = capital(_joined(tongue, names[:2], "or"))
    asked = args.get("labels") or []
    if len(asked) == 1:
        label = asked[0]
        if found.decision == "known":
            key = "yes" if first.casefold() == label.casefold() else "no"
            return tongue.result(key, label=first, percent=share)
        key = "not_sure" if found.decision == "ambiguous" else "not_that"
        return tongue.result(key, rivals=rivals, label=label)
    if found.decision == "ambiguous":
        return tongue.result("ambiguous", rivals=rivals)
    if found.source == "taught":
        return tongue.result(found.decision, label=first, percent=share)
    if found.decision == "known" and not found.outside:
        return tongue.result("looks", label=first, percent=share)
    return tongue.result("lost" if found.outside or not first else "guess", rivals=rivals)


def _caption(tongue: Language, found: Caption, args: dict[str, Any]) -> str | None:
    """Which language a description is in, where the captioner knows no other than English."""
    if found.outside:
        return None
    text = found.text.rstrip(".")
    if text.casefold() == NAMELESS.casefold():
        said = tongue.result("nameless")
    else:
        said = tongue.result("described", text=text)
    return said + (tongue.result("described_taught", label=found.label) if found.label else "")


def _change(tongue: Language, change: Change, args: dict[str, Any]) -> str | None:
    key = {"known": "taught_known"}.get(change.action, change.action)
    if change.action == "corrected" and change.other:
        key = "corrected_from"
    if change.action == "undone" and not change.count:
        key = "undone_gone"
    if not tongue.has_result(key):
        return None
    pictures = _counted(tongue, "picture", change.count)
    text = tongue.result(key, label=change.label, other=change.other, pictures=pictures)
    if change.again:
        names = list(dict.fromkeys(change.again))
        text += tongue.result("again", label=_joined(tongue, names, "and"))
    if change.same_as:
        asks = tongue.said("same_or_new", label=capital(change.label), other=change.same_as)
        text = f"{text} {asks}"
    return text


def _labels(tongue: Language, found: LabelList, args: dict[str, Any]) -> str:
    if not found.labels:
        return tongue.result("list_empty")
    names = [f"{x.name} ({_counted(tongue, 'picture', x.count)})" for x in found.labels]
    things = _counted(tongue, "thing", len(names))
    return tongue.result("list", things=things, names=_joined(tongue, names, "and"))


def _matches(tongue: Language, found: Matches, args: dict[str, Any]) -> str:
    names = list(dict.fromkeys(i.label for i in found.items))
    if found.query and not names:
        return tongue.result("found_none", query=found.query)
    if names == [found.query]:
        pictures = _counted(tongue, "picture", len(found.items))
        return tongue.result("found_label", label=found.query, pictures=pictures)
    return tongue.result("found", names=_joined(tongue, names, "and"))


def _comparison(tongue: Language, found: Comparison, args: dict[str, Any]) -> str:
    sure = percent(found.probability if found.same else 1 - found.probability)
    return tongue.result("same" if found.same else "different", percent=sure)


def _explanation(tongue: Language, found: Explanation, args: dict[str, Any]) -> str | None:
    seen = found.recognition
    if not seen.evidence:
        return None
    nearest = [f"{e.label} ({e.similarity:.2f})" for e in seen.evidence]
    scores = [f"{c.name} {percent(c.probability)}" for c in seen.candidates[:3]]
    return tongue.result(
        "explained",
        nearest=_joined(tongue, nearest, "and"),
        scores=_joined(tongue, scores, "and"),
        unknown=percent(seen.unknown),
    )


def _report(tongue: Language, found: KnowledgeReport, args: dict[str, Any]) -> str:
    if not found.overall.asked:
        return tongue.result("report_empty")
    right, asked = str(found.overall.right), str(found.overall.asked)
    return tongue.result("report", right=right, asked=asked)


def _training(tongue: Language, found: Training, args: dict[str, Any]) -> str | None:
    key = "offered" if found.offered else str(found.state)
    if found.state == "running" and not found.losses:
        key = "ready"
    shares = {f.name: f"{round(100 * f.value)} %" for f in found.figures}
    if not tongue.has_result(f"training_{key}") or (found.verdict and len(shares) < 3):
        return None
    return tongue.result(
        f"training_{key}",
        names=_joined(tongue, found.labels, "and"),
        percent=percent(found.progress),
        loss=f"{found.losses[-1]:.3f}" if found.losses else "",
        n=str(found.figures[0].n) if found.figures else "",
        **shares,
    )


def _adapter(tongue: Language, found: AdapterUse, args: dict[str, Any]) -> str:
    return tongue.result("adapter_on" if found.in_use else "adapter_off", label=found.name)


def _exported(tongue: Language, found: Exported, args: dict[str, Any]) -> str:
    things = _counted(tongue, "thing", found.labels)
    return tongue.result(
        "exported", things=things, pictures=_counted(tongue, "picture", found.pictures)
    )


_TELLERS: dict[type, Callable[[Language, Any, dict[str, Any]], str | None]] = {
    Recognition: _recognition,
    Caption: _caption,
    Change: _change,
    LabelList: _labels,
    Matches: _matches,
    Comparison: _comparison,
    Explanation: _explanation,
    KnowledgeReport: _report,
    Training: _training,
    AdapterUse: _adapter,
    Exported: _exported,
}
