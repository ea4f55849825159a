"""Putting what was trained on the shelf, for the assistant to use (:mod:`tools.shelf`).

A folder appears under its name only when all of it is there: the weights, ``README.md`` and
``manifest.json``. Knows nothing of training.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from finetune.files import replace_folder, write_json
from finetune.runs import Run
from tools.errors import TrainingFailed
from tools.shelf import ADAPTER_NAME, FORMAT, activate, digest, read_manifest

__all__ = [
    "activate",
    "finished",
    "list_adapters",
    "manifest_of",
    "publish",
    "read_manifest",
    "take_in",
]

_CARD = "README.md"


def publish(run: Run, shelf: Path, *, name: str | None = None, replace: bool = False) -> Path:
    """Put the best model of a finished run on the shelf; returns its folder.

    Raises :class:`TrainingFailed` for a run that has not finished and a name that is taken.
    """
    results = finished(run)

    def fill(folder: Path) -> None:
        shutil.copytree(run.folder / "best_model", folder, dirs_exist_ok=True)
        shutil.copyfile(run.folder / _CARD, folder / _CARD)
        write_json(folder / "manifest.json", manifest_of(run, results, folder))

    return _put(shelf, name or run.name, fill, replace=replace)


def take_in(folder: Path, shelf: Path, *, name: str | None = None, replace: bool = False) -> Path:
    """Put an adapter that was published elsewhere on the shelf: the files that its manifest names.

    Raises :class:`TrainingFailed` for one that is not whole and for a name that is taken.
    """
    manifest = read_manifest(folder)
    files = list(manifest["files"])
    if strange := [file for file in files if Path(file).name != file]:
        raise TrainingFailed(
            f"The manifest in {folder} names files outside of it ({strange[0]!r:.60}), so I do not "
            "take it."
        )

    def fill(place: Path) -> None:
        for file in (*files, "manifest.json"):
            shutil.copyfile(folder / file, place / file)
        if (folder / _CARD).is_file():
            shutil.copyfile(folder / _CARD, place / _CARD)
        read_manifest(place)  # also what was changed meanwhile

    return _put(shelf, name or str(manifest.get("run", folder.name)), fill, replace=replace)


def finished(run: Run) -> dict[str, Any]:
    """The results of ``run``. Raises :class:`TrainingFailed` while there are none."""
    results = run.results
    if results is None or not (run.folder / "best_model").is_dir():
        raise TrainingFailed(
            f"Run {run.name} has not finished ({run.status}): go on with `runs resume {run.name}`, "
            "then publish it."
        )
    return results


def _put(shelf: Path, name: str, fill: Callable[[Path], None], *, replace: bool) -> Path:
    target = shelf / name
    if not ADAPTER_NAME.fullmatch(name):
        raise TrainingFailed(
            f"{name!r} can't be the name of an adapter: use 1 to 64 of a-z, 0-9, '.', '_' and '-'."
        )
    if target.exists() and not replace:
        raise TrainingFailed(
            f"There is an adapter {name} on the shelf already: give --as another name, or "
            "--replace it."
        )
    replace_folder(target, fill)
    return target


def list_adapters(shelf: Path) -> list[str]:
    """Names of the adapters on the shelf."""
    if not shelf.is_dir():
        return []
    return sorted(p.parent.name for p in shelf.glob("[!.]*/manifest.json"))


def manifest_of(run: Run, results: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What is said of the files in ``folder``, which a run has left."""
    table, plan = run.data()
    model = results["model"]
    figures = {
        name: {k: v for k, v in figures.items() if k not in ("classes", "confusion")}
        for name, figures in results["figures"].items()
    }
    return {
        "format": FORMAT,
        "run": run.name,
        "created": _now(),
        "role": run.settings.role,
        "method": results["method"],
        "base_model": model["base_model"],
        "base_id": model["base_id"],
        "revision": model["revision"],
        "precision": model["precision"],
        "prompt": run.settings.prompt.model_dump(mode="json"),
        "question": model.get("question"),
        "classes": results["classes"],
        "metrics": figures,
        "worth_using": results["worth_using"],
        "verdict": results["verdict"],
        "data": {
            "source": run.settings.data.source,
            "train": {row.photo_id: row.label for row in table.take(plan.final.train)},
            "validation": sorted({row.photo_id for row in table.take(plan.final.val)}),
            "test": sorted({r.photo_id for f in plan.folds for r in table.take(f.test)}),
        },
        "versions": run.metadata["versions"],
        "files": {p.name: digest(p) for p in sorted(folder.iterdir()) if p.is_file()},
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
