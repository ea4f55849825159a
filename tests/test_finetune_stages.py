"""Stages: the projector, then LoRA, through the command line, on a tiny model."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from finetune.settings.files import load_settings, strategies, with_assignments
from finetune.settings.stages import stages_of, whole
from tests.finetune_data import class_folders, command, events, process, read, run_folder
from tests.tiny_models import built
from tools.errors import SettingsError

TWO: dict[str, Any] = {
    "lora": {"rank": 4, "dropout": 0.1},
    "augmentation": {"crop": 0.2},
    "training": {"batch": 4, "save_steps": 5, "lr": 0.01},
    "stages": [
        {"name": "align", "method": "projector", "training": {"max_steps": 12, "lr": 0.005}},
        {"name": "adapt", "method": "lora", "training": {"max_steps": 40}},
    ],
}
ADAPTER = "adapter_model.safetensors"


def settings_file(folder: Path, **changes: Any) -> Path:
    path = folder / "two.yaml"
    values = {"model": {"answerer": str(built("llava"))}, **TWO, **changes}
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    class_folders(root / "train")
    class_folders(root / "val", each=3, start=50)
    class_folders(root / "test", each=5, start=100)
    return root


@pytest.fixture(scope="module")
def home(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the finished run ``two``."""
    home = tmp_path_factory.mktemp("home")
    file = settings_file(home)
    said = command("train", source, "--config", file, "--name", "two", "--json", home=home)
    results = json.loads(said)
    assert results["method"] == "lora"
    assert results["model"]["stages"] == ["align (projector)", "adapt (lora)"]
    return home


