"""Rows of plain values become tables with intervals.

Knows nothing of how the rows were measured. A cell is a mean over seeds with Student's 95 %
interval; an average over sets is taken within a seed first, so its interval is over seeds too,
given these sets.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

from tests.bench.recognition.metrics import Estimate, estimate
from tests.bench.recognition.pictures import MEASURED

Row = dict[str, Any]
Cells = dict[tuple[str, str], Estimate]


def cells(
    rows: Sequence[Row], measure: str, *, row: str = "method", column: str = "shots"
) -> Cells:
    """Estimates by (row, column); sets are averaged within a seed."""
    by_seed: dict[tuple[str, str], dict[int, list[float]]] = {}
    for r in rows:
        if measure in r:
            seeds = by_seed.setdefault((str(r[row]), str(r[column])), {})
            seeds.setdefault(int(r["seed"]), []).append(float(r[measure]))
    return {
        key: estimate([sum(v) / len(v) for _, v in sorted(seeds.items())])
        for key, seeds in by_seed.items()
    }


def lead(
    rows: Sequence[Row],
    measure: str,
    ours: str,
    *,
    column: str = "shots",
    larger: bool = True,
) -> Cells:
    """Ours less the best other row of each column, paired by seed; the best is named in the row.

    ``larger``: whether more is better.
    """
    found = cells(rows, measure, column=column)
    result: Cells = {}
    for c in dict.fromkeys(str(r[column]) for r in rows):
        sets = {r["set"] for r in rows if r["method"] == ours and str(r[column]) == c}
        # A method that misses a set (zero-shot without text) has another average.
        whole = {
            m: e.mean
            for (m, k), e in found.items()
            if k == c and m != ours
            and sets <= {r["set"] for r in rows if r["method"] == m and str(r[column]) == c}
        }  # fmt: skip
        if not whole or not sets:
            continue
        best = (max if larger else min)(whole, key=lambda m: whole[m])
        by_seed: dict[int, list[float]] = {}
        for r in rows:
            if str(r[column]) == c and r["method"] in (ours, best):
                sign = 1.0 if r["method"] == ours else -1.0
                by_seed.setdefault(int(r["seed"]), []).append(sign * float(r[measure]))
        result[best, c] = estimate([sum(v) / len(sets) for _, v in sorted(by_seed.items())])
    return result


def table(
    title: str,
    found: Cells,
    *,
    head: str = "",
    scale: float = 100.0,
    digits: int = 1,
    extra: Sequence[tuple[str, Cells]] = (),
) -> str:
    """A Markdown table of cells; ``extra`` rows take whatever row of their cells has the column."""
    columns = sorted(dict.fromkeys(c for _, c in found), key=_by_number)
    names = list(dict.fromkeys(r for r, _ in found))
    width = max(len(n) for n in (*names, head, *(name for name, _ in extra)))
    lines = [f"**{title}**", "", "| " + " | ".join([head.ljust(width), *columns]) + " |"]
    lines.append("|" + "---|" * (len(columns) + 1))
    for name in names:
        texts = [found[name, c].text(scale, digits) if (name, c) in found else "–" for c in columns]
        lines.append("| " + " | ".join([name.ljust(width), *texts]) + " |")
    for name, more in extra:
        by_column = {c: f"{e.text(scale, digits)} ({m})" for (m, c), e in more.items()}
        texts = [by_column.get(c, "–") for c in columns]
        lines.append("| " + " | ".join([name.ljust(width), *texts]) + " |")
    return "\n".join(lines) + "\n"


def _by_number(column: str) -> list[int]:
    """The numbers in a column's name, none last; columns without keep their order."""
    return [int(n) for n in re.findall(r"\d+", column)] or [sys.maxsize]


def of_part(rows: Sequence[Row], part: str) -> list[Row]:
    """The rows of a part."""
    return [r for r in rows if r["part"] == part]


def accuracy_tables(rows: Sequence[Row], ours: str) -> list[str]:
    """A table per set, and their average."""
    mine = of_part(rows, "accuracy")
    sets = list(dict.fromkeys(r["set"] for r in mine))
    groups = [(s, [r for r in mine if r["set"] == s]) for s in sets]
    new = [r for r in mine if r["set"] not in MEASURED]
    if len(sets) > 1:
        groups.append(("average over sets (zero-shot: over those with names)", mine))
    if len({r["set"] for r in new}) > 1:
        groups.append(("average over sets that gave no background statistics", new))
    return [
        table(
            f"Accuracy, %, by shots: {name}",
            cells(part, "accuracy"),
            head="method",
            extra=[("ours − best baseline", lead(part, "accuracy", ours))],
        )
        for name, part in groups
    ]


def calibration_tables(rows: Sequence[Row], ours: str) -> list[str]:
    """ECE and Brier of ours beside zero-shot on the sets with names, and the decision sets."""
    accuracy = of_part(rows, "accuracy")
    named = {r["set"] for r in accuracy if r["method"] == "zero-shot"}
    beside = [r for r in accuracy if r["method"] in ("zero-shot", ours) and r["set"] in named]
    without = [r for r in accuracy if r["method"] == ours and r["set"] not in named]
    tables = []
    for measure, title in (("ece", "ECE (15 bins), %"), ("brier", "Brier, ×100")):
        if beside:
            tables.append(table(f"{title}: sets with names", cells(beside, measure)))
        if without:
            tables.append(table(f"{title}: sets without names", cells(without, measure)))
    mine = of_part(rows, "calibration")
    wanted = ("coverage", "coverage_answered", "known", "ambiguous", "unknown")
    if mine:
        long = [{**r, "what": m, "value": r[m]} for r in mine for m in (*wanted, "size") if m in r]
        shares = [r for r in long if r["what"] != "size"]
        tables.append(
            table("Decision sets, %", cells(shares, "value", row="what"), head="share of queries")
        )
        sizes = [r for r in long if r["what"] == "size"]
        tables.append(
            table("Mean size of the decision sets", cells(sizes, "value", row="set"), scale=1.0,
                  digits=2)
        )  # fmt: skip
    return tables


