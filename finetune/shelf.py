"""The shelf of adapters: what the assistant may use, each with a manifest that was written last.

``adapters/<name>/`` holds the weights, ``README.md`` and ``manifest.json``;
``adapters/active.json`` names the one in use. A folder appears under its name only when all of it
is there. Knows nothing of training.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from finetune.files import write_json
from finetune.runs import Run
from tools.errors import TrainingFailed

__all__ = ["activate", "list_adapters", "publish", "read_manifest"]

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_FORMAT = 1


def publish(run: Run, shelf: Path, *, name: str | None = None, replace: bool = False) -> Path:
    """Put the best model of a finished run on the shelf; returns its folder.

    Raises :class:`TrainingFailed` for a run that has not finished and a name that is taken.
    """
    results = run.results
    if results is None or not (run.folder / "best_model").is_dir():
        raise TrainingFailed(
            f"Run {run.name} has not finished ({run.status}): go on with `runs resume {run.name}`, "
            "then publish it."
        )
    name = name or run.name
    target = shelf / name
    if not _NAME.fullmatch(name):
        raise TrainingFailed(
            f"{name!r} can't be the name of an adapter: use 1 to 64 of a-z, 0-9, '.', '_' and '-'."
        )
    if target.exists() and not replace:
        raise TrainingFailed(
            f"There is an adapter {name} on the shelf already: give --as another name, or "
            "--replace it."
        )
    shelf.mkdir(parents=True, exist_ok=True)
    temporary = shelf / f".{name}.{secrets.token_hex(4)}.tmp"
    old = shelf / f".{name}.{secrets.token_hex(4)}.old"
    try:
        shutil.copytree(run.folder / "best_model", temporary)
        shutil.copyfile(run.folder / "README.md", temporary / "README.md")
        write_json(temporary / "manifest.json", _manifest(run, results, temporary))
        if target.exists():
            os.rename(target, old)
        os.rename(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return target


def activate(shelf: Path, name: str) -> None:
    """Make an adapter the one in use, in one step. Raises :class:`TrainingFailed`."""
    manifest = read_manifest(shelf / name)
    content = {"adapter": name, "method": manifest["method"], "at": _now()}
    write_json(shelf / "active.json", content)


def read_manifest(folder: Path) -> dict[str, Any]:
    """A checked manifest: every file of the adapter is there and as it was.

    Raises :class:`TrainingFailed` that says what is wrong with the adapter.
    """
    path = folder / "manifest.json"
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        files: Mapping[str, str] = manifest["files"]
    except (OSError, ValueError, LookupError) as exc:
        raise TrainingFailed(
            f"There is no adapter in {folder} ({path.name} can't be read): publish it again."
        ) from exc
    for name, digest in files.items():
        if not (folder / name).is_file() or _digest(folder / name) != digest:
            raise TrainingFailed(
                f"The adapter in {folder} is damaged: {name} is missing or altered; publish it "
                "again."
            )
    return manifest


def list_adapters(shelf: Path) -> list[str]:
    """Names of the adapters on the shelf."""
    if not shelf.is_dir():
        return []
    return sorted(p.parent.name for p in shelf.glob("[!.]*/manifest.json"))


def _manifest(run: Run, results: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    table, plan = run.data()
    model = results["model"]
    figures = {
        name: {k: v for k, v in figures.items() if k not in ("classes", "confusion")}
        for name, figures in results["figures"].items()
    }
    return {
        "format": _FORMAT,
        "run": run.name,
        "created": _now(),
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
            "train": sorted({row.photo_id for row in table.take(plan.final.train)}),
            "validation": sorted({row.photo_id for row in table.take(plan.final.val)}),
            "test": sorted({r.photo_id for f in plan.folds for r in table.take(f.test)}),
        },
        "versions": run.metadata["versions"],
        "files": {p.name: _digest(p) for p in sorted(folder.iterdir()) if p.is_file()},
    }


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
