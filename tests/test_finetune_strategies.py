"""Strategies: every one is whole, reaches what it should, and says truly what it takes."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn
from typer.testing import CliRunner

from finetune.cli import app
from finetune.methods import Adapted, adapt
from finetune.planning.machine import Machine, look_at_machine
from finetune.planning.recommend import open_strategies, recommend
from finetune.settings.files import strategies
from finetune.settings.schema import Settings
from tests.real_shapes import CONFIGS, new_skeleton, parts_of, skeleton, taken_by
from tools.models.quantizing import _all_but_language

KNOWN = open_strategies()
HUB = {name: s for name, s in KNOWN.items() if s.base_model in CONFIGS}
VLMS = {name: s for name, s in HUB.items() if s.role == "answerer" and not s.uses_embedder}
LAPTOP = Machine("", 0, 0, 16, 12, 8, "float32", "float32: …", 0.3)
WORKSTATION = Machine("GPU", 24, 23, 64, 50, 16, "bfloat16", "bfloat16: …", 80)


# --- what is in them -----------------------------------------------------------------------------


def test_every_strategy_says_what_it_is_for_and_what_it_takes() -> None:
    for name, settings in KNOWN.items():
        suits = settings.suits
        assert settings.description.endswith("."), name
        assert suits.tasks and suits.memory_gb > 0 and suits.teraflops > 0, name
        assert 0 < suits.examples[0] < suits.examples[1], name
        assert not settings.needs_gpu_gb or suits.memory_gb < settings.needs_gpu_gb, name
        assert settings.base_model.startswith("pocket:") or settings.base_model in CONFIGS, name
        assert strategies()[name].read_text(encoding="utf-8").startswith("# "), name


@pytest.mark.parametrize("name", sorted(HUB))
def test_what_a_strategy_says_it_takes_follows_from_its_models_shape(
    name: str, tmp_path: Path
) -> None:
    settings = HUB[name]
    takes = taken_by(settings, tmp_path)
    assert settings.suits.memory_gb == pytest.approx(takes.memory_gb, rel=0.15)
    assert settings.suits.download_gb == pytest.approx(takes.download_gb, rel=0.1)
    assert settings.suits.teraflops == pytest.approx(takes.teraflops, rel=0.1)


# --- what they reach ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "millions"),
    [
        ("llava-hf/llava-1.5-7b-hf", 7063.4),
        ("HuggingFaceTB/SmolVLM-256M-Instruct", 256.5),
        ("HuggingFaceTB/SmolVLM-500M-Instruct", 507.5),
        ("HuggingFaceTB/SmolVLM-Instruct", 2246.3),
        ("Qwen/Qwen2-VL-2B-Instruct", 2209.0),
        ("Qwen/Qwen2.5-VL-3B-Instruct", 3754.6),
        ("Qwen/Qwen2.5-VL-7B-Instruct", 8292.2),
        ("google/paligemma-3b-mix-224", 2923.5),
        ("LiquidAI/LFM2-VL-450M", 450.8),
        ("HuggingFaceM4/idefics2-8b", 8402.8),
        ("Salesforce/blip2-opt-2.7b", 3744.8),
    ],
)
def test_the_shapes_are_those_of_the_models(source: str, millions: float) -> None:
    """As the Hub counts their parameters."""
    assert sum(p.numel() for p in skeleton(source).parameters()) / 1e6 == pytest.approx(
        millions, abs=0.05
    )


@pytest.mark.parametrize("name", sorted(VLMS))
def test_lora_reaches_every_layer_of_the_language_model_and_no_other(name: str) -> None:
    settings = VLMS[name].model_copy(update={"method": "lora"})
    adapted = _adapted(settings)
    reached = {n.partition(".lora_")[0] for n, _ in adapted.trained() if ".lora_" in n}
    linear = {
        n
        for n, part in _fresh(settings).named_modules()
        if isinstance(part, nn.Linear) and re.search(r"(language|text)_model", n)
    }
    assert {n.removeprefix("base_model.model.") for n in reached} == linear
    parts = {share.part: share for share in adapted.shares()}
    assert parts["vision tower"].trained == 0
    assert set(parts) == {"vision tower", "projector", "language model"}
    projector = settings.lora.projector_lr is not None
    assert parts["projector"].trained == (parts["projector"].all if projector else 0)


@pytest.mark.parametrize("name", sorted(VLMS))
def test_the_projector_alone_can_train(name: str) -> None:
    adapted = _adapted(VLMS[name].model_copy(update={"method": "projector"}))
    trained = {share.part for share in adapted.shares() if share.trained}
    assert trained == {"projector"}


@pytest.mark.parametrize("name", sorted(VLMS))
def test_in_four_bits_only_the_language_model_is(name: str) -> None:
    kept = _all_but_language(skeleton(VLMS[name].base_model))
    assert not [n for n in kept if n.endswith(("language_model", "text_model"))]
    assert any(re.search("vision|visual", n) for n in kept) and "lm_head" in kept


def test_blip2s_projector_is_told_from_its_tower_and_its_language_model() -> None:
    parts = parts_of(skeleton("Salesforce/blip2-opt-2.7b"))
    assert set(parts) == {"vision tower", "projector", "language model"}
    assert parts["projector"] / 1e6 == pytest.approx(107.1, abs=0.1)


# --- which of them --------------------------------------------------------------------------------


def test_a_laptop_is_not_told_to_train_what_needs_a_gpu() -> None:
    found = recommend(KNOWN, LAPTOP, task="classify", examples=20, classes=5, minutes=60)
    fitting = [one.fits for one in found]
    assert fitting == sorted(fitting, reverse=True) and {True, False} == set(fitting)
    for one in found:
        needs = KNOWN[one.name].needs_gpu_gb
        assert one.fits == (not needs)
        if needs:
            assert one.reasons[0] == (
                f"does not fit: it needs a GPU of {needs:g} GB, and there is none"
            )
    best = found[0]
    assert best.in_range and best.in_time and best.minutes <= 60


def test_a_gpu_gets_the_largest_model_that_is_done_in_time() -> None:
    found = recommend(KNOWN, WORKSTATION, task="answer", examples=60, classes=1, minutes=600)
    assert all(one.fits for one in found)
    work = [KNOWN[one.name].suits.teraflops for one in found if one.in_range and one.in_time]
    assert work == sorted(work, reverse=True) and work[0] > 5
    hurried = recommend(KNOWN, WORKSTATION, task="answer", examples=60, classes=1, minutes=1)
    assert hurried[0].minutes <= 1 and hurried[0].name != found[0].name


def test_one_picture_of_each_class_is_for_no_training() -> None:
    found = recommend(KNOWN, LAPTOP, task="classify", examples=1, classes=5, minutes=60)
    assert found[0].name == "clip-one-shot"
    assert "for 2 to 50 pictures of each class: 1 are too few" in [
        r for one in found for r in one.reasons
    ]


def test_little_free_memory_is_told_with_the_numbers() -> None:
    tight = Machine("", 0, 0, 4, 1.5, 2, "float32", "float32: …", 0.1)
    found = recommend(KNOWN, tight, task="classify", examples=20, classes=2, minutes=60)
    small = next(one for one in found if one.name == "small-few-shot")
    assert small.reasons[0].startswith("does not fit: it takes about 3.")
    assert small.reasons[0].endswith("GB, and 1.5 GB of memory are free")
    assert found[0].name.startswith("pocket")


def test_twice_the_pictures_take_twice_the_time() -> None:
    def minutes(examples: int) -> float:
        found = recommend(KNOWN, LAPTOP, task="answer", examples=examples, classes=3, minutes=60)
        return next(one.minutes for one in found if one.name == "smolvlm-256m")

    assert minutes(40) == pytest.approx(2 * minutes(20), rel=0.01)


def test_this_machine_says_what_it_has() -> None:
    machine = look_at_machine()
    assert 0 < machine.memory_free_gb <= machine.memory_gb
    assert machine.cores >= 1 and machine.teraflops > 0
    assert machine.dtype in machine.reason and machine.dtype in machine.words


# --- the command line -----------------------------------------------------------------------------


def test_list_show_and_recommend() -> None:
    listed = json.loads(_run("list", "--json"))
    assert set(listed) == set(strategies())
    assert listed["llava-few-shot"]["needs_gpu_gb"] == 12
    shown = _run("show", "custom-many-shot")
    assert shown.strip() == strategies()["custom-many-shot"].read_text(encoding="utf-8").strip()
    found = json.loads(_run("recommend", "--examples", 20, "--task", "answer", "--json"))
    assert found["machine"]["cores"] >= 1
    assert {"name", "fits", "reasons", "minutes"} <= set(found["strategies"][0])
    words = _run("recommend", "--examples", 3, "--classes", 4)
    assert words.startswith("This machine: ") and " 1. " in words
    assert "There is no strategy 'x': there is blip-2, blip-captions" in _run("show", "x", fails=2)
    said = _run("recommend", "--examples", 3, "--task", "sing", fails=2)
    assert "--task sing: choose one of classify, answer, caption, boxes" in said


def _run(*arguments: object, fails: int = 0) -> str:
    done = CliRunner().invoke(app, ["strategies", *map(str, arguments)])
    assert done.exit_code == fails, done.output
    return done.stderr if fails else done.stdout


def _fresh(settings: Settings) -> nn.Module:
    model: nn.Module = new_skeleton(settings.base_model)
    return model


def _adapted(settings: Settings) -> Adapted:
    base: Any = SimpleNamespace(model=_fresh(settings))
    return adapt(base, settings)
