"""What follows a training: measuring, predicting, the shelf; and everything that can go wrong."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel
from typer.testing import CliRunner

from finetune.cli import app
from finetune.pipeline import make_learner
from finetune.runs import open_run
from finetune.shelf import list_adapters, read_manifest
from tests.finetune_data import (
    ROOT,
    TINY,
    class_folders,
    command,
    events,
    picture,
    read,
    run_folder,
)
from tests.tiny_models import built, photo
from tools.config import ModelChoice
from tools.errors import TrainingFailed
from tools.images import open_photo
from tools.models.hardware import choose_hardware
from tools.models.loading import load_model
from tools.models.sources import locate

MODEL = ("--model", built("llava"))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return class_folders(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def home(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the finished run ``two``, measured by two folds, published."""
    home = tmp_path_factory.mktemp("home")
    command(
        "few-shot", source, *MODEL, "--name", "two", "--epochs", 25, "--publish", *TINY,
        "--set", "data.folds=2", home=home,
    )  # fmt: skip
    return home


def test_few_pictures_are_measured_by_models_that_have_not_seen_them(home: Path) -> None:
    results = read(run_folder(home, "two") / "results.json")
    assert results["measured_on"] == "2-fold cross-validation"
    assert results["figures"]["trained"]["n"] == 16
    assert results["figures"]["trained"]["generated_accuracy"]["value"] >= 0.8
    steps = events(home, "two")
    assert {fold: sum(e["fold"] == fold for e in steps) for fold in (0, 1, 2)} == {
        0: 100,
        1: 50,
        2: 50,
    }
    assert "2-fold cross-validation" in (run_folder(home, "two") / "README.md").read_text()


def test_the_shelf_has_the_adapter_with_its_manifest(home: Path) -> None:
    shelf = home / "adapters"
    assert list_adapters(shelf) == ["two"] and not (shelf / "active.json").exists()
    manifest = read_manifest(shelf / "two")
    assert manifest["classes"] == ["box", "disc"] and manifest["question"] == "what is this?"
    assert manifest["base_model"] == str(built("llava")) and manifest["precision"] == "float32"
    assert len(manifest["data"]["train"]) == 16 and "peft" in manifest["versions"]
    assert set(manifest["metrics"]) == {"trained", "base", "exemplars"}
    assert {"adapter_model.safetensors", "calibration.json", "README.md"} <= set(manifest["files"])
    taken = command("publish", "two", home=home, fails=1)
    assert "is an adapter two on the shelf already" in taken
    assert "(in use)" in command(
        "publish", "two", "--as", "three", "--activate", "--anyway", home=home
    )
    assert read(shelf / "active.json")["answerer"] == "three"
    command("publish", "two", "--replace", home=home)
    assert list_adapters(shelf) == ["three", "two"]
    weights = shelf / "three" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(TrainingFailed, match=r"damaged: adapter_model\.safetensors"):
        read_manifest(shelf / "three")
    assert not list(shelf.glob(".*"))


def test_the_adapter_says_in_the_assistants_answerer_what_it_said_in_training(home: Path) -> None:
    run = open_run(home / "runs", "two")
    learner = make_learner(run.settings, *run.data())
    learner.load(home / "adapters" / "two")
    answerer = learner.vlm.answerer  # type: ignore[attr-defined]
    said = [answerer.answer(open_photo(picture(k, 77)), "what is this?") for k in ("disc", "box")]
    assert said == ["disc", "box"]