def open_tables(rows: Sequence[Row], ours: str) -> list[str]:
    """AUROC, FPR95 and OSCR by labels and shots, then what the shipped threshold lets in."""
    mine = [{**r, "cell": f"K={r['labels']} n={r['shots']}"} for r in of_part(rows, "openset")]
    tables = []
    for kind in ("sibling", "far"):
        for measure, title in (("auroc", "AUROC"), ("fpr95", "FPR95"), ("oscr", "OSCR")):
            found = cells(mine, f"{measure}_{kind}", column="cell")
            if found:
                tables.append(table(f"{title}, %, unknowns: {kind}", found, head="score"))
    own = [r for r in mine if r["method"] == ours]
    if own:
        long = [
            {**r, "what": m.replace("_", " "), "value": r[m]}
            for r in own
            for m in (
                "false_accepts_sibling",
                "false_accepts_far",
                "false_accepts_all",
                "true_accepts",
            )
        ]
        found = cells(long, "value", row="what", column="cell")
        tables.append(table("Accepted at the shipped threshold, %", found))
        everywhere = cells(long, "value", row="what", column="set")
        tables.append(table("Accepted at the shipped threshold, %, by set", everywhere))
        for kind in ("sibling", "far"):
            by_set = cells(mine, f"auroc_{kind}", column="set")
            tables.append(table(f"AUROC, %, unknowns: {kind}, by set", by_set, head="score"))
    return tables


def other_tables(rows: Sequence[Row]) -> list[str]:
    """Names, the incremental promise, and the ablations."""
    tables = []
    for part, measure, title in (
        ("names", "accuracy", "Accuracy of ours, %, by what the labels are called"),
        ("ablation", "accuracy", "Ablation: accuracy, %"),
        ("ablation", "ece", "Ablation: ECE, %"),
    ):
        mine = of_part(rows, part)
        if mine:
            tables.append(table(title, cells(mine, measure)))
    mixed = [
        {**r, "what": what, "value": r[what]}
        for r in of_part(rows, "mixed")
        for what in r
        if what in ("accuracy", "auroc") or "accepts" in what
    ]
    if mixed:
        found = cells(mixed, "value", row="what", column="set")
        tables.append(table("Memory mostly of one kind, %", found, head="of what is asked"))
    mine = of_part(rows, "incremental")
    if mine:
        worst = max(float(r["difference"]) for r in mine)
        tables.append(
            "**Labels taught one at a time**\n\n"
            f"Largest difference of a probability to all at once: {worst:.1e}\n"
        )
    return tables


def summary(rows: Sequence[Row], ours: str) -> list[str]:
    """Ours less the best other, per promise; better is above zero (↑), or below it (↓)."""
    lines = []

    def say(what: str, found: Cells) -> None:
        lines.extend(f"| {what}, {c} | {e.text()} | {m} |" for (m, c), e in found.items())

    closed = of_part(rows, "accuracy")
    new = [r for r in closed if r["set"] not in MEASURED]
    say("accuracy ↑, shots", lead(closed, "accuracy", ours))
    say("accuracy on sets that gave no statistics ↑, shots", lead(new, "accuracy", ours))
    named = {r["set"] for r in rows if r["method"] == "zero-shot"}
    for measure in ("ece", "brier"):
        beside = [r for r in closed if r["method"] in ("zero-shot", ours)]
        beside = [r for r in beside if r["set"] in named]
        say(f"{measure} ↓, shots", lead(beside, measure, ours, larger=False))
    for kind in ("other words", "made-up words", "meaningful names"):
        pair = [r for r in of_part(rows, "names") if r["method"] in (kind, "no names")]
        say(f"accuracy with {kind} ↑, shots", lead(pair, "accuracy", kind))
    mine = [{**r, "cell": f"K={r['labels']} n={r['shots']}"} for r in of_part(rows, "openset")]
    for measure, arrow in (("auroc", "↑"), ("fpr95", "↓"), ("oscr", "↑")):
        found = lead(mine, f"{measure}_sibling", ours, column="cell", larger=arrow == "↑")
        say(f"{measure} {arrow}, siblings", found)
    if not lines:
        return []
    head = ["**Ours less the best other, in points**", "", "| | difference | best other |"]
    return ["\n".join([*head, "|---|---|---|", *lines]) + "\n"]


def all_tables(rows: Sequence[Row], ours: str) -> str:
    """Everything there is to say about the rows, as Markdown."""
    parts: list[Callable[[], list[str]]] = [
        lambda: summary(rows, ours),
        lambda: accuracy_tables(rows, ours) if of_part(rows, "accuracy") else [],
        lambda: open_tables(rows, ours),
        lambda: calibration_tables(rows, ours),
        lambda: other_tables(rows),
    ]
    return "\n".join(text for part in parts for text in part())
