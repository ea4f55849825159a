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
from finetune.exemplars import by_exemplars
from finetune.files import replace_folder
from finetune.learner import Learner, Session
from finetune.predictions import Prediction, read_predictions, write_csv, write_predictions
from finetune.report import summarise, write_report
from finetune.runs import Run
from finetune.settings import Settings
from tools.errors import ModelError
from tools.models.quantizing import import_bitsandbytes

__all__ = ["execute", "make_learner"]


def make_learner(settings: Settings, table: Table, plan: Plan) -> Learner:
    """The learner of ``settings.method``; loads its model."""
    if find_spec("bitsandbytes") is not None:
        # PEFT imports it too, with all of the Trainer, and then it asks the Hub for a kernel where
        # the CPU has AVX512-BF16 (bitsandbytes 0.50, backends/cpu/ops.py).
        import_bitsandbytes()
    if settings.role == "captioner":
        from finetune.captioning import CaptionLearner

        return CaptionLearner(settings, table.rows)
    if settings.role == "embedder":
        from finetune.contrastive import EmbedderLearner

        return EmbedderLearner(settings, table, table.take(plan.final.train))
    if settings.method == "prototypes":
        from finetune.prototypes import PrototypeLearner

        return PrototypeLearner(settings, table.classes)
    if settings.method == "linear":
        from finetune.linear import LinearLearner

        return LinearLearner(settings, table.classes)
    from finetune.vlm_learner import VlmLearner

    return VlmLearner(settings, table.classes, table.take(plan.final.train))


def execute(run: Run, learner: Learner, session: Session) -> dict[str, Any]:
    """Everything that is not done yet; returns ``results.json``. May be called again."""
    settings, (table, plan) = run.settings, run.data()
    run.update(model=learner.describe())
    measured = [row for fold in plan.folds for row in table.take(fold.test)]
    places = run.folder / "evaluation"

    def kept(name: str, compute: Any) -> list[Prediction]:
        path = places / f"{name}.json"
        found = read_predictions(path)
        if found is None:
            session.check()
            session.tell(event="stage", stage=stage or name)
            found = compute()
            write_predictions(path, found)
        return found

    base = kept("base", lambda: learner.predict(measured, session, base=True))
    exemplars, missing = _exemplars(settings, table, plan, session, kept)
    ours: list[Prediction] = []
    if plan.crossed:
        for number, fold in enumerate(plan.folds, 1):
            train, test = table.take(fold.train), table.take(fold.test)

            def one(train: Sequence[Row] = train, test: Sequence[Row] = test) -> list[Prediction]:
                learner.fit(train, [], session, number)  # noqa: B023 - called at once
                return learner.predict(test, session)

            ours += kept(f"fold-{number}", one)
            shutil.rmtree(run.folder / "checkpoints" / f"fold-{number}", ignore_errors=True)
    _final(run, learner, table, plan, session)
    if not plan.crossed:
        ours = kept("test", lambda: learner.predict(measured, session))
    write_csv(
        run.folder / "predictions.csv", ours, {learner.base_name: base, "exemplars": exemplars}
    )
    results = summarise(
        run, learner, table, plan, ours=ours, base=base, exemplars=exemplars, missing=missing
    )
    write_report(run, results)
    return results


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
    settings: Settings, table: Table, plan: Plan, session: Session, kept: Any
) -> tuple[list[Prediction], str]:
    """What the recogniser says with the same pictures as exemplars; or why it says nothing."""
    if not table.classes:
        return [], "the recogniser names things and does not answer questions"
    try:
        return kept("exemplars", lambda: by_exemplars(settings, table, plan, session)), ""
    except ModelError as problem:
        return [], str(problem)
