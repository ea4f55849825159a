"""The memory forecast beside the peak that the system measured, for trainings of two steps.

    python -m tests.bench.forecast [--models pocket smolvlm …] [--cache DIR]

Every training is a process of its own, whose largest resident set the system tells when it has
ended. ``smolvlm``, ``clip`` and ``blip`` have the shapes of SmolVLM-256M, CLIP ViT-B/32 and BLIP's
base captioner, and random weights; ``--cache`` is where they are written.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from finetune.data import gather, make_plan
from finetune.events import EventLog
from finetune.learners.learner import Session
from finetune.pipeline import make_learner
from finetune.planning.forecast import forecast
from finetune.settings.files import load_settings, with_assignments
from finetune.settings.schema import Role
from tests.finetune_data import class_folders
from tools.config import load_config

__all__ = ["CASES", "main", "measured", "train"]

CASES: dict[str, tuple[Role, list[tuple[str, int]]]] = {
    "pocket": (
        "answerer", [("lora", 8), ("qlora", 8), ("projector", 8), ("full", 8), ("lora", 64)],
    ),
    "pocket-embedder": ("embedder", [("lora", 8), ("lora", 64)]),
    "pocket-captioner": ("captioner", [("lora", 8), ("full", 8)]),
    "clip": ("embedder", [("lora", 8), ("lora", 64)]),
    "blip": ("captioner", [("lora", 4), ("lora", 16), ("full", 4)]),
    "smolvlm": ("answerer", [("lora", 1), ("lora", 4), ("projector", 1)]),
}  # fmt: skip
_POCKET = {"answerer": "pocket:llava", "embedder": "pocket:clip", "captioner": "pocket:blip"}
_SHAPES = {"smolvlm": "save_smolvlm_256m", "clip": "save_clip_b32", "blip": "save_blip_base"}
_CLASSES = 50
"""Of an embedder's training: all of their names take part in each step."""


def train(folder: Path, values: dict[str, Any]) -> None:
    """Print the forecast as JSON, then train: what the process that is measured does."""
    data = {"data.source": str(folder / "data"), "data.evaluation": "split"}
    settings = load_settings(with_assignments({}, values | data))
    table = gather(settings.data, load_config(home=folder / "home"))
    plan = make_plan(table, settings.data, cheap=False)
    found = forecast(settings, table.rows)
    assert found is not None
    print(json.dumps(found.to_json()), flush=True)
    rows = table.take(plan.final.train)
    learner = make_learner(settings, table, plan)
    learner.fit(rows, [], Session(folder / "run", EventLog(folder / "run" / "events.jsonl")), 0)


def measured(folder: Path, values: dict[str, Any]) -> tuple[int, int]:
    """(bytes forecast, bytes at the peak) of a training in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.forecast", "--one", json.dumps(values)]
    process = subprocess.Popen([*command, "--in", str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{values} ended with status {status}")
    expected = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    return int(expected["peak"]), used.ru_maxrss * 1024


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--cache", type=Path, help="Where the large model is kept.")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one is not None:
        train(given.folder, json.loads(given.one))
        return
    print("| model | method | batch | forecast | measured | forecast / measured |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        for model in given.models:
            role, cases = CASES[model]
            source = _source(model, role, given.cache or Path(place))
            for method, batch in cases:
                folder = Path(place) / f"{model}-{method}-{batch}"
                _pictures(role, folder / "data", batch)
                values = {
                    "role": role, f"model.{role}": source, "method": method,
                    "training.batch": batch, "training.max_steps": 2,
                }  # fmt: skip
                expected, peak = measured(folder, values)
                numbers = f"{expected / 1e9:.2f} GB | {peak / 1e9:.2f} GB | {expected / peak:.2f}"
                print(f"| {model} | {method} | {batch} | {numbers} |", flush=True)


def _pictures(role: Role, folder: Path, batch: int) -> None:
    if role == "captioner":
        from tests.roles_data import captioned

        folder.mkdir(parents=True)
        captioned(folder, train=max(8, batch))
    elif role == "embedder":
        for number in range(_CLASSES):
            class_folders(folder, each=4, kinds=(f"thing of kind {number}",), start=4 * number)
    else:
        class_folders(folder, each=max(8, batch))


def _source(model: str, role: Role, cache: Path) -> str:
    if model not in _SHAPES:
        return _POCKET[role]
    folder = cache / f"{model}-shape"
    if not (folder / "model.safetensors").is_file():
        from tests import real_shapes  # here, so that the process that is measured has no more

        getattr(real_shapes, _SHAPES[model])(folder)
    return str(folder)


if __name__ == "__main__":
    main()
