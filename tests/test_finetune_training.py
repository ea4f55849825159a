"""Training is real: a tiny model learns two classes through the command line."""

import json
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch

from finetune.data import Row
from finetune.methods import adapt
from finetune.prompts import Prompts
from finetune.settings.files import load_settings, with_assignments
from finetune.settings.schema import Settings
from finetune.training.collate import Collator, RowDataset
from finetune.training.gradients import check_gradients
from finetune.vlm import IGNORED, open_vlm
from tests.finetune_data import (
    TINY,
    class_folders,
    command,
    events,
    picture,
    process,
    read,
    run_folder,
    split_folders,
)
from tests.tiny_models import built
from tools.errors import DataError, SettingsError, TrainingFailed
from tools.images import open_photo

BASE = Settings()


def tiny(**keys: object) -> Settings:
    """Settings of a tiny LLaVA; ``training__lr`` sets training.lr."""
    dotted = {name.replace("__", "."): value for name, value in keys.items()}
    return load_settings(with_assignments({"model": {"answerer": str(built("llava"))}}, dotted))


def row(folder: Path, kind: str = "disc", seed: int = 0, **fields: str) -> Row:
    path = folder / f"{kind}-{seed}.png"
    picture(kind, seed).save(path)
    return Row(path, photo_id=open_photo(path).id, **(fields or {"label": kind}))  # type: ignore[arg-type]


def losses(home: Path, name: str) -> list[float]:
    return [e["loss"] for e in events(home, name)]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 pictures of each of two classes to train on, 6 others to measure with."""
    return split_folders(tmp_path_factory.mktemp("data"), measured=6)


@pytest.fixture(scope="module")
def home(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the finished run ``two``, published."""
    home = tmp_path_factory.mktemp("home")
    said = command(
        "few-shot", source, "--model", built("llava"), "--name", "two", "--epochs", 20,
        "--publish", "--json", *TINY, home=home,
    )  # fmt: skip
    results = json.loads(said)
    assert results["figures"]["trained"]["generated_accuracy"]["value"] == 1.0
    assert results["figures"]["base"]["generated_accuracy"]["value"] == 0.0
    assert results["figures"]["trained"]["accuracy"]["value"] == 1.0
    return home


def test_a_tiny_model_learns_two_classes_from_eight_pictures_each(home: Path) -> None:
    folder = run_folder(home, "two")
    results = read(folder / "results.json")
    assert results["pictures"] == {"train": 16, "validation": 0, "measured": 12}
    assert results["gains"]["base"]["gained"] >= 2 and results["gains"]["base"]["lost"] == 0
    assert set(results["figures"]) == {"trained", "base", "exemplars"}
    assert results["verdict"].startswith(("Worth using", "Not worth using", "Not shown"))
    expected = (
        "settings.yaml data.json events.jsonl metrics.json training_curves.png "
        "confusion_matrix.png predictions.csv checkpoints best_model final_model "
        "training_metadata.json results.json README.md"
    )
    assert set(expected.split()) <= {p.name for p in folder.iterdir()}
    assert not list(folder.rglob("*.tmp"))
    steps = events(home, "two")
    assert [e["step"] for e in steps] == list(range(1, 81))
    assert steps[-1]["loss"] < 0.1 < 3 < steps[0]["loss"]
    assert {"lr", "samples_per_second", "memory_gb", "eta_seconds"} <= set(steps[0])
    predictions = (folder / "predictions.csv").read_text().splitlines()
    assert len(predictions) == 13 and predictions[0].endswith("base model,exemplars")


