"""Several processes train as one does: started for real on the CPU, stopped, killed, resumed."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from accelerate.commands.config import load_config_from_file

from finetune.data import Fold, Plan, Report, Table
from finetune.distributed.team import shared_learner
from finetune.settings.schema import Settings
from tests.finetune_data import command, events, process, read, run_folder, split_folders
from tests.tiny_models import built
from tools.errors import SettingsError

CONFIGURATIONS = Path(__file__).parents[1] / "finetune" / "accelerate"
SHORT = (
    "--lr",
    0.003,
    "--epochs",
    3,
    "--batch",
    2,
    "--accumulation",
    1,
    "--set",
    "augmentation={}",
)
ALONE = (*SHORT[:-3], 2, *SHORT[-2:])  # the same pictures a step


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 pictures of each of two classes to train on, 2 others to measure with."""
    return split_folders(tmp_path_factory.mktemp("data"), measured=2)


def losses(home: Path, name: str) -> list[float]:
    return [event["loss"] for event in events(home, name)]


def started(*arguments: object, home: Path, name: str) -> subprocess.Popen[str]:
    """Two processes, which have made their first steps."""
    launched = process("launch", "cpu", *arguments, home=home)
    log = run_folder(home, name) / "events.jsonl"
    deadline = time.monotonic() + 300
    while not log.exists() or log.read_text().count('"event": "step"') < 2:
        assert launched.poll() is None and time.monotonic() < deadline, launched.stderr
        time.sleep(0.005)
    return launched


def ranks(launcher: int) -> dict[str, int]:
    """The process ids of a launcher's processes, by their number in the run."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = re.search(r"\) \w (\d+)", (folder / "stat").read_text())
            if parent and int(parent[1]) == launcher:
                environment = (folder / "environ").read_text().split("\0")
                found[dict(e.split("=", 1) for e in environment if "=" in e)["RANK"]] = int(
                    folder.name
                )
        except (OSError, KeyError):
            continue
    return found


def test_stopped_and_resumed_two_processes_learn_what_one_does(
    source: Path, tmp_path: Path
) -> None:
    """The same global batches in the same order: the losses agree to four digits."""
    start = ("few-shot", source, "--model", built("llava"), "--name", "two")
    two = started(*start, *SHORT, home=tmp_path, name="two")
    two.send_signal(signal.SIGINT)
    _, errors = two.communicate(timeout=300)
    folder = run_folder(tmp_path, "two")
    assert two.returncode == 130, errors
    assert errors.count("runs resume two") == 1 and "Traceback" not in errors
    assert "2 (batch) x 1 (accumulation) x 2 (processes) = 4" in errors
    assert [p.name for p in (tmp_path / "runs").iterdir()] == ["two"]
    assert read(folder / "training_metadata.json")["status"] == "stopped"
    done = losses(tmp_path, "two")
    assert 2 <= len(done) < 12
    assert (folder / f"checkpoints/fold-0/checkpoint-{len(done)}").is_dir()
    assert "begun by 2 processes" in command("runs", "resume", "two", home=tmp_path, fails=1)

    resumed = process("launch", "cpu", "runs", "resume", "two", home=tmp_path)
    command(*start[:-1], "one", *ALONE, home=tmp_path)
    said, errors = resumed.communicate(timeout=300)
    assert resumed.returncode == 0, errors
    assert said.count("Report:") == 1
    both = losses(tmp_path, "two")
    assert len(both) == 12 and both[: len(done)] == done
    assert both == pytest.approx(losses(tmp_path, "one"), rel=1e-4)
    figures = [read(run_folder(tmp_path, n) / "results.json")["figures"] for n in ("one", "two")]
    assert figures[0]["trained"]["accuracy"] == figures[1]["trained"]["accuracy"]


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes in /proc")
def test_when_one_process_is_killed_the_run_fails_and_goes_on_later(
    source: Path, tmp_path: Path
) -> None:
    """Also: a linear head learns in two processes what it does in one."""
    head = ("--method", "linear", "--embedder", built("clip"), "--epochs", 40)
    saved = ("--set", "training.save_steps=20", "--set", "training.patience=")
    two = started(
        "few-shot", source, *SHORT, *head, *saved, "--name", "two", home=tmp_path, name="two"
    )
    os.kill(ranks(two.pid)["1"], signal.SIGKILL)
    _, errors = two.communicate(timeout=300)
    assert two.returncode == 1 and "Traceback" not in errors
    assert errors.count("Another process of this run has ended.") == 1
    metadata = read(run_folder(tmp_path, "two") / "training_metadata.json")
    assert metadata["status"] == "failed" and metadata["processes"] == 2
    resumed = process("launch", "cpu", "runs", "resume", "two", home=tmp_path)
    _, errors = resumed.communicate(timeout=300)
    assert resumed.returncode == 0, errors
    command("few-shot", source, *ALONE, *head, *saved, "--name", "one", home=tmp_path)
    assert losses(tmp_path, "two") == pytest.approx(losses(tmp_path, "one"), rel=1e-4, abs=1e-5)


def test_what_fails_in_all_of_them_is_said_once(source: Path, tmp_path: Path) -> None:
    broken = process(
        "launch", "cpu", "few-shot", source, *SHORT, "--model", built("llava"), "--name", "n",
        "--lr", 1e30, "--set", "training.clip=1e30", home=tmp_path,
    )  # fmt: skip
    _, errors = broken.communicate(timeout=300)
    assert broken.returncode == 1, errors
    assert errors.count("The loss is nan at step") == 1 and "Traceback" not in errors
    assert "The loss is nan" in read(run_folder(tmp_path, "n") / "training_metadata.json")["error"]


def test_the_configurations_are_ones_that_accelerate_reads(tmp_path: Path) -> None:
    found = {p.stem: load_config_from_file(str(p)) for p in CONFIGURATIONS.glob("*.yaml")}
    kinds = {name: config.distributed_type.value for name, config in found.items()}
    assert kinds == {
        "cpu": "MULTI_GPU",
        "ddp": "MULTI_GPU",
        "fsdp": "FSDP",
        "zero2": "DEEPSPEED",
        "zero3-offload": "DEEPSPEED",
    }
    assert found["cpu"].use_cpu and not found["ddp"].use_cpu
    assert [found[n].deepspeed_config["zero_stage"] for n in ("zero2", "zero3-offload")] == [2, 3]
    for name, words in (
        ("ddp", "needs as many GPUs"),
        ("zero2", "needs DeepSpeed"),
        ("cup", "give cpu, ddp, fsdp, zero2, zero3-offload"),
    ):
        assert words in command("launch", name, "runs", "list", home=tmp_path, fails=2)


@pytest.mark.parametrize(
    ("engine", "settings", "words"),
    [
        ("fsdp", {"method": "qlora"}, "method: qlora is not trained with fsdp"),
        ("deepspeed", {"method": "linear"}, "method: linear is not trained with deepspeed"),
        ("none", {"method": "linear", "linear": {"unfreeze_layers": 2}}, "linear.unfreeze_layers"),
    ],
)
def test_what_cannot_be_shared_is_refused(
    engine: str, settings: dict[str, object], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv(f"ACCELERATE_USE_{engine.upper()}", "true")
    nothing = Fold((), (), ())
    with pytest.raises(SettingsError, match=words):
        shared_learner(
            Settings.model_validate(settings), Table((), Report()), Plan("", nothing, ())
        )
