"""What the command leaves behind: tables, JSON and a plot of accuracy over shots.

Knows nothing of how the rows were measured.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.recognition.report import Row, all_tables, cells, of_part

_MARKS = "osv^D<>Px*p"


def write(out: Path, rows: Sequence[Row], settings: dict[str, Any], ours: str) -> str:
    """Write ``results.json``, ``results.md`` and ``results.png`` to ``out``; the tables."""
    out.mkdir(parents=True, exist_ok=True)
    text = all_tables(rows, ours)
    (out / "results.md").write_text(text, encoding="utf-8")
    if of_part(rows, "accuracy"):
        plot(out / "results.png", of_part(rows, "accuracy"), ours)
    content = {"settings": settings, "rows": list(rows)}
    (out / "results.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    return text


def plot(path: Path, rows: Sequence[Row], ours: str) -> None:
    """Accuracy over shots with its intervals, a panel per set and one for their average."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    sets = list(dict.fromkeys(r["set"] for r in rows))
    panels = [("average", rows)] if len(sets) > 1 else []
    panels += [(s, [r for r in rows if r["set"] == s]) for s in sets]
    methods = list(dict.fromkeys(r["method"] for r in rows))
    wide = min(3, len(panels))
    tall = -(-len(panels) // wide)
    figure, axes = plt.subplots(tall, wide, figsize=(5 * wide, 3.8 * tall + 0.6), squeeze=False)
    for axis, (name, mine) in zip(axes.flat, panels, strict=False):
        found = {k: e for k, e in cells(mine, "accuracy").items() if k[1].isdigit()}
        for i, method in enumerate(methods):
            points = [(int(c), e) for (m, c), e in found.items() if m == method]
            axis.errorbar(
                [shots for shots, _ in points],
                [100 * e.mean for _, e in points],
                yerr=[100 * e.half for _, e in points],
                label=method,
                color="black" if method == ours else f"C{i % 10}",
                linewidth=2.5 if method == ours else 1.0,
                marker=_MARKS[i % len(_MARKS)],
                markersize=4,
                capsize=2,
            )
        axis.set(title=name, xscale="log", xlabel="shots", ylabel="accuracy, %")
        shots = sorted({int(c) for _, c in found})
        axis.set_xticks(shots, [str(s) for s in shots])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    lines, names = axes.flat[0].get_legend_handles_labels()
    figure.legend(lines, names, loc="lower center", ncol=6, fontsize=8)
    figure.tight_layout(rect=(0, 0.5 / figure.get_figheight(), 1, 1))
    figure.savefig(path, dpi=110)
    plt.close(figure)
