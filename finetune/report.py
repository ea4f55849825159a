"""What a run has come to: figures beside those of the base and of exemplars, and one sentence.

Writes ``metrics.json``, ``results.json``, the plots and ``README.md``. Knows nothing of training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from finetune.cards import DECIMAL, run_card
from finetune.data import Plan, Table
from finetune.evaluation.controls import Control, Measured
from finetune.evaluation.intervals import decimal, percent
from finetune.evaluation.metrics import MAIN, Kind, compare, measure, told
from finetune.evaluation.predictions import Prediction
from finetune.files import write_json, write_text
from finetune.learners.learner import Learner
from finetune.plots import plot_confusion, plot_curves
from finetune.runs import Run
from tools.wording import join

__all__ = ["summarise", "verdict", "write_report"]

_LEFT_OUT = "left out (evaluation.controls)"


def summarise(
    run: Run,
    learner: Learner,
    table: Table,
    plan: Plan,
    *,
    measured: Measured,
    exemplars: Sequence[Prediction],
    missing: str,
    controls: Sequence[Control] | None,
    more: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> dict[str, Any]:
    """Every figure of a finished run. ``missing``: why there are no ``exemplars``; ``controls``:
    None where they were left out; ``more``: further figures of a model, by its name."""
    settings, kind, ours = run.settings, measured.kind, measured.ours
    rivals = {"base": measured.base, **({"exemplars": exemplars} if exemplars else {})}
    figures = {
        name: {**measure(one, table.classes, kind), **more.get(name, {})}
        for name, one in {"trained": ours, **rivals}.items()
    }
    gains = {name: compare(ours, theirs, kind) for name, theirs in rivals.items()}
    worth, sentence = verdict(settings.method, kind, figures, gains, missing, controls or ())
    return {
        "run": run.name,
        "method": settings.method,
        "model": learner.describe(),
        "classes": list(table.classes),
        "measured_on": plan.how,
        "measured_model": "models of the same recipe, one a fold" if plan.crossed else "this one",
        "pictures": {
            "train": len({row.photo_id for row in table.take(plan.final.train)}),
            "validation": len({row.photo_id for row in table.take(plan.final.val)}),
            "measured": len({p.id for p in ours}),
        },
        "figure": MAIN[kind],
        "figures": figures,
        "gains": gains,
        "no_exemplars": missing or None,
        "controls": _LEFT_OUT if controls is None else {c.name: c.to_json() for c in controls},
        "worth_using": worth,
        "verdict": sentence,
    }


def verdict(
    method: str,
    kind: Kind,
    figures: dict[str, Any],
    gains: dict[str, Any],
    missing: str,
    controls: Sequence[Control] = (),
) -> tuple[bool, str]:
    """Whether the result is worth using, and why, in one sentence.

    It is when it is right more often than the base model and than the recogniser with the same
    pictures as exemplars, the 95 % intervals of both differences are above zero, and no control
    (:mod:`finetune.evaluation.controls`) says that it has learned something else.
    """
    main = MAIN[kind]
    own, rivals = figures["trained"][main], []
    for name, words in (
        ("base", "before training"),
        ("exemplars", "the recogniser with the same pictures as exemplars"),
    ):
        if name in gains:
            rivals.append((gains[name]["difference"], words, figures[name][main]))
    said_of = decimal if main in DECIMAL else percent
    others = ", ".join(f"{words}: {said_of(theirs)}" for _, words, theirs in rivals)
    unknown = f"; not compared with exemplars, for {missing.rstrip('.')}" if missing else ""
    said = f"{told(own, kind)} ({others}){unknown}"
    if method == "prototypes":
        said += "; nothing was trained, these are the exemplars"
        rivals = rivals[:1]
    warnings = "".join(f"; {c.warning}" for c in controls if c.warning)
    behind = [words for gain, words, _ in rivals if gain["value"] <= 0]
    behind += [c.behind for c in controls if c.behind]
    problems = [f"it is no better than {join(behind)}"] if behind else []
    problems += [c.problem for c in controls if c.problem]
    if problems:
        return False, f"Not worth using: {said}; {join(problems)}{warnings}."
    close = [words for gain, words, _ in rivals if gain["low"] <= 0]
    close += [c.doubt for c in controls if c.doubt]
    if close:
        return False, (
            f"Not shown to be worth using: {said}; {own['n']} pictures are too few to tell it from "
            f"{join(close)}{warnings}."
        )
    return True, f"Worth using: {said}{warnings}."


def write_report(run: Run, results: dict[str, Any]) -> None:
    """All that a person opens; ``results.json`` last."""
    write_json(run.folder / "metrics.json", results["figures"])
    plot_curves(run.log, run.folder / "training_curves.png")
    if "confusion" in results["figures"]["trained"]:
        plot_confusion(
            results["figures"]["trained"]["confusion"], run.folder / "confusion_matrix.png"
        )
    write_text(run.folder / "README.md", run_card(run.settings, results))
    write_json(run.folder / "results.json", results)
