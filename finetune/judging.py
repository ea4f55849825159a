"""A finished run's model on other pictures: measured, compared with its base, or just asked.

Knows nothing of training.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finetune.data import Row, gather
from finetune.data.table import DESCRIBE
from finetune.evaluation.asking import answered, once
from finetune.evaluation.boxes import SHOWN
from finetune.evaluation.metrics import MAIN, compare, kind_of, measure, told
from finetune.evaluation.predictions import Prediction
from finetune.events import Told
from finetune.files import write_json, write_text
from finetune.learners.learner import Learner, Session
from finetune.pipeline import make_learner
from finetune.runs import Run
from tools.config import Config
from tools.errors import DataError, PhotoError, SettingsError, TrainingFailed
from tools.images import open_photo

__all__ = ["judge", "predict_pictures", "words_of", "write_table"]


def judge(
    run: Run, source: str, config: Config, *, against: bool, on_event: Told | None = None
) -> dict[str, Any]:
    """Figures of the run's model on ``source``; ``against``: beside the model before training.

    Raises :class:`DataError` for classes that the model was not trained on.
    """
    learner, classes = _opened(run)
    data = run.settings.data.model_copy(
        update={"source": source, "max_samples": None, "shots": None}
    )
    table = gather(data, config, measuring=True)
    rows = once([row for row in table.rows if row.split == "test"] or table.rows)
    strange = sorted(set(table.classes) - set(classes))
    if strange or bool(table.classes) != bool(classes):
        known = ", ".join(classes) or "questions and answers"
        raise DataError(
            f"{source} has {', '.join(strange) or 'questions and answers'}, which run {run.name} "
            f"was not trained on: it knows {known}."
        )
    session = Session(run.folder, run.log, on_event=on_event)
    kind = kind_of(run.settings.role, table.rows)
    ours = answered(learner, rows, session)
    found: dict[str, Any] = {"run": run.name, "source": source}
    found["trained"] = measure(ours, classes, kind)
    if against:
        base = answered(learner, rows, session, base=True)
        found["base"] = measure(base, classes, kind)
        found["gain"] = compare(ours, base, kind)
        found["pictures"] = [
            {"image": a.image, "truth": a.truth, "before": b.answer, "after": a.answer}
            for a, b in zip(ours, base, strict=True)
        ]
    return found


def words_of(found: dict[str, Any]) -> str:
    """What :func:`judge` found, in a sentence or two."""
    kind = next(k for k in reversed(MAIN) if MAIN[k] in found["trained"])
    main = MAIN[kind]
    lines = [f"{found['run']} on {found['source']}: {told(found['trained'][main], kind)}."]
    if "base" in found:
        gain = found["gain"]
        lines.append(
            f"Before training: {told(found['base'][main], kind)}; {gain['gained']} pictures "
            f"gained, {gain['lost']} lost (McNemar p = {gain['p']:g})."
        )
    return "\n".join(lines)


def predict_pictures(
    run: Run,
    pictures: Sequence[Path],
    *,
    question: str | None = None,
    on_event: Told | None = None,
) -> list[dict[str, Any]]:
    """One entry a picture; a file that is no picture has an ``error`` in place of an answer."""
    learner, classes = _opened(run)
    if not classes and question is None and run.settings.role != "answerer":
        question = DESCRIBE
    if not classes and question is None:
        raise SettingsError(f"Run {run.name} answers questions: give one with --question.")
    if classes and question is not None:
        raise SettingsError(f"Run {run.name} names classes and asks its own question.")
    rows, found = [], []
    for path in _files(pictures):
        try:
            label = classes[0] if classes else None
            rows.append(Row(path, label, question, photo_id=open_photo(path).id))
        except PhotoError as problem:
            found.append({"image": str(path), "error": str(problem)})
    session = Session(run.folder, run.log, on_event=on_event)
    return [_entry(p, classes) for p in learner.predict(rows, session)] + found


def write_table(path: Path, entries: Sequence[dict[str, Any]]) -> None:
    """The entries as JSON or CSV, by the file's ending."""
    if path.suffix.lower() == ".json":
        write_json(path, list(entries))
        return
    if path.suffix.lower() != ".csv":
        raise SettingsError(f"--output {path}: give a file that ends in .csv or .json.")
    columns = ["image", "answer", "confidence", "boxes", "response", "seconds", "error"]
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for entry in entries:
        boxes = {"boxes": json.dumps(entry["boxes"])} if "boxes" in entry else {}
        writer.writerow({**entry, **boxes})
    write_text(path, out.getvalue())


def _opened(run: Run) -> tuple[Learner, tuple[str, ...]]:
    best = run.folder / "best_model"
    if not best.is_dir():
        raise TrainingFailed(
            f"Run {run.name} has no model yet ({run.status}): go on with `runs resume {run.name}`."
        )
    table, plan = run.data()
    learner = make_learner(run.settings, table, plan)
    learner.load(best)
    return learner, table.classes


def _files(pictures: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in pictures:
        if not path.exists():
            raise DataError(f"There is no {path}: give pictures, or folders of them.")
        inside = [p for p in sorted(path.rglob("*")) if p.is_file() and p.name[0] != "."]
        found += inside if path.is_dir() else [path]
    return found


def _entry(p: Prediction, classes: Sequence[str]) -> dict[str, Any]:
    entry: dict[str, Any] = {"image": p.image, "answer": p.answer, "confidence": p.confidence}
    if p.probabilities:
        entry["probabilities"] = dict(zip(classes, p.probabilities, strict=True))
    if p.found is not None:
        entry["boxes"] = [one._asdict() for one in p.found if one.score >= SHOWN]
    if p.response is not None:
        entry["response"] = p.response
    return entry | {"seconds": round(p.seconds, 4)}
