"""The curves and the confusion matrix of a run, as PNG files that appear whole.

Knows nothing of figures. matplotlib without pyplot: no display, no global state.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from finetune.events import EventLog
from finetune.files import write_bytes

__all__ = ["plot_confusion", "plot_curves"]


def plot_curves(log: EventLog, path: Path) -> None:
    """Loss and learning rate by step, of the model that is kept; nothing where none trained."""
    steps, epochs = log.read("step", fold=0), log.read("epoch", fold=0)
    if not steps:
        return
    place = _places(steps)
    figure, (left, right) = _figure(10, 4, 2)
    left.plot([place(e) for e in steps], [e["loss"] for e in steps], label="training")
    watched = [e for e in epochs if e["watched"] == "validation"]
    if watched:
        places, losses = [place(e) for e in watched], [e["loss"] for e in watched]
        left.plot(places, losses, marker="o", label="validation")
    left.set(xlabel="step", ylabel="loss", ylim=(0, None))
    left.legend()
    right.plot([place(e) for e in steps], [e["lr"] or 0.0 for e in steps])
    right.set(xlabel="step", ylabel="learning rate")
    _save(figure, path)


def plot_confusion(confusion: dict[str, Any], path: Path) -> None:
    """Rows are true classes, columns answers; shares of a row, with counts where they fit."""
    names, counts = confusion["classes"], np.array(confusion["rows_are_truth"], float)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = max(4.0, 0.45 * len(names) + 2)
    figure, (axes,) = _figure(side, side, 1)
    axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="answered", ylabel="true")
    if len(names) <= 30:
        for i, j in zip(*np.nonzero(counts), strict=True):
            colour = "white" if shares[i, j] > 0.5 else "black"
            axes.text(j, i, int(counts[i, j]), ha="center", va="center", color=colour, fontsize=8)
    _save(figure, path)


def _places(steps: Sequence[Mapping[str, Any]]) -> Callable[[Mapping[str, Any]], int]:
    """An event's step counted from the start of the first stage; ``steps``: of all, in order."""
    lengths: dict[Any, int] = {}
    for event in steps:
        lengths[event.get("stage")] = event["step"]
    stages = list(lengths)
    before = {s: sum(lengths[x] for x in stages[:i]) for i, s in enumerate(stages)}
    return lambda event: int(before[event.get("stage")] + event["step"])


def _figure(width: float, height: float, columns: int) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def _save(figure: Any, path: Path) -> None:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=120)
    write_bytes(path, out.getvalue())
