"""A whole run: measure the base, train, measure, write the report, put the result on the shelf.

What is done is on disk before the next thing begins, so a run that was killed goes on where it
was. Knows nothing of methods: a learner learns, whatever it is.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

from finetune.data import Plan, Row, Table
from finetune.evaluation.asking import answered, once
from finetune.evaluation.controls import Control, Measured, control
from finetune.evaluation.metrics import kind_of
from finetune.evaluation.predictions import (
    Prediction,
    read_predictions,
    write_csv,
    write_predictions,
)
from finetune.evaluation.retrieval import Figures
from finetune.evaluation.retrieving import Embeds, retrieval
from finetune.files import replace_folder
from finetune.learners.exemplars import by_exemplars
from finetune.learners.learner import InEpisodes, Learner, Session
from finetune.report import summarise, write_report
from finetune.runs import Run
from finetune.settings.schema import Settings
from tools.errors import ModelError
from tools.models.quantizing import import_bitsandbytes

__all__ = ["execute", "make_learner"]

Compute = Callable[[], list[Prediction]]
Kept = Callable[..., list[Prediction]]
"""A name and how to predict to the predictions, which are on disk from then on."""


def make_learner(settings: Settings, table: Table, plan: Plan) -> Learner:
    """The learner of ``settings.method``; loads its model."""
    if find_spec("bitsandbytes") is not None:
        # PEFT imports it too, with all of the Trainer, and then it asks the Hub for a kernel where
        # the CPU has AVX512-BF16 (bitsandbytes 0.50, backends/cpu/ops.py).
        import_bitsandbytes()
    if settings.role == "captioner":
        from finetune.learners.captioning import CaptionLearner

        return CaptionLearner(settings, table.rows)
    if settings.role == "embedder":
        from finetune.learners.contrastive import EmbedderLearner

        return EmbedderLearner(settings, table, table.take(plan.final.train))
    if settings.method == "box":
        from finetune.learners.box import BoxLearner

        return BoxLearner(settings, table.classes)
    if settings.method == "maml":
        from finetune.learners.maml import MamlLearner

        return MamlLearner(settings, table, plan)
    if settings.method == "prototypes":
        from finetune.learners.prototypes import PrototypeLearner

        return PrototypeLearner(settings, table.classes)
    if settings.method == "linear":
        from finetune.learners.linear import LinearLearner

        return LinearLearner(settings, table.classes)
    from finetune.learners.answering import VlmLearner

    return VlmLearner(settings, table.classes, table.take(plan.final.train))


def execute(run: Run, learner: Learner, session: Session) -> dict[str, Any]:
    """Everything that is not done yet; returns ``results.json``. May be called again."""
    settings, (table, plan) = run.settings, run.data()
    run.update(model=learner.describe())
    tests = [once(table.take(fold.test)) for fold in plan.folds]
    measured = [row for test in tests for row in test]
    places = run.folder / "evaluation"

    def kept(name: str, compute: Compute, stage: str | None = None) -> list[Prediction]:
        path = places / f"{name}.json"
        found = read_predictions(path)
        if found is None:
            session.check()
            session.tell(event="stage", stage=stage or name)
            found = compute()
            write_predictions(path, found)
        return found

    base = kept("base", lambda: answered(learner, measured, session, base=True))
    exemplars, missing = _exemplars(run, learner, measured, session, kept)
    ours: list[Prediction] = []
    if plan.crossed:
        for number, (fold, test) in enumerate(zip(plan.folds, tests, strict=True), 1):
            train = table.take(fold.train)

            def one(train: Sequence[Row] = train, test: Sequence[Row] = test) -> list[Prediction]:
                learner.fit(train, [], session, number)  # noqa: B023 - called at once
                return answered(learner, test, session)

            ours += kept(f"fold-{number}", one)
            shutil.rmtree(run.folder / "checkpoints" / f"fold-{number}", ignore_errors=True)
    _final(run, learner, table, plan, session)
    if not plan.crossed:
        ours = kept("test", lambda: answered(learner, measured, session))
    write_csv(
        run.folder / "predictions.csv", ours, {learner.base_name: base, "exemplars": exemplars}
    )
    found = Measured(
        kind_of(settings.role, table.rows),
        table.classes,
        table.take(plan.final.train),
        measured,
        ours,
        base,
    )
    results = summarise(
        run,
        learner,
        table,
        plan,
        measured=found,
        exemplars=exemplars,
        missing=missing,
        controls=_controls(settings, learner, found, session, kept),
        more=_retrieval(learner, plan, measured),
    )
    write_report(run, results)
    return results


def _controls(
    settings: Settings, learner: Learner, measured: Measured, session: Session, kept: Kept
) -> list[Control] | None:
    """None where they are left out."""
    if not settings.evaluation.controls:
        return None
    return control(
        learner, settings, measured, session, lambda name, how: kept(name, how, "controls")
    )


def _retrieval(learner: Learner, plan: Plan, rows: Sequence[Row]) -> dict[str, Figures]:
    """Of an embedder what finds what; not of one that has trained on what measures."""
    if not isinstance(learner, Embeds) or plan.crossed:
        return {}
    return {"trained": retrieval(learner, rows), "base": retrieval(learner, rows, base=True)}


def _final(run: Run, learner: Learner, table: Table, plan: Plan, session: Session) -> None:
    """The model that is kept: the best by validation, else the last one."""
    best, final = run.folder / "best_model", run.folder / "final_model"
    if final.is_dir():
        learner.load(best)
        return
    session.tell(event="stage", stage="train")
    val = table.take(plan.final.val)
    learner.fit(table.take(plan.final.train), val, session, 0)
    replace_folder(run.folder / "last", learner.save)
    # Without validation there is nothing to choose by, whatever an earlier try may have left.
    if val and best.is_dir():
        learner.load(best)
    replace_folder(best, learner.save)
    (run.folder / "last").rename(final)


def _exemplars(
    run: Run, learner: Learner, measured: Sequence[Row], session: Session, kept: Kept
) -> tuple[list[Prediction], str]:
    """What the recogniser says with the same pictures as exemplars; or why it says nothing."""
    settings, (table, plan) = run.settings, run.data()
    if not table.classes:
        return [], "the recogniser names things and does not answer questions"
    if table.boxed:
        return [], "the recogniser names pictures and does not say what is where"
    if isinstance(learner, InEpisodes):
        return kept("exemplars", lambda: learner.by_recogniser(measured, session)), ""
    try:
        return kept("exemplars", lambda: by_exemplars(settings, table, plan, session)), ""
    except ModelError as problem:
        return [], str(problem)
