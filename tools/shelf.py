"""The shelf of adapters on disk: whether one is whole, and which of them is in use.

``adapters/<name>/`` holds the weights and ``manifest.json``, which was written last;
``adapters/active.json`` names the one in use and is replaced in one step. Knows nothing of models,
nor of training, which puts adapters here.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tools.errors import TrainingFailed
from tools.whole import whole_file

__all__ = [
    "ACTIVE",
    "ADAPTER_NAME",
    "FORMAT",
    "Adapter",
    "activate",
    "active_adapter",
    "deactivate",
    "digest",
    "open_adapter",
    "read_manifest",
]

FORMAT = 2
"""Of the manifest."""
ACTIVE = "active.json"
ADAPTER_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_CLASSIFIERS = ("linear", "prototypes")


@dataclass(frozen=True, eq=False)
class Adapter:
    """What its manifest says of an adapter that was checked."""

    name: str
    folder: Path
    base_model: str
    base_id: str
    precision: str
    question: str | None
    """What it was trained to be asked; None: any question."""
    form: str
    """Of its answers, with ``{label}`` in it."""
    classes: tuple[str, ...]
    """What it was trained to answer; empty where it answers questions."""
    shown: Mapping[str, str]
    """Photo id → class of the pictures it was trained on."""
    remembered: bool
    """Those pictures were taught in a conversation."""
    worth_using: bool
    """It was right more often than its base model and than the recogniser, beyond chance."""
    reliability: float
    """How often the class that its answer names is right, in (0, 1): (k + 1) / (n + 2) of those
    that measured it."""
    verdict: str


def read_manifest(folder: Path) -> dict[str, Any]:
    """A checked manifest: every file of the adapter is there and as it was.

    Raises :class:`TrainingFailed` that says what is wrong with the adapter.
    """
    path = folder / "manifest.json"
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        files: Mapping[str, str] = manifest["files"]
        version = manifest["format"]
    except (OSError, ValueError, LookupError, TypeError) as exc:
        raise TrainingFailed(
            f"There is no adapter in {folder} ({path.name} can't be read): publish it again."
        ) from exc
    if version != FORMAT:
        raise TrainingFailed(
            f"The adapter in {folder} has a manifest of format {version!r:.20}, and I read format "
            f"{FORMAT}: publish it again with this version."
        )
    for name, expected in files.items():
        if not (folder / name).is_file() or digest(folder / name) != expected:
            raise TrainingFailed(
                f"The adapter in {folder} is damaged: {name} is missing or altered; publish it "
                "again."
            )
    return manifest


def open_adapter(shelf: Path, name: str) -> Adapter:
    """The adapter of that name.

    Raises :class:`TrainingFailed` for one that is not whole, and for one that no answerer can use.
    """
    manifest = read_manifest(shelf / name)
    try:
        method = manifest["method"]
        if method in _CLASSIFIERS:
            raise TrainingFailed(
                f"{name} is a classifier on the embedder ({method}), and the assistant's answerer "
                "can't use it: ask it with `predict`, or train with lora, qlora, projector or full."
            )
        data, prompt = manifest["data"], manifest["prompt"]
        classes = tuple(str(c) for c in manifest["classes"])
        figures = manifest["metrics"]["trained"]
        said = figures["generated_accuracy" if classes else "exact_match"]
        right, asked = float(said["value"]) * float(said["n"]), float(said["n"])
        return Adapter(
            name,
            shelf / name,
            str(manifest["base_model"]),
            str(manifest["base_id"]),
            str(manifest["precision"]),
            manifest["question"] if classes else None,
            str(prompt["answer"]),
            classes,
            {str(photo): str(label) for photo, label in data["train"].items() if classes},
            str(data["source"]).startswith("memory:"),
            bool(manifest["worth_using"]),
            (right + 1) / (asked + 2),
            str(manifest["verdict"]),
        )
    except (LookupError, TypeError, ValueError, AttributeError) as exc:
        raise TrainingFailed(
            f"The manifest of the adapter {name} lacks what is needed to use it "
            f"({type(exc).__name__}: {exc}): publish it again."
        ) from exc


def activate(shelf: Path, name: str) -> None:
    """Make an adapter the one in use. Raises what :func:`open_adapter` raises."""
    open_adapter(shelf, name)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    content = {"adapter": name, "at": now}
    with whole_file(shelf / ACTIVE, durable=True) as path:
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def deactivate(shelf: Path) -> None:
    """Use no adapter; all of them stay on the shelf."""
    (shelf / ACTIVE).unlink(missing_ok=True)


def active_adapter(shelf: Path) -> str | None:
    """The name of the adapter in use, None without one.

    Raises :class:`TrainingFailed` for a file that names none.
    """
    path = shelf / ACTIVE
    try:
        name = json.loads(path.read_text(encoding="utf-8"))["adapter"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError) as exc:
        raise TrainingFailed(
            f"{path} can't be read, so no adapter is in use: activate one again."
        ) from exc
    if not isinstance(name, str) or not ADAPTER_NAME.fullmatch(name):
        raise TrainingFailed(f"{path} names no adapter ({name!r:.40}): activate one again.")
    return name


def digest(path: Path) -> str:
    """The sha256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