def test_only_the_answer_and_its_end_are_supervised(tmp_path: Path) -> None:
    for kind, end in (("llava", "</s>"), ("idefics3", "<end_of_utterance>")):
        settings = tiny(model__answerer=str(built(kind)))
        vlm = open_vlm(settings)
        rows = [
            row(tmp_path, "disc"),
            row(tmp_path, "box", 1, question="how many?", answer="two of them"),
        ]
        items = [RowDataset(rows)[i] for i in range(2)]
        batch = Collator(vlm, Prompts(settings.prompt, ["box", "disc"]))(items)
        for number, answer in enumerate(["disc", "two of them"]):
            labels = batch["labels"][number]
            kept = labels[labels != IGNORED]
            assert vlm.tokenizer.decode(kept).strip().removesuffix("\n") == answer + end
            ids = batch["input_ids"][number]
            where = (labels != IGNORED).nonzero().flatten()
            assert torch.equal(ids[where], kept)
            # What stands before is the prompt that the assistant asks with, to the id.
            asked = vlm.prompt(items[number].image(), rows[number].question or "what is this?")
            assert torch.equal(ids[: where[0]], asked["input_ids"][0])
            assert (ids[: where[0]] == vlm.image_token).any()
            assert batch["attention_mask"][number].sum() == where[-1] + 1


@pytest.mark.parametrize(
    ("method", "moves"),
    [
        ("lora", "language model"),
        ("projector", "projector"),
        ("full", "language model"),
    ],
)
def test_what_a_method_trains_moves_and_nothing_else(
    method: str, moves: str, source: Path, tmp_path: Path
) -> None:
    command(
        "train", source, "--strategy", "pocket-few-shot", "--model", built("llava"),
        "--method", method, "--max-steps", 3, "--name", "m", *TINY, home=tmp_path,
    )  # fmt: skip
    shares = read(run_folder(tmp_path, "m") / "training_metadata.json")["model"]["trained"]
    assert [s["part"] for s in shares if s["trained"]] == [moves]
    settings = tiny(method=method)
    vlm = open_vlm(settings)
    before = {n: p.clone() for n, p in vlm.model.named_parameters()}
    adapted = adapt(vlm, settings)
    adapted.load(run_folder(tmp_path, "m") / "final_model")
    now = dict(adapted.base.model.named_parameters())
    moved = {n for n, p in before.items() if not torch.equal(p, now.get(n, p))}
    if method == "lora":
        assert not moved
        matrices = [p for n, p in now.items() if ".lora_B." in n]
        assert len(matrices) == 14 and all(p.any() for p in matrices)
    else:
        assert moved == {n for n, _ in adapted.trained()}
        assert not any("vision_tower" in n for n in moved)
    with adapted.without():
        again = dict(adapted.base.model.named_parameters())
        assert all(torch.equal(p, again[n]) for n, p in before.items() if n in again)


def test_a_model_with_another_layout_trains_too(source: Path, tmp_path: Path) -> None:
    """Idefics3, which SmolVLM is: other names of its towers, another end of turn, tiles."""
    command(
        "few-shot", source, "--model", built("idefics3"), "--name", "i", "--max-steps", 24, *TINY,
        home=tmp_path,
    )  # fmt: skip
    shares = read(run_folder(tmp_path, "i") / "training_metadata.json")["model"]["trained"]
    assert [s["part"] for s in shares if s["trained"]] == ["language model"]
    falling = losses(tmp_path, "i")
    assert falling[-1] < falling[0] / 3


def test_a_pattern_that_reaches_the_vision_tower_is_refused() -> None:
    with pytest.raises(SettingsError, match="reaches the vision tower"):
        settings = tiny(lora__targets=r".*q_proj")
        adapt(open_vlm(settings), settings)
    with pytest.raises(SettingsError, match="fits no layer"):
        settings = tiny(lora__targets=r"nothing_like_it")
        adapt(open_vlm(settings), settings)


