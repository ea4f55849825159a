"""Pictures of two kinds of things in folders of classes, and the command line of training run here.

Discs and boxes in changing colours and places: a tiny model can learn them in seconds.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from typer.testing import CliRunner

from finetune.cli import app

__all__ = [
    "TINY",
    "class_folders",
    "command",
    "events",
    "picture",
    "process",
    "read",
    "run_folder",
    "split_folders",
]

ROOT = Path(__file__).parents[1]
TINY = ["--lr", "0.01", "--batch", "4", "--set", "augmentation={}", "--set", "training.patience="]
TINY += ["--set", "evaluation.controls=false"]  # they are tested in test_finetune_controls.py


def picture(kind: str, seed: int, side: int = 32) -> Image.Image:
    """A light disc on dark ground (``disc``) or a dark box on light (``box``)."""
    rng = np.random.default_rng((seed, len(kind)))
    dark, light = rng.integers(0, 70, 3), rng.integers(185, 256, 3)
    ground, ink = (dark, light) if kind == "disc" else (light, dark)
    image = Image.new("RGB", (side, side), tuple(int(x) for x in ground))
    draw = ImageDraw.Draw(image)
    left, top = (int(x) for x in rng.integers(2, side // 3, 2))
    box = (left, top, left + side // 2, top + side // 2)
    shape = draw.ellipse if kind == "disc" else draw.rectangle
    shape(box, fill=tuple(int(x) for x in ink))
    return image


def class_folders(
    root: Path, each: int = 8, kinds: tuple[str, ...] = ("disc", "box"), start: int = 0
) -> Path:
    """A folder for each kind with ``each`` different pictures in it."""
    for kind in kinds:
        folder = root / kind
        folder.mkdir(parents=True, exist_ok=True)
        for seed in range(start, start + each):
            picture(kind, seed).save(folder / f"{seed}.png")
    return root


def split_folders(root: Path, measured: int) -> Path:
    """``train/`` with 8 pictures of each kind and ``test/`` with ``measured`` others."""
    class_folders(root / "train")
    class_folders(root / "test", measured, start=100)
    return root


def command(*arguments: object, home: Path, fails: int = 0) -> str:
    """Run `python -m finetune` in this process; its output, or (``fails``) its errors."""
    done = CliRunner().invoke(app, [*map(str, arguments), "--home", str(home)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == fails, done.output
    return done.stderr if fails else done.stdout


def process(*arguments: object, home: Path) -> subprocess.Popen[str]:
    """The same as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "finetune", *map(str, arguments), "--home", str(home)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )


def run_folder(home: Path, name: str) -> Path:
    return home / "runs" / name


def events(home: Path, name: str, kind: str = "step") -> list[dict[str, Any]]:
    """The events of a kind in a run's log."""
    lines = (run_folder(home, name) / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == kind]


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
