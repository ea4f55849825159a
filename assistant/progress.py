"""How far a training is and how it ended, read from its run's folder (DESIGN: runs/NAME/).

Knows nothing of processes: whether it still runs, the caller says.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from tools.train import METHODS
from tools.training import Figure, Training

__all__ = ["outcome", "progress", "read_json"]

_SHOWN = 60  # losses


def read_json(path: Path) -> dict[str, Any]:
    """A file's object; empty where there is none. The files of a run appear whole."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}


def progress(
    told: Training, run: Path, state: Literal["queued", "running", "stopping"]
) -> Training:
    """``told`` with how far it is.

    With few pictures several models are trained, each measured on what it has not seen, and then
    the one that is kept (fold 0): equal parts of the whole.
    """
    steps = _steps(run / "events.jsonl")
    if not steps:
        return replace(told, state=state)
    plan = read_json(run / "data.json")["plan"]
    parts = 1 if plan["folds"] == [plan["final"]] else len(plan["folds"]) + 1
    last = steps[-1]
    part = parts - 1 if last["fold"] == 0 else last["fold"] - 1
    mine = [s for s in steps if s["fold"] == last["fold"]]
    done = last["step"] / last["steps"]
    left = None
    if len(mine) > 1 and last["step"] > mine[0]["step"]:
        passed = _time(last) - _time(mine[0])
        pace = passed / (last["step"] - mine[0]["step"])
        left = pace * last["steps"] * (parts - part - done)
    losses = [float(s["loss"]) for s in mine]
    stride = -(-len(losses) // _SHOWN)
    return replace(
        told,
        state=state,
        progress=(part + done) / parts,
        losses=tuple(losses[::-1][::stride][::-1]),
        seconds_left=left,
    )


def outcome(told: Training, run: Path, said: Sequence[str], *, stopped: bool) -> Training:
    """``told`` with how it ended; ``said``: the lines of its process."""
    metadata, results = read_json(run / "training_metadata.json"), read_json(run / "results.json")
    status = metadata.get("status")
    if status == "finished" and results:
        return _finished(told, run, results)
    resumable = (run / "checkpoints").is_dir()
    if stopped or status == "stopped":
        return replace(told, state="cancelled", resumable=resumable)
    problem = metadata.get("error") or "its process was ended from outside."
    if not metadata and len(said) > 1:
        problem = said[-1]
    return replace(told, state="failed", problem=str(problem), resumable=resumable)


def _finished(told: Training, run: Path, results: Mapping[str, Any]) -> Training:
    measured = {name: each[results["figure"]] for name, each in results["figures"].items()}
    figures: list[Figure] = []
    names: tuple[Literal["trained", "base", "exemplars"], ...] = ("trained", "base", "exemplars")
    for name in names:
        if name in measured:
            value, low, high, n = (measured[name][key] for key in ("value", "low", "high", "n"))
            figures.append(Figure(name, value, low, high, int(n)))
    better = bool(results["worth_using"]) and "exemplars" in results["gains"]
    return replace(
        told,
        state="finished",
        progress=1.0,
        losses=progress(told, run, "running").losses,
        verdict=str(results["verdict"]),
        figures=tuple(figures),
        offered=better and results["method"] in METHODS,
    )


def _steps(path: Path) -> list[dict[str, Any]]:
    """The events of steps; a line that is being written is left out."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except FileNotFoundError:
        return []
    events = [json.loads(line) for line in lines if line.endswith("\n") and line.strip()]
    return [event for event in events if event["event"] == "step"]


def _time(event: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()
