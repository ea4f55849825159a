"""The shelf of adapters on disk: whether one is whole, and which of them is in use.

``adapters/<name>/`` holds the weights and ``manifest.json``, which was written last;
``adapters/active.json`` names the one in use for each role and is replaced in one step. Knows
nothing of models, nor of training, which puts adapters here.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tools.errors import TrainingFailed
from tools.whole import whole_file

__all__ = [
    "ACTIVE",
    "ADAPTER_NAME",
    "FORMAT",
    "ROLES",
    "Adapter",
    "activate",
    "active_adapter",
    "deactivate",
    "digest",
    "open_adapter",
    "read_manifest",
    "role_of",
]

FORMAT = 2
"""Of the manifest."""
ACTIVE = "active.json"
ROLES = ("answerer", "captioner", "embedder")
"""Whose model an adapter may be of."""
ADAPTER_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_CLASSIFIERS = ("linear", "prototypes", "box", "maml")


@dataclass(frozen=True, eq=False)
class Adapter:
    """What its manifest says of an adapter that was checked."""

    name: str
    folder: Path
    role: str
    """One of :data:`ROLES`."""
    digest: str
    """Of its weights."""
    base_model: str
    base_id: str
    precision: str
    worth_using: bool
    """It was right more often than its base model and than the recogniser, beyond chance."""
    verdict: str
    question: str | None = None
    """What an answerer was trained to be asked; None: any question."""
    form: str = ""
    """Of its answers, with ``{label}`` in it."""
    classes: tuple[str, ...] = ()
    """What an answerer was trained to answer; empty where it answers questions."""
    shown: Mapping[str, str] = field(default_factory=dict)
    """Photo id → class of the pictures it was trained on."""
    remembered: bool = False
    """Those pictures were taught in a conversation."""
    reliability: float = 0.0
    """How often the class that its answer names is right, in (0, 1): (k + 1) / (n + 2) of those
    that measured it."""


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


def role_of(manifest: Mapping[str, Any]) -> str:
    """Whose model it is of: answerers alone were trained when manifests did not say."""
    return str(manifest.get("role", "answerer"))


def open_adapter(shelf: Path, name: str, role: str | None = None) -> Adapter:
    """The adapter of that name; of ``role``, where one is wanted.

    Raises :class:`TrainingFailed` for one that is not whole, for one of another role, and for one
    that no model can use.
    """
    manifest = read_manifest(shelf / name)
    try:
        method, found = manifest["method"], role_of(manifest)
        if found not in ROLES or (role or found) != found:
            raise TrainingFailed(
                f"The adapter {name} is for the {found:.40}, not for the {role or ROLES[0]}: "
                "activate another one."
            )
        if method in _CLASSIFIERS:
            raise TrainingFailed(
                f"{name} is a classifier on the embedder ({method}), and the assistant's answerer "
                "can't use it: ask it with `predict`, or train with lora, qlora, projector or full."
            )
        return Adapter(
            name,
            shelf / name,
            found,
            _digest_of_weights(manifest["files"]),
            str(manifest["base_model"]),
            str(manifest["base_id"]),
            str(manifest["precision"]),
            bool(manifest["worth_using"]),
            str(manifest["verdict"]),
            **(_of_answerer(manifest) if found == "answerer" else {}),
        )
    except (LookupError, TypeError, ValueError, AttributeError) as exc:
        raise TrainingFailed(
            f"The manifest of the adapter {name} lacks what is needed to use it "
            f"({type(exc).__name__}: {exc}): publish it again."
        ) from exc


def _digest_of_weights(files: Mapping[str, str]) -> str:
    weights = [f"{n}:{files[n]}" for n in sorted(files) if n.endswith(".safetensors")]
    return hashlib.sha256("|".join(weights).encode()).hexdigest()


def _of_answerer(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked and answered, and how reliably."""
    classes = tuple(str(c) for c in manifest["classes"])
    data, figures = manifest["data"], manifest["metrics"]["trained"]
    said = figures["generated_accuracy" if classes else "exact_match"]
    right, asked = float(said["value"]) * float(said["n"]), float(said["n"])
    return {
        "question": manifest["question"] if classes else None,
        "form": str(manifest["prompt"]["answer"]),
        "classes": classes,
        "shown": {str(photo): str(label) for photo, label in data["train"].items() if classes},
        "remembered": str(data["source"]).startswith("memory:"),
        "reliability": (right + 1) / (asked + 2),
    }


def activate(shelf: Path, name: str) -> Adapter:
    """Make an adapter the one in use for its role. Raises what :func:`open_adapter` raises."""
    adapter = open_adapter(shelf, name)
    try:
        now = _in_use(shelf)
    except TrainingFailed:
        now = {}  # a damaged file is mended by writing a new one
    _write(shelf, {**now, adapter.role: name})
    return adapter


def deactivate(shelf: Path, role: str = "answerer") -> None:
    """Use no adapter for ``role``; all of them stay on the shelf."""
    try:
        now = _in_use(shelf)
    except TrainingFailed:
        now = {}
    _write(shelf, {other: name for other, name in now.items() if other != role})


def active_adapter(shelf: Path, role: str = "answerer") -> str | None:
    """The name of the adapter in use for ``role``, None without one.

    Raises :class:`TrainingFailed` for a file that can't be understood.
    """
    return _in_use(shelf).get(role)


def _in_use(shelf: Path) -> dict[str, str]:
    """Role → name of its adapter."""
    path = shelf / ACTIVE
    try:
        content = dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as exc:
        raise TrainingFailed(
            f"{path} can't be read, so no adapter is in use: activate one again."
        ) from exc
    if "adapter" in content:  # how it was written when answerers alone were trained
        content.setdefault("answerer", content["adapter"])
    found = {role: content[role] for role in ROLES if role in content}
    for name in found.values() if found else [None]:
        if not isinstance(name, str) or not ADAPTER_NAME.fullmatch(name):
            raise TrainingFailed(f"{path} names no adapter ({name!r:.40}): activate one again.")
    return found


def _write(shelf: Path, found: Mapping[str, str]) -> None:
    if not found:
        (shelf / ACTIVE).unlink(missing_ok=True)
        return
    content = {**found, "at": datetime.now(UTC).isoformat(timespec="seconds")}
    with whole_file(shelf / ACTIVE, durable=True) as path:
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def digest(path: Path) -> str:
    """The sha256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
