"""Artifacts as HTML: evidence, learned cards, finds, what is known.

Knows nothing of gradio or disk: where a picture lies is told by a function. Every text is
escaped here; none of it is trusted, whoever typed it.
"""

from collections.abc import Callable, Sequence
from html import escape

from assistant.ui.measures import share_bar, training_card
from tools.artifacts import (
    Artifact,
    Candidate,
    Change,
    Comparison,
    Concern,
    Explanation,
    Exported,
    LabelList,
    LabelSummary,
    Matches,
    Recognition,
    Shown,
)
from tools.report import Accuracy, KnowledgeReport, LabelReport
from tools.training import Training
from tools.wording import count, join, percent

__all__ = ["Pack", "Picture", "card", "known_panel", "photo_strip", "waiting"]

Picture = Callable[[str, int], str]
"""The address of a photo (its id) at a size (its side); empty when it is gone."""
Pack = Callable[[str], str]
"""The address of an exported pack (its file); empty when it is gone."""
_SMALL, _LARGE = 160, 1024
_EVIDENCE = 4
_LABELS = 60
_CONCERNS = {
    "blank": "almost empty",
    "dark": "very dark",
    "bright": "washed out",
    "blurred": "blurred",
    "tiny": "tiny",
}
_DONE = {
    "taught": "Learned",
    "known": "Known already",
    "corrected": "Corrected",
    "rejected": "Noted: not",
    "renamed": "Renamed",
    "merged": "Merged",
    "aliased": "Called",
    "split": "Split off",
    "answered": "Remembered",
    "forgotten": "Forgot",
    "undone": "Took back",
}

_OTHER = {"renamed": "was", "merged": "with", "aliased": "and", "split": "from", "answered": "→"}


def photo_strip(numbered: Sequence[tuple[int, str]], picture: Picture) -> str:
    """The photos of a message with their numbers in the conversation."""
    shots = "".join(
        _figure(picture(photo_id, _LARGE), f"photo {number}", f"photo {number}")
        for number, photo_id in numbered
    )
    return f'<div class="imp-photos">{shots}</div>'


def card(artifact: Artifact, picture: Picture, pack: Pack = lambda file: "") -> str:
    """What is worth seeing of an artifact; empty when its sentence says all."""
    match artifact:
        case Recognition():
            return _evidence(artifact, picture)
        case Explanation(recognition):
            bars = _bars(recognition)
            return _block("imp-why", _evidence(recognition, picture) + bars)
        case Change():
            return _change(artifact, picture)
        case Matches(items=items):
            return _shots("Found in what you taught", items, picture)
        case Comparison(photo_ids=ids):
            pair = "".join(_figure(picture(i, _SMALL), "", "compared picture") for i in ids)
            share = artifact.probability if artifact.same else 1 - artifact.probability
            word = "the same" if artifact.same else "not the same"
            return _block("imp-evidence", _head(f"{word}, {percent(share)}") + _row(pair))
        case LabelList(labels=labels):
            return _labels(labels, picture)
        case KnowledgeReport():
            return _report(artifact, picture)
        case Exported(file=file):
            return _download(pack(file))
        case Training():
            return training_card(artifact)
    return ""


def known_panel(labels: Sequence[LabelSummary], picture: Picture) -> str:
    """The panel *What I know*."""
    if not labels:
        return (
            '<div class="imp-known imp-empty">Nothing yet. Show me a picture and say '
            "<q>this is a zorb</q>: what I learn appears here.</div>"
        )
    return f'<div class="imp-known">{_labels(labels, picture)}</div>'


def waiting(text: str) -> str:
    """A line about what the page waits for."""
    return f'<div class="imp-waiting">{escape(text)}</div>'


def _evidence(found: Recognition, picture: Picture) -> str:
    if not found.evidence:
        return ""
    items: Sequence[Shown] = found.evidence
    if found.decision == "known":
        items = [e for e in items if e.label == found.label] or items
        head = f"{found.label}: what you showed me"
    elif found.decision == "ambiguous":
        head = "Torn between these"
    else:
        head = "The closest I know, and not close enough"
    return _shots(head, items, picture)


def _bars(found: Recognition) -> str:
    rows: list[Candidate] = [*found.candidates[:4]]
    if found.source == "taught":
        rows.append(Candidate("something else", found.unknown))
    parts = [
        f'<div class="imp-bar"><span>{escape(c.name)}</span>'
        f'<meter min="0" max="1" value="{c.probability:.3f}"></meter>'
        f"<span>{escape(percent(c.probability))}</span></div>"
        for c in rows
    ]
    return _block("imp-bars", "".join(parts))


def _change(change: Change, picture: Picture) -> str:
    if change.action == "undone":
        return ""
    shots = "".join(
        _figure(picture(i, _SMALL), "", f"picture of {change.label}")
        for i in list(dict.fromkeys(change.photo_ids))[:_EVIDENCE]
    )
    note = ""
    if change.action in ("taught", "known", "corrected"):
        note = count(change.count, "picture")
    if change.action == "corrected" and change.other:
        note += f", not {change.other}"
    if change.action in _OTHER and change.other:
        note = f"{_OTHER[change.action]} {change.other}"
    lines = [note, _faults(change.concerns)]
    text = (
        f"<div><span>{_DONE[change.action]}</span> <strong>{escape(change.label)}</strong>"
        f"{''.join(f'<small>{escape(x)}</small>' for x in lines if x)}</div>"
    )
    return f'<div class="imp-card imp-{change.action}">{_row(shots) if shots else ""}{text}</div>'