def test_in_four_bits_every_lora_matrix_gets_a_gradient(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not made for this platform")
    settings = tiny(method="qlora")
    vlm = open_vlm(settings)
    adapted = adapt(vlm, settings)
    prompts = Prompts(settings.prompt, ["box", "disc"])
    rows = [row(tmp_path, "disc"), row(tmp_path, "box")]
    items = [RowDataset(rows)[i] for i in range(2)]
    batch = Collator(vlm, prompts)(items)
    vlm.answerer.answer(rows[0].photo(), "what is this?")  # what repacks a layer for good
    optimizer = torch.optim.SGD([p for _, p in adapted.trained()], lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        adapted.model.train()
        adapted.model(**batch).loss.backward()
        optimizer.step()
    gradients = {n: p.grad for n, p in adapted.trained() if p.grad is not None}
    assert sum(".lora_B." in n for n in gradients) == 14
    assert all(g.any() for g in gradients.values())
    check_gradients(adapted.model)
    next(p for n, p in adapted.trained() if ".lora_B." in n).grad = None
    with pytest.raises(TrainingFailed, match="1 LoRA layers get no gradient"):
        check_gradients(adapted.model)


def test_qlora_learns_through_the_command_line(source: Path, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not made for this platform")
    results = json.loads(
        command(
            "few-shot",
            source,
            "--model",
            built("llava"),
            "--method",
            "qlora",
            "--json",
            "--epochs",
            20,
            *TINY,
            home=tmp_path,
        )
    )
    assert results["model"]["precision"].startswith("nf4")
    assert results["figures"]["trained"]["generated_accuracy"]["value"] >= 0.9


def test_batches_and_accumulation_are_interchangeable(source: Path, tmp_path: Path) -> None:
    """The same pictures a step, the same losses and so the same gradients."""
    for name, batch, accumulation in (("whole", 4, 1), ("parts", 1, 4)):
        command(
            "few-shot", source, "--model", built("llava"), "--name", name, "--max-steps", 6, *TINY,
            "--batch", batch, "--accumulation", accumulation, "--lr", 0.003, home=tmp_path,
        )  # fmt: skip
    whole, parts = losses(tmp_path, "whole"), losses(tmp_path, "parts")
    assert len(whole) == 6
    assert parts == pytest.approx(whole, rel=1e-3)
    weights = [
        torch.load(run_folder(tmp_path, n) / "checkpoints/fold-0/checkpoint-6/optimizer.pt")
        for n in ("whole", "parts")
    ]
    moments = [[s["exp_avg"] for s in w["state"].values()] for w in weights]
    for a, b in zip(*moments, strict=True):
        assert torch.allclose(a, b, rtol=0.02, atol=2e-4)


CURVE = ("--max-steps", 60, "--set", "training.save_steps=5", "--set", "lora.dropout=0.1")
CHANGED = ("--set", "augmentation.crop=0.2", "--set", "augmentation.noise=0.05")


def test_killed_and_resumed_it_has_the_same_curve(source: Path, tmp_path: Path) -> None:
    """With dropout and augmentation: both go on as if nothing had happened."""
    start = ("few-shot", source, "--model", built("llava"), *TINY, *CURVE, *CHANGED)
    killed = process(*start, "--name", "killed", home=tmp_path)
    log = run_folder(tmp_path, "killed") / "events.jsonl"
    deadline = time.monotonic() + 600
    while not log.exists() or log.read_text().count('"step"') < 24:
        assert killed.poll() is None and time.monotonic() < deadline, killed.stderr
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert "interrupted" in command("runs", "list", home=tmp_path)
    reached = events(tmp_path, "killed")
    assert len(reached) < 60
    whole = process(*start, "--name", "whole", home=tmp_path)
    resumed = process("runs", "resume", "killed", home=tmp_path)
    for one in (whole, resumed):
        _, errors = one.communicate(timeout=600)
        assert one.returncode == 0, errors
    assert len(losses(tmp_path, "killed")) == 60
    # It went on: what was done before the last checkpoint was not done again.
    kept = events(tmp_path, "killed")[: len(reached) // 5 * 5 - 5]
    assert kept and kept == reached[: len(kept)]
    assert losses(tmp_path, "killed") == pytest.approx(losses(tmp_path, "whole"), rel=1e-4)
    outcomes = [read(run_folder(tmp_path, n) / "results.json") for n in ("killed", "whole")]
    assert (
        outcomes[0]["figures"]["trained"]["accuracy"]
        == (outcomes[1]["figures"]["trained"]["accuracy"])
    )


def test_resumed_between_two_epochs_it_has_the_same_curve(tmp_path: Path) -> None:
    """There it is validated, which must not shift what dropout draws."""
    for start, part in enumerate(("train", "val", "test")):
        class_folders(tmp_path / "data" / part, start=100 * start)
    command(
        "few-shot", tmp_path / "data", "--model", built("llava"), "--name", "whole", *TINY,
        "--max-steps", 24, "--set", "training.save_steps=4", "--set", "lora.dropout=0.3", *CHANGED,
        home=tmp_path,
    )  # fmt: skip
    whole = losses(tmp_path, "whole")
    folder = run_folder(tmp_path, "whole")
    ends = [e["step"] for e in events(tmp_path, "whole", "epoch")]
    assert 20 in ends, "a checkpoint between two epochs"
    for name in ("checkpoints/fold-0/checkpoint-24", "final_model", "best_model"):
        shutil.rmtree(folder / name)
    for name in ("results.json", "evaluation/test.json"):
        (folder / name).unlink(missing_ok=True)
    command("runs", "resume", "whole", home=tmp_path)
    assert losses(tmp_path, "whole") == pytest.approx(whole, rel=1e-5)


def test_ctrl_c_saves_and_stops(source: Path, tmp_path: Path) -> None:
    run = process(
        "few-shot", source, "--model", built("llava"), "--name", "s", *TINY, "--epochs", 2000,
        home=tmp_path,
    )  # fmt: skip
    log = run_folder(tmp_path, "s") / "events.jsonl"
    deadline = time.monotonic() + 600
    while not log.exists() or '"step"' not in log.read_text():
        assert run.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    for what in (("resume",), ("delete", "--yes")):
        said = command("runs", what[0], "s", *what[1:], home=tmp_path, fails=1)
        assert f"is running (process {run.pid})" in said
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=600)
    assert run.returncode == 130, errors
    assert "runs resume s" in errors and "Traceback" not in errors
    assert read(run_folder(tmp_path, "s") / "training_metadata.json")["status"] == "stopped"
    done = len(losses(tmp_path, "s"))
    assert (run_folder(tmp_path, "s") / f"checkpoints/fold-0/checkpoint-{done}").is_dir()
    assert not (run_folder(tmp_path, "s") / "final_model").exists()


def test_a_loss_that_is_not_a_number_stops_the_run(source: Path, tmp_path: Path) -> None:
    said = command(
        "few-shot", source, "--model", built("llava"), "--name", "n", *TINY, "--lr", 1e30,
        "--set", "training.clip=1e30", "--publish", home=tmp_path, fails=1,
    )  # fmt: skip
    assert "The loss is nan at step" in said and "lower training.lr" in said
    assert "failed" in command("runs", "list", home=tmp_path)
    assert not (tmp_path / "adapters").exists()


def test_rows_too_long_or_without_an_answer_are_refused(source: Path, tmp_path: Path) -> None:
    said = command(
        "few-shot", source, "--model", built("llava"), *TINY, "--max-length", 24, home=tmp_path,
        fails=1,
    )  # fmt: skip
    assert "cutting it would cut the picture or the answer" in said and "24 fit" in said
    unsaid = class_folders(tmp_path / "in", each=4, kinds=("disc", "<image>"))
    said = command(
        "few-shot", unsaid, "--model", built("llava"), *TINY, "--publish", home=tmp_path, fails=1
    )
    assert "all its labels would be masked" in said and "Traceback" not in said
    assert not (tmp_path / "adapters").exists()
    settings = tiny()
    vlm = open_vlm(settings)
    masked = row(tmp_path, "disc", question="what?", answer="<image></s>")
    with pytest.raises(DataError, match="is left to learn"):
        Collator(vlm, Prompts(settings.prompt, []))([RowDataset([masked])[0]])
