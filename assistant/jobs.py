"""Trainings in the background: `python -m finetune` on what a workspace was taught.

A job is three things in the folder of runs, and nothing is kept here: ``NAME.json`` (what was
ordered), ``NAME.log`` (what the process says, locked for as long as it lives, whoever started it)
and ``NAME/`` (the run itself, which is the truth about it). So a job outlives the assistant and is
found again by the next one. Knows nothing of tools or conversations. POSIX only.
"""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

from assistant.detached import BEGUN
from assistant.progress import outcome, progress, read_json
from tools.config import Config, ModelChoice
from tools.errors import ToolError, TrainingFailed
from tools.models import Models
from tools.shelf import read_manifest
from tools.training import Training
from tools.whole import whole_file
from tools.wording import join

__all__ = ["TrainingJobs"]

_ROOT = Path(__file__).parents[1]
_POCKET = "pocket:"
_MANY = 50  # pictures of a label from which training is many-shot
_ENOUGH = 300  # pictures below which a tenth of them shows nothing: all are measured, in turn
_MOST_WAITING = 8
_PATIENCE = 20.0  # seconds in which a process that was asked to stop may save what it has
_POLL = 0.1


class TrainingJobs:
    """Implements :class:`tools.desk.Jobs`."""

    def __init__(self, config: Config, models: Models, settings: Path | None = None) -> None:
        """``settings``: a YAML file of `python -m finetune` over the strategy."""
        self._config = config
        self._models = models
        self._settings = settings
        self._runs = config.home / "runs"

    def start(self, workspace: str, labels: Mapping[str, int], method: str | None) -> Training:
        """Start or queue a training; raises :class:`ToolError` while one goes on."""
        self._check_method(method)
        self._runs.mkdir(parents=True, exist_ok=True)
        with _alone(self._runs / ".starting"):
            now = self.status(workspace)
            if now is not None and now.goes_on:
                raise ToolError(
                    f"A training on {join(now.labels)} is not over yet: say “stop the training” "
                    "first, or ask how it is going."
                )
            waiting = sum(_held(path) for path in self._runs.glob("*.log"))
            if waiting >= _MOST_WAITING:
                raise ToolError(f"{waiting} trainings wait here already: try again later.")
            name = self._free_name(workspace)
            order = {
                "workspace": workspace,
                "labels": list(labels),
                "pictures": sum(labels.values()),
                "stopped": False,
            }
            _write(self._order(name), order)
            try:
                self._spawn(name, self._command(name, workspace, labels, method))
            except OSError:
                self._order(name).unlink()
                raise
        found = self.status(workspace)
        assert found is not None
        return found

    def status(self, workspace: str) -> Training | None:
        """The last training of a workspace, as its files tell."""
        name = self._last(workspace)
        return None if name is None else self._told(name)

    def cancel(self, workspace: str, stop: Event) -> Training | None:
        """Ask the process to save and end; end it when it takes too long."""
        name = self._last(workspace)
        if name is None:
            return None
        _write(self._order(name), {**read_json(self._order(name)), "stopped": True})
        pid = self._pid(name)
        if pid is not None:
            for number in (signal.SIGTERM, signal.SIGKILL):
                self._signal(name, pid, number)
                until = time.monotonic() + _PATIENCE
                while self._lives(name) and time.monotonic() < until and not stop.wait(_POLL):
                    pass
                if stop.is_set():  # nobody waits any more: it may take its time to save
                    break
        return self._told(name)

    def publish(self, run: str) -> None:
        """Put a run's result on the shelf, if it is not there yet."""
        try:
            if read_manifest(self._config.home / "adapters" / run)["run"] == run:
                return
        except TrainingFailed:
            pass  # not there, or damaged: it is put there anew
        command = [sys.executable, "-m", "finetune", "publish", run, "--replace"]
        done = subprocess.run(
            [*command, "--home", str(self._config.home)],
            capture_output=True,
            text=True,
            env=self._environment(),
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode:
            raise ToolError(_last_line(done.stderr) or f"{run} could not be put on the shelf.")

    # --- a process ------------------------------------------------------------------------------

    def _check_method(self, method: str | None) -> None:
        """An adapter fits only weights of the precision that it was trained on."""
        if method is None or (method == "qlora") == self._models.choice("answerer").quantize:
            return
        if method == "qlora":
            raise ToolError(
                "What qlora trains fits an answerer in 4 bits, and the one that runs is not: say "
                "“train with lora”, or start Imprint with --quantize."
            )
        raise ToolError(
            f"The answerer that runs is in 4 bits, and what {method} trains would not fit it: say "
            "“train with qlora”."
        )

    def _command(
        self, name: str, workspace: str, labels: Mapping[str, int], method: str | None
    ) -> list[str]:
        answerer, embedder = self._models.choice("answerer"), self._models.choice("embedder")
        if answerer.quantize and method is None:
            method = "qlora"
        kind = "llava" if answerer.quantize else "small"
        kind = "pocket" if answerer.source.startswith(_POCKET) else kind
        many = sum(labels.values()) >= _MANY * len(labels)
        shots = "many-shot" if many else "few-shot"
        command = [sys.executable, "-m", "finetune", shots, f"memory:{workspace}"]
        command += ["--strategy", f"{kind}-{shots}", "--name", name]
        command += ["--model", _anywhere(answerer), "--embedder", _anywhere(embedder)]
        command += ["--home", str(self._config.home)]
        command += ["--set", f"data.only={json.dumps(list(labels), ensure_ascii=False)}"]
        if self._settings is not None:
            command += ["--config", str(self._settings.expanduser().resolve())]
        elif sum(labels.values()) < _ENOUGH:
            command += ["--set", "data.evaluation=folds", "--set", "data.folds=3"]
        return command + (["--method", method] if method is not None else [])

    def _spawn(self, name: str, command: list[str]) -> None:
        detached = [sys.executable, "-m", "assistant.detached", str(self._runs / ".turn")]
        with self._log(name).open("xb") as log:
            # The lock is the open file's: who writes to it holds it, until the last one has ended.
            fcntl.flock(log, fcntl.LOCK_EX)
            subprocess.run(
                [*detached, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
                cwd=_ROOT,
                check=True,
            )

    def _said(self, name: str) -> list[str]:
        """What the process of a job has said, line by line."""
        try:
            return self._log(name).read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return []

    def _environment(self) -> dict[str, str]:
        # The conversation keeps a core; a pocket model is slower on two threads than on one
        # (tools.models.hardware.choose_threads).
        pocket = self._models.choice("answerer").source.startswith(_POCKET)
        threads = 1 if pocket else max(1, (os.cpu_count() or 1) - 1)
        url = self._config.database_url
        more = {"IMPRINT_DATABASE_URL": url.get_secret_value()} if url is not None else {}
        home = {"IMPRINT_HOME": str(self._config.home)}
        return {"OMP_NUM_THREADS": str(threads), **os.environ, **home, **more}

    def _pid(self, name: str) -> int | None:
        """The process of a job, while it lives."""
        if _held(self._log(name)):
            first = self._said(name)[:1]
            return int(first[0]) if first and first[0].isdigit() else None
        found = read_json(self._runs / name / "training_metadata.json").get("pid")
        return int(found) if found and self._lives(name) else None

    def _signal(self, name: str, pid: int, number: int) -> None:
        # While a lock is held the number is that of the process which holds it.
        if self._lives(name):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                return

    def _lives(self, name: str) -> bool:
        """Whether the job's process does, or that of somebody who went on with its run."""
        return _held(self._log(name)) or _held(self._runs / name / ".lock")

    # --- its files ------------------------------------------------------------------------------

    def _told(self, name: str) -> Training | None:
        order, run = read_json(self._order(name)), self._runs / name
        lives = self._lives(name)  # before its files are read: then they are final
        said = self._said(name)
        if not lives and not run.is_dir() and any(f"run {name} in " in line for line in said):
            return None  # it was deleted since
        told = Training(name, "running", tuple(order["labels"]), int(order["pictures"]))
        if not lives:
            return outcome(told, run, said, stopped=bool(order["stopped"]))
        if order["stopped"]:
            return progress(told, run, "stopping")
        waits = BEGUN not in said and not run.is_dir()
        return progress(told, run, "queued" if waits else "running")

    def _last(self, workspace: str) -> str | None:
        numbers = self._numbers(workspace, r"\.json")
        return f"{workspace}.{max(numbers)}" if numbers else None

    def _free_name(self, workspace: str) -> str:
        return f"{workspace}.{max(self._numbers(workspace, ''), default=0) + 1}"

    def _numbers(self, workspace: str, ending: str) -> list[int]:
        """The numbers of the workspace's jobs; ``.`` is in no workspace's name."""
        form = re.compile(rf"{re.escape(workspace)}\.(\d+){ending or '.*'}")
        names = [path.name for path in self._runs.glob(f"{workspace}.*")]
        return [int(found[1]) for found in map(form.fullmatch, names) if found]

    def _order(self, name: str) -> Path:
        return self._runs / f"{name}.json"

    def _log(self, name: str) -> Path:
        return self._runs / f"{name}.log"


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Nobody else is inside, in this process or another one."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _held(path: Path) -> bool:
    """Whether a process holds the lock of a file."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True


def _anywhere(choice: ModelChoice) -> str:
    """The source of a model for a process that runs in another folder."""
    parts = [part.source for part in choice.parts]
    return "+".join(str(Path(p).resolve()) if Path(p).is_dir() else p for p in parts)


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with whole_file(path, durable=True) as temporary:
        temporary.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