def _faults(concerns: Sequence[Concern]) -> str:
    """What the taught pictures lack, each thing once."""
    words = []
    for concern in concerns:
        if concern.kind == "copy":
            words.append(f"nearly a copy of a picture of {concern.label}")
        elif concern.kind == "like":
            words.append(f"looks like {concern.label}, {percent(concern.probability)}")
        else:
            words.append(_CONCERNS[concern.kind])
    return "; ".join(dict.fromkeys(words))


def _report(report: KnowledgeReport, picture: Picture) -> str:
    """A row a label: pictures, share that was right when left out, its interval, the worst one."""
    if not report.labels:
        return ""
    rows = "".join(_report_row(x, picture) for x in report.labels[:_LABELS])
    more = len(report.labels) - _LABELS
    rest = f"<p><small>and {more} more</small></p>" if more > 0 else ""
    titles = ("label", "pictures", "right when left out", "fits least")
    head = "".join(f"<th>{x}</th>" for x in titles)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{rest}"
    mixed = report.confusion
    if mixed is not None:
        address = picture(mixed.photo_id, _SMALL)
        words = f"a picture of {mixed.label} that I took for {mixed.other}"
        shot = _figure(address, mixed.label, words)
        table += _head(f"{mixed.label}, taken for {mixed.other}") + _row(shot)
    return _block("imp-report", table)


def _report_row(label: LabelReport, picture: Picture) -> str:
    worst = label.worst
    shot = ""
    if worst is not None:
        words = f"picture of {label.name} that fits least, {percent(worst.probability)}"
        shot = _row(_figure(picture(worst.photo_id, _SMALL), percent(worst.probability), words))
    name = f"<strong>{escape(label.name)}</strong>"
    alike = "<small>all nearly the same</small>" if label.alike else ""
    return (
        f"<tr><td>{name}</td><td>{label.count}{alike}</td><td>{_judged(label.accuracy)}</td>"
        f"<td>{shot}</td></tr>"
    )


def _judged(accuracy: Accuracy) -> str:
    """A bar with its interval, or that there is too little to tell."""
    if accuracy.low is None or accuracy.high is None or not accuracy.asked:
        return "<small>too few to tell</small>"
    share, low, high = accuracy.right / accuracy.asked, accuracy.low, accuracy.high
    between = f"{round(100 * low)}–{round(100 * high)} %"
    words = f"{accuracy.right} of {accuracy.asked}, likely {between}"
    return f"{share_bar(share, low, high)}<small>{words}</small>"


def _labels(labels: Sequence[LabelSummary], picture: Picture) -> str:
    rows = []
    for label in labels[:_LABELS]:
        shots = "".join(
            _figure(picture(i, _SMALL), "", f"picture of {label.name}")
            for i in label.photo_ids[:_EVIDENCE]
        )
        pictures = count(label.count, "picture") if label.count else "no picture"
        also = f"also called {join(label.aliases)}" if label.aliases else ""
        about = "".join(f"<p>{escape(x)}</p>" for x in (also, label.description) if x)
        rows.append(
            f"<li><div><strong>{escape(label.name)}</strong> "
            f"<small>{escape(pictures)}</small></div>{about}{_row(shots)}</li>"
        )
    more = len(labels) - _LABELS
    if more > 0:
        rows.append(f"<li><small>and {more} more</small></li>")
    return f'<ul class="imp-labels">{"".join(rows)}</ul>' if rows else ""


def _download(address: str) -> str:
    if not address:
        return '<div class="imp-card"><small>This file is gone: export again.</small></div>'
    link = f'<a href="{escape(address)}" download="imprint-memory.zip">imprint-memory.zip</a>'
    return f'<div class="imp-card imp-exported"><strong>{link}</strong></div>'


def _shots(head: str, items: Sequence[Shown], picture: Picture) -> str:
    shots = "".join(
        _figure(picture(s.photo_id, _SMALL), s.label, f"{s.label}, similarity {s.similarity:.2f}")
        for s in items[:_EVIDENCE]
    )
    return _block("imp-evidence", _head(head) + _row(shots)) if shots else ""


def _figure(address: str, caption: str, words: str) -> str:
    note = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    if not address:
        return f'<figure class="imp-gone"><span>not here</span>{note}</figure>'
    url, words = escape(address), escape(words)
    return (
        f'<figure><a href="{url}" target="_blank" rel="noreferrer">'
        f'<img src="{url}" alt="{words}" title="{words}"></a>{note}</figure>'
    )


def _head(text: str) -> str:
    return f'<p class="imp-head">{escape(text)}</p>'


def _row(shots: str) -> str:
    return _block("imp-row", shots)


def _block(name: str, inner: str) -> str:
    return f'<div class="{name}">{inner}</div>'