def parts(weights: dict[str, torch.Tensor]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The weights of an adapter: LoRA's, and the projector's."""
    lora = {n: w for n, w in weights.items() if ".lora_" in n}
    return lora, {n: w for n, w in weights.items() if n not in lora}


def test_each_stage_moves_its_own_weights_from_where_the_one_before_left_them(home: Path) -> None:
    place = run_folder(home, "two") / "checkpoints" / "fold-0"
    aligned, projector = parts(load_file(place / "1-align" / "learned" / ADAPTER))
    assert not any(w.any() for n, w in aligned.items() if ".lora_B." in n)
    base = load_file(built("llava") / "model.safetensors")
    known = {n.partition("multi_modal_projector.")[2]: w for n, w in base.items()}
    assert len(projector) == 4
    for name, weight in projector.items():
        assert not torch.equal(weight, known[name.rpartition("multi_modal_projector.")[2]])
    adapted, same = parts(load_file(run_folder(home, "two") / "final_model" / ADAPTER))
    assert all(w.any() for n, w in adapted.items() if ".lora_B." in n)
    assert all(torch.equal(same[n], w) for n, w in projector.items())


def test_the_log_names_the_stage_and_counts_its_steps(home: Path) -> None:
    steps = events(home, "two")
    assert [(e["stage"], e["step"]) for e in steps] == [
        *(("align", n) for n in range(1, 13)),
        *(("adapt", n) for n in range(1, 41)),
    ]
    # The best of the first, by validation, starts the second; both are judged for themselves.
    assert {e["stage"] for e in events(home, "two", "epoch")} == {"align", "adapt"}
    place = run_folder(home, "two") / "checkpoints" / "fold-0"
    best, learned = (load_file(place / "1-align" / n / ADAPTER) for n in ("best", "learned"))
    assert all(torch.equal(best[n], w) for n, w in learned.items())
    assert (run_folder(home, "two") / "training_curves.png").is_file()


def test_what_is_loaded_again_says_what_was_measured(home: Path, source: Path) -> None:
    folder = run_folder(home, "two")
    results = read(folder / "results.json")
    again = json.loads(command("compare", "two", source, "--json", home=home))
    for name in ("trained", "base"):
        found, before = again[name]["accuracy"], results["figures"][name]["accuracy"]
        assert found == before
    assert results["figures"]["base"]["generated_accuracy"]["value"] == 0.0
    measured = read(folder / "evaluation" / "test.json")
    pictures = sorted({entry["image"] for entry in measured})
    told = json.loads(command("predict", "two", *pictures, home=home))
    sure = {entry["image"]: entry["confidence"] for entry in told}
    for entry in measured:
        assert sure[entry["image"]] == pytest.approx(max(entry["probabilities"]), abs=1e-5)


def test_killed_in_the_second_stage_it_goes_on_there(
    home: Path, source: Path, tmp_path: Path
) -> None:
    file = settings_file(tmp_path)
    killed = process("train", source, "--config", file, "--name", "k", home=tmp_path)
    log = run_folder(tmp_path, "k") / "events.jsonl"
    deadline = time.monotonic() + 300
    while not log.exists() or log.read_text().count('"adapt"') < 14:
        assert killed.poll() is None and time.monotonic() < deadline, killed.stderr
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    reached = [e for e in events(tmp_path, "k") if e["stage"] == "adapt"]
    assert 10 <= len(reached) < 40
    command("runs", "resume", "k", home=tmp_path)
    now, whole_run = events(tmp_path, "k"), events(home, "two")
    # What was done before the last checkpoint, and the first stage, was not done again.
    times = [e["time"] for e in now]
    assert times[12 : 12 + len(reached) // 5 * 5 - 5] == [
        e["time"] for e in reached[: len(reached) // 5 * 5 - 5]
    ]
    assert [e["loss"] for e in now] == pytest.approx([e["loss"] for e in whole_run], rel=1e-4)


def test_stages_without_an_adapter_keep_both_parts(source: Path, tmp_path: Path) -> None:
    stages = [
        {"name": "a", "method": "projector", "training": {"max_steps": 2}},
        {"name": "b", "method": "full", "training": {"max_steps": 2}},
    ]
    file = settings_file(tmp_path, stages=stages)
    command("train", source, "--config", file, "--name", "f", "--json", home=tmp_path)
    final = load_file(run_folder(tmp_path, "f") / "final_model" / "weights.safetensors")
    base = load_file(built("llava") / "model.safetensors")
    projector = {n: w for n, w in final.items() if "projector" in n}
    place = run_folder(tmp_path, "f") / "checkpoints" / "fold-0" / "1-a" / "learned"
    first = load_file(place / "weights.safetensors")
    assert projector and all(torch.equal(w, first[n]) for n, w in projector.items())

    def layers(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Files name the language model in two ways; its layers are called the same."""
        return {n.partition("layers.")[2]: w for n, w in weights.items() if "language" in n}

    before, after = layers(first), layers(base)
    shared = set(before) & set(after) - {""}
    assert len(shared) > 10 and all(torch.equal(before[n], after[n]) for n in shared)
    assert all(not torch.equal(layers(final)[n], before[n]) for n in shared)


def test_problems_of_a_stage_are_told_by_its_name_all_at_once() -> None:
    wrong = {
        "training": {"epochs": 0},
        "stages": [
            {"name": "align", "method": "projector", "training": {"lr": -1, "batchsize": 3}},
            {"name": "align", "data": {"source": "x"}, "lora": {"rank": 2}, "colour": 1},
            {"method": "magic"},
        ],
    }
    with pytest.raises(SettingsError) as raised:
        load_settings(wrong, where="two.yaml")
    said = str(raised.value)
    for part in (
        "two.yaml: training.epochs: Input should be greater than 0",
        "stage align: training.lr: Input should be greater than 0 (got -1)",
        "stage align: unknown key training.batchsize (did you mean training.batch?)",
        "stage align: another stage has this name",
        "stage align: data is the same for all stages; set it outside them",
        "stage align: lora.rank is the same for all stages",
        "stage align: unknown key colour",
        "stage 3: name: give one of a-z",
        "stage 3: method: Input should be",
    ):
        assert part in said
    assert said.count("training.epochs") == 1
    for stages in (3, [4], {"a": 1}):
        with pytest.raises(SettingsError, match="stages"):
            load_settings({"stages": stages})


def test_stages_that_can_not_be_one_model_are_refused() -> None:
    def refused(*methods: str) -> str:
        stages = [{"name": f"s{i}", "method": m} for i, m in enumerate(methods)]
        with pytest.raises(SettingsError) as raised:
            load_settings({"stages": stages})
        return str(raised.value)

    with pytest.raises(SettingsError, match="of the answerer, not of the captioner"):
        load_settings({"role": "captioner", "stages": [{"name": "a", "method": "lora"}]})
    assert "full and lora can't be kept as one model" in refused("full", "lora")
    assert "lora and qlora can't be kept" in refused("lora", "qlora")
    assert "s1 is of method linear, which learns in one go" in refused("lora", "linear")


def test_flags_reach_stages_by_name_and_are_never_lost() -> None:
    changed = load_settings(with_assignments(TWO, {"stages.adapt.training.lr": 0.5}))
    assert [s.settings.training.lr for s in stages_of(changed)] == [0.005, 0.5]
    with pytest.raises(SettingsError, match=r"set stages\.align\.training\.lr"):
        with_assignments(TWO, {"training.lr": 0.5})
    with pytest.raises(SettingsError, match=r"set stages\.align\.method"):
        with_assignments(TWO, {"method": "full"})
    with pytest.raises(SettingsError, match="there is align, adapt"):
        with_assignments(TWO, {"stages.tune.training.lr": 0.5})
    assert with_assignments(TWO, {"training.batch": 2})["training"]["batch"] == 2


def test_what_a_run_folder_keeps_means_the_same_when_it_is_read_again() -> None:
    settings = load_settings(
        {**TWO, "method": "projector", "stages": [{"name": "a"}, *TWO["stages"]]}
    )
    assert settings.method == "lora"
    again = load_settings(yaml.safe_load(settings.yaml()))
    assert again == settings
    assert [s.settings.method for s in stages_of(again)] == ["projector", "projector", "lora"]
    assert whole(again).lora.projector_lr is not None
    assert all(s.settings.lora.projector_lr is None for s in stages_of(again))


def test_the_strategy_has_both_stages() -> None:
    values = yaml.safe_load(strategies()["pocket-align-then-lora"].read_text(encoding="utf-8"))
    first, second = stages_of(load_settings(values))
    assert (first.settings.method, second.settings.method) == ("projector", "lora")
    assert first.settings.training.batch == second.settings.training.batch == 8