def test_evaluate_compare_and_predict(home: Path, tmp_path: Path) -> None:
    other = class_folders(tmp_path / "more", each=4, start=50)
    found = json.loads(command("evaluate", "two", other, "--json", home=home))
    assert found["trained"]["n"] == 8 and found["trained"]["accuracy"]["value"] >= 0.8
    said = command("compare", "two", other, home=home)
    assert "Before training:" in said and "pictures gained" in said
    one = json.loads(command("predict", "two", other / "disc" / "50.png", home=home))
    assert one[0]["answer"] == "disc" and one[0]["response"] == "disc"
    assert one[0]["probabilities"].keys() == {"box", "disc"}
    assert sum(one[0]["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    (other / "box" / "torn.png").write_bytes(b"no picture")
    out = tmp_path / "out.csv"
    command("predict", "two", other, "--output", out, home=home)
    rows = list(csv.DictReader(out.read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 9 and "torn.png" in rows[-1]["error"] and not rows[-1]["answer"]
    said = command("predict", "two", other, "--output", tmp_path / "a.txt", home=home, fails=2)
    assert "ends in .csv or .json" in said
    class_folders(other, each=2, kinds=("hat",))
    said = command("evaluate", "two", other, home=home, fails=1)
    assert "has hat, which run two was not trained on" in said


def test_runs_are_listed_shown_and_deleted(home: Path, tmp_path: Path) -> None:
    assert "two" in command("runs", "list", home=home)
    shown = json.loads(command("runs", "show", "two", "--json", home=home))
    assert shown["status"] == "finished" and shown["settings"]["method"] == "lora"
    assert shown["last_step"]["step"] == 100
    assert "worth using" in command("runs", "resume", "two", home=home).lower()
    assert "There is no run 'x'" in command("runs", "show", "x", home=home, fails=1)
    for name in ("../two", "/etc", ""):
        assert "There is no run" in command("runs", "delete", name, "--yes", home=home, fails=1)
    command("few-shot", class_folders(tmp_path / "s"), "--method", "prototypes", "--name", "p",
            home=tmp_path)  # fmt: skip
    said = command("runs", "delete", "p", "--yes", "--json", home=tmp_path)
    assert json.loads(said) == {"deleted": "p"}
    assert not run_folder(tmp_path, "p").exists()
    assert "no runs yet" in command_errors("runs", "list", home=tmp_path)


def command_errors(*arguments: str, home: Path) -> str:
    return str(CliRunner().invoke(app, [*arguments, "--home", str(home)]).stderr)


@pytest.mark.parametrize("extra", [[], ["--set", "linear.unfreeze_layers=2"]])
def test_a_linear_head_learns_on_the_embedder(extra: list[str], tmp_path: Path) -> None:
    source = class_folders(tmp_path / "in", each=20)
    results = json.loads(
        command(
            "few-shot", source, "--method", "linear", "--epochs", 4, "--batch", 8, "--name", "l",
            "--set", "augmentation={}", "--json", *extra, "--set", "training.schedule=step",
            "--set", "linear.tower_lr=0.001", home=tmp_path,
        )
    )  # fmt: skip
    assert results["figures"]["trained"]["accuracy"]["value"] == 1.0
    head, tower = results["model"]["trained"]
    assert head["trained"] == 2 * 256 + 2 and bool(tower["trained"]) == bool(extra)
    said = json.loads(command("predict", "l", source / "disc" / "0.png", home=tmp_path))
    assert said[0]["answer"] == "disc" and said[0]["confidence"] > 0.5
    steps = [e["lr"] for e in events(tmp_path, "l")]
    assert steps[-1] == pytest.approx(steps[len(steps) // 2 - 2] / 100)
    if extra:
        located = locate(ModelChoice("pocket:clip"))
        model = load_model(located, AutoModel, choose_hardware().for_vectors())
        before = dict(model.named_parameters())
        after = load_file(run_folder(tmp_path, "l") / "final_model" / "head.safetensors")
        moved = {n for n, p in after.items() if n[:5] == "tower" and not p.equal(before[n[6:]])}
        assert moved and all("vision_model.encoder.layers." in n for n in moved)
        assert {n.split("layers.")[1][0] for n in moved} == {"4", "5"}


def test_prototypes_are_the_exemplars_and_say_so(tmp_path: Path) -> None:
    source = class_folders(tmp_path / "in", each=4)
    said = command("few-shot", source, "--method", "prototypes", "--name", "p", home=tmp_path)
    assert "nothing was trained" in said
    results = read(run_folder(tmp_path, "p") / "results.json")
    assert results["measured_on"] == "leave-one-out"
    assert results["figures"]["trained"]["accuracy"] == results["figures"]["exemplars"]["accuracy"]
    found = json.loads(command("predict", "p", source / "disc" / "0.png", home=tmp_path))
    assert found[0]["answer"] == "disc"


def test_questions_and_answers_are_learned_too(tmp_path: Path) -> None:
    rows = []
    for i in range(20):
        for kind in ("disc", "box"):
            picture(kind, i).save(tmp_path / f"{kind}{i}.png")
            rows.append({"image": f"{kind}{i}.png", "question": "is it a disc?",
                         "answer": "yes" if kind == "disc" else "no"})  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    results = json.loads(
        command(
            "few-shot",
            tmp_path / "rows.jsonl",
            *MODEL,
            "--epochs",
            8,
            *TINY,
            "--json",
            "--name",
            "q",
            home=tmp_path,
        )
    )
    assert results["figure"] == "exact_match" and "exemplars" not in results["figures"]
    assert results["figures"]["trained"]["exact_match"]["value"] == 1.0
    assert "not compared with exemplars" in results["verdict"]
    args = ("predict", "q", tmp_path / "disc0.png")
    asked = json.loads(command(*args, "--question", "is it a disc?", home=tmp_path))
    assert asked[0]["answer"] == "yes"
    assert "give one with --question" in command(*args, home=tmp_path, fails=2)
    said = command("few-shot", tmp_path / "rows.jsonl", "--method", "linear", home=tmp_path,
                   fails=2)  # fmt: skip
    assert "names classes" in said


def test_oneshot_learns_into_the_memory_of_the_chat(tmp_path: Path) -> None:
    for i, name in enumerate(("a", "b", "other")):
        photo(3 * i).image.save(tmp_path / f"{name}.png")
    home = tmp_path / "home"
    assert "zorb: 1 new" in command("oneshot", "learn", "zorb", tmp_path / "a.png", home=home)
    command("oneshot", "learn", "blick", tmp_path / "b.png", home=home)
    found = json.loads(command("oneshot", "classify", tmp_path / "a.png", "--json", home=home))
    assert found["decision"] in ("known", "ambiguous") and found["labels"][0]["label"] == "zorb"
    listed = json.loads(command("oneshot", "list-examples", "--json", home=home))
    assert set(listed) == {"zorb", "blick"} and Path(listed["zorb"][0]).is_file()
    torn = tmp_path / "torn.png"
    torn.write_bytes(b"x")
    assert "is not a picture" in command("oneshot", "classify", torn, home=home, fails=1)


# --- bad input ----------------------------------------------------------------------------------


def test_what_the_machine_lacks_is_said_before_anything_is_made(
    source: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    if not torch.cuda.is_available():
        said = command("few-shot", source, "--strategy", "llava-few-shot", home=home, fails=2)
        assert "need a GPU of 12 GB, and this machine has none" in said
    said = command("few-shot", source, "--model", "llava-hf/llava-1.5-7b-hf", home=home, fails=1)
    assert "is not on this machine: fetch it with `hf download" in said
    said = command("few-shot", source, "--model", built("clip"), home=home, fails=1)
    assert "can't be the answerer" in said
    said = command("few-shot", source, "--model", built("blip-vqa"), home=home, fails=2)
    assert "is a blip model, whose prompts are not trained here" in said
    said = command("few-shot", source, *MODEL, "--name", "../x", home=home, fails=1)
    assert "can't be the name of a run" in said
    assert not (home / "adapters").exists() and not list(home.glob("runs/*"))


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "trackio"])
def test_a_tracker_that_is_not_installed_is_said_before_anything_is_made(
    name: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)  # as where it is not installed
    said = command("few-shot", source, *MODEL, "--report-to", name, home=tmp_path, fails=2)
    assert (
        f"{name} is not installed; install it with `pip install 'imprint-assistant[track]'" in said
    )
    assert not list(tmp_path.glob("runs/*"))
    said = command("few-shot", source, "--report-to", "tensorbord", home=tmp_path, fails=2)
    assert "Input should be 'tensorboard', 'wandb' or 'trackio' (got 'tensorbord')" in said


def test_the_curves_go_to_tensorboard_too(tmp_path: Path) -> None:
    events_of = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    class_folders(tmp_path / "in" / "train")
    class_folders(tmp_path / "in" / "test", each=2, start=100)
    command(
        "few-shot", tmp_path / "in", *MODEL, *TINY, "--max-steps", 5, "--name", "t",
        "--report-to", "tensorboard", home=tmp_path,
    )  # fmt: skip
    (file,) = run_folder(tmp_path, "t").rglob("events.out.tfevents.*")
    written = events_of.EventAccumulator(str(file)).Reload()
    losses = [(e.step, e.value) for e in written.Scalars("train/loss")]
    ours = [(e["step"], e["loss"]) for e in events(tmp_path, "t")]
    assert losses == [(step, pytest.approx(loss, rel=1e-4)) for step, loss in ours]
    assert len(losses) == 5


TRACKER = """
import types
__version__ = "0.0"
config, runs = {}, []
context_vars = types.SimpleNamespace(current_space_id=types.SimpleNamespace(get=lambda: None))
def init(**how):
    print("* Trackio project initialized")
    runs.append(how)
def log(metrics):
    print(metrics)
def finish():
    print("* Run finished")
"""


def test_what_a_tracker_prints_is_not_in_the_json_and_it_knows_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trackio.py").write_text(TRACKER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "trackio", raising=False)
    class_folders(tmp_path / "in" / "train")
    class_folders(tmp_path / "in" / "test", each=2, start=100)
    said = command(
        "few-shot", tmp_path / "in", *MODEL, *TINY, "--max-steps", 2, "--name", "t", "--json",
        "--report-to", "trackio", home=tmp_path,
    )  # fmt: skip
    assert json.loads(said)["run"] == "t"
    (tracked,) = sys.modules["trackio"].runs
    assert (tracked["project"], tracked["name"]) == ("imprint", "t-fold-0")
    assert tracked["space_id"] is None  # nothing leaves the machine
    monkeypatch.delitem(sys.modules, "trackio")


KERNELS = """
import sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "bitsandbytes":
            print("kernels out of reach:", sys.modules.get("kernels", "") is None)
sys.meta_path.insert(0, Watch())
from pathlib import Path
from finetune.data import Fold, Plan, Report, Row, Table
from finetune.pipeline import make_learner
from finetune.settings.schema import Settings
rows = tuple(Row(Path(n), label=n, photo_id=n) for n in "ab")
make_learner(Settings(method="linear"), Table(rows, Report()), Plan("", Fold((), (), ()), ()))
import transformers, peft
from transformers import Trainer
"""


def test_no_native_code_is_fetched_from_the_hub() -> None:
    """bitsandbytes asks for a kernel as it is imported, wherever `kernels` is installed."""
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not made for this platform")
    done = subprocess.run(
        [sys.executable, "-c", KERNELS], capture_output=True, text=True, cwd=ROOT, check=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "kernels out of reach: True"  # looked for, then imported


def test_an_adapter_of_another_base_is_refused(home: Path, tmp_path: Path) -> None:
    run = open_run(home / "runs", "two")
    settings = run.settings
    other = settings.model_copy(
        update={"lora": settings.lora.model_copy(update={"targets": r".*language_model.*\.q_proj"})}
    )
    learner = make_learner(other, *run.data())
    with pytest.raises(TrainingFailed, match="does not fit this base model"):
        learner.load(run.folder / "best_model")


FULL = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
from finetune.cli import main
sys.argv = ["finetune", *sys.argv[2:]]
main()
"""


def limited(limit: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The command line where no file may grow beyond ``limit`` bytes."""
    return subprocess.run(
        [sys.executable, "-c", FULL, str(limit), *map(str, arguments)],
        capture_output=True, text=True, cwd=ROOT, timeout=600,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.mark.parametrize("limit", [9_000, 60_000])
def test_a_full_disk_is_one_sentence_and_nothing_on_the_shelf(
    limit: int, source: Path, tmp_path: Path
) -> None:
    """The log, or the checkpoint, cannot be written."""
    done = limited(
        limit, "few-shot", source, *MODEL, *TINY, "--epochs", 9, "--set", "training.save_steps=5",
        "--name", "f", "--publish", "--home", tmp_path,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "is full, so not everything could be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "adapters").exists()
    assert not list(run_folder(tmp_path, "f").glob("final_model"))


def test_a_disk_that_fills_while_it_publishes_leaves_the_shelf_as_it_was(home: Path) -> None:
    shelf = home / "adapters"
    before = {p: p.read_bytes() for p in shelf.rglob("*") if p.is_file()}
    for arguments in (["--as", "half"], ["--replace", "--activate"]):
        done = limited(9_000, "publish", "two", *arguments, "--home", home)
        assert done.returncode == 1 and "is full" in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
    assert {p: p.read_bytes() for p in shelf.rglob("*") if p.is_file()} == before
    assert not list(shelf.glob(".*")) and "half" not in list_adapters(shelf)


def test_help_is_complete_and_quick() -> None:
    for arguments in ([], ["few-shot"], ["prepare"], ["runs"], ["oneshot"]):
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "finetune", *arguments, "--help"],
            capture_output=True, text=True, cwd=ROOT, check=True,
        )  # fmt: skip
        assert "Usage" in done.stdout
        loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
        assert not loaded & {"torch", "transformers", "numpy", "sklearn", "matplotlib", "peft"}
