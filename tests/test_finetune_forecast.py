"""The memory forecast: its parts are exact where they can be, and a training that can't fit ends
before anything is loaded. Peaks of whole trainings are measured by `tests.bench.forecast`."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import bitsandbytes as bnb
import pytest
from safetensors.torch import load_file

from finetune.data import Row, gather, make_plan
from finetune.data.boxes import Boxed
from finetune.data.table import DESCRIBE
from finetune.events import EventLog
from finetune.learners.learner import Session
from finetune.methods import adapt
from finetune.pipeline import make_learner
from finetune.planning import forecast as forecasts
from finetune.planning.forecast import check_memory, forecast, parameters_of, planned
from finetune.planning.four_bits import nf4_bytes
from finetune.planning.pairs import _HOLES
from finetune.planning.rehearsal import held_by, passing_bytes
from finetune.settings.files import load_settings, with_assignments
from finetune.settings.schema import Settings
from finetune.training.collate import Shown
from finetune.vlm import open_vlm
from finetune.work import look_at, prepare_run
from tests.box_scenes import write_scenes
from tests.finetune_data import class_folders
from tests.roles_data import captioned
from tests.tiny_models import built
from tools.config import ModelChoice, load_config
from tools.errors import SettingsError
from tools.models.sources import locate

ROWS = [Row(Path("a.png"), "disc", photo_id="a"), Row(Path("b.png"), "box", photo_id="b")] * 8


def tiny(**keys: Any) -> Settings:
    dotted = {name.replace("__", "."): value for name, value in keys.items()}
    return load_settings(with_assignments({"model": {"answerer": str(built("llava"))}}, dotted))


def found(**keys: Any) -> Any:
    return forecast(tiny(**keys), ROWS)


@pytest.mark.parametrize("source", ["pocket:llava", "pocket:blip", "llava"])
def test_the_weights_are_counted_from_the_headers(source: str) -> None:
    located = locate(ModelChoice(source if ":" in source else str(built(source))))
    counted = parameters_of(located)
    loaded = {n: w.numel() for path in located.weights for n, w in load_file(path).items()}
    assert counted == loaded
    if source == "llava":
        assert found().weights == 4 * sum(loaded.values())


@pytest.mark.parametrize("method", ["lora", "projector", "full"])
def test_what_trains_is_counted_as_it_is_when_it_trains(method: str) -> None:
    settings = tiny(method=method, lora__rank=3)
    shares = adapt(open_vlm(settings), settings).shares()
    assert found(method=method, lora__rank=3).trained == sum(s.trained for s in shares)


def test_four_bits_take_what_bitsandbytes_takes() -> None:
    layer = bnb.nn.Linear4bit(256, 512, bias=False, quant_type="nf4", compress_statistics=True)
    layer = layer.to("cpu")
    state = layer.weight.quant_state
    held = [layer.weight, state.absmax, state.code, state.state2.absmax, state.state2.code]
    taken = sum(tensor.numel() * tensor.element_size() for tensor in held)
    assert nf4_bytes(256 * 512) == pytest.approx(taken, abs=64)
    packed = found(method="qlora", speed__dequantise=False)
    plain = found(method="qlora", speed__dequantise=True)
    assert packed.weights < plain.weights == found().weights


def test_a_step_grows_with_the_batch_and_shrinks_with_checkpointing() -> None:
    one, four = found(training__batch=1), found(training__batch=4)
    assert four.step == pytest.approx(4 * one.step, rel=0.1)
    assert found(training__batch=4, training__checkpointing=True).step < 0.8 * four.step
    assert found(training__batch=64).step == found(training__batch=16).step  # there are 16 rows
    everywhere = found(training__batch=4, speed__supervised_only=False)
    assert everywhere.step > four.step


def test_what_is_learned_takes_twelve_bytes_and_four_a_weight() -> None:
    """Adam's two moments and the copy it starts again from; a LoRA's own matrices beside them."""
    lora, full = found(), found(method="full")
    assert lora.learning == 16 * lora.trained
    assert full.learning == 12 * full.trained  # the weights themselves are the model's


def test_what_cannot_fit_is_refused_with_the_numbers() -> None:
    check_memory(found(), tiny())
    large = replace(found(), step=10**16)
    with pytest.raises(SettingsError) as told:
        check_memory(large, tiny())
    said = str(told.value)
    assert said.startswith("This training would take about 10000000.")
    assert "GB are free: lower training.batch" in said
    assert "`--set training.check_memory=false` goes on anyway" in said


def test_it_is_told_before_the_model_is_loaded_and_written_to_the_run(tmp_path: Path) -> None:
    events: list[Any] = []
    source = class_folders(tmp_path / "in", 4)
    settings = tiny(data__source=str(source))
    run, _ = prepare_run(settings, load_config(home=tmp_path), name="told", on_event=events.append)
    (told,) = [e for e in events if e["event"] == "forecast"]
    assert told["words"].startswith("about ") and "rows of up to" in told["words"]
    written = run.metadata["forecast"]
    assert written["peak"] == written["process"] + written["weights"] + max(
        written["loading"], written["learning"] + written["step"]
    )


def test_what_it_cannot_rehearse_it_does_not_forecast() -> None:
    assert forecast(tiny(model__answerer=str(built("blip"))), ROWS) is None
    assert forecast(tiny(role="embedder", model__embedder=str(built("siglip2"))), ROWS) is None


# --- pairs of a picture and a text: the embedder and the captioner --------------------------------


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What each role learns from."""
    root = tmp_path_factory.mktemp("pictures")
    (root / "captions").mkdir()
    return {
        "embedder": class_folders(root / "classes"),
        "captioner": captioned(root / "captions"),
    }


def of(role: str, kind: str, pictures: dict[str, Path], **keys: Any) -> tuple[Settings, Any, Any]:
    """Settings of a role with a tiny model, its data and what is to be measured with."""
    source = {"data__source": str(pictures[role]), "data__evaluation": "split"}
    settings = tiny(role=role, **{f"model__{role}": str(built(kind))}, **source, **keys)
    table = gather(settings.data, load_config())
    return settings, table, make_plan(table, settings.data)


PAIRS = pytest.mark.parametrize(
    ("role", "kind", "method"),
    [
        ("embedder", "clip", "lora"),
        ("embedder", "siglip", "lora"),
        ("captioner", "blip", "lora"),
        ("captioner", "blip", "full"),
        ("captioner", "blip-2", "lora"),
        ("captioner", "blip-2", "projector"),
        ("captioner", "blip-2", "full"),
    ],
)


@PAIRS
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_step_of_pairs_is_what_it_holds_when_it_is_done(
    role: str, kind: str, method: str, checkpointing: bool, pictures: dict[str, Path]
) -> None:
    """The same pass with numbers, counted as the rehearsal counts."""
    keys = {"method": method, "training__batch": 8, "training__checkpointing": checkpointing}
    settings, table, plan = of(role, kind, pictures, **keys)
    told = forecast(settings, table.rows)
    assert told is not None
    learner: Any = make_learner(settings, table, plan)
    trained = [p for _, p in learner.adapted.trained()]
    assert told.trained == sum(p.numel() for p in trained)
    ours = sum(p.numel() for n, p in learner.model.named_parameters() if ".lora_" not in n)
    assert told.weights == 4 * ours
    rows = sorted(table.rows, key=lambda row: -len(row.answer or ""))[:8]
    held = held_by(
        learner.model,
        lambda: learner.loss(learner.collate([Shown(row) for row in rows])),
        checkpointing=checkpointing,
    )
    gradients = 4 * told.trained
    assert told.step == pytest.approx(_HOLES[role] * (held - gradients) + gradients, rel=0.1)


@pytest.mark.parametrize(
    ("role", "kind", "method"), [("embedder", "clip", "lora"), ("captioner", "blip", "full")]
)
def test_what_is_recomputed_teaches_the_same(
    role: str, kind: str, method: str, pictures: dict[str, Path], tmp_path: Path
) -> None:
    losses = []
    for again in (False, True):
        keys = {"method": method, "training__checkpointing": again}
        settings, table, plan = of(
            role, kind, pictures, training__max_steps=3, training__lr=0.01, **keys
        )
        learner: Any = make_learner(settings, table, plan)
        log = EventLog(tmp_path / str(again) / "events.jsonl")
        learner.fit(table.take(plan.final.train), [], Session(tmp_path / str(again), log), 0)
        assert learner.model.is_activation_checkpointing is again
        losses.append([e["loss"] for e in map(json.loads, log.text().splitlines()) if "loss" in e])
    assert len(set(losses[0])) > 2
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_a_batch_of_pairs_is_told_with_its_texts(pictures: dict[str, Path]) -> None:
    many = [Row(Path("a.png"), f"thing {n:03}", photo_id="a") for n in range(130)]
    said = [
        Row(Path("a.png"), None, DESCRIBE, "a red disc" + " again" * n, photo_id="a")
        for n in range(9)
    ]
    eyes = {"role": "embedder", "model__embedder": str(built("clip")), "training__batch": 4}
    words = {"role": "captioner", "model__captioner": str(built("blip")), "training__batch": 4}
    expected = {
        "4 pictures and 256 texts of up to 16 tokens": (eyes, many[:128]),  # all, as two templates
        "4 pictures and 8 texts of up to 16 tokens": (eyes, many),  # those of the batch
        "4 pictures and 6 texts of up to 16 tokens": (eyes, said),  # and two of others
        "4 pictures with captions of up to 48 tokens": (words, said),
    }
    for words_, (keys, rows) in expected.items():
        told = forecast(tiny(**keys), rows)
        assert told is not None and told.words.endswith(f"({words_})")


def test_the_embedder_takes_more_with_more_classes() -> None:
    keys = {"role": "embedder", "model__embedder": str(built("clip"))}
    few, many = (
        forecast(tiny(**keys), [Row(Path("a.png"), f"{n}", photo_id="a") for n in range(count)])
        for count in (8, 80)
    )
    assert few is not None and many is not None and many.step > 1.5 * few.step


def test_pairs_that_cannot_fit_are_refused_with_what_helps(
    pictures: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, table, _ = of("captioner", "blip", pictures, method="full")
    plain = forecast(settings, table.rows)
    assert plain is not None
    monkeypatch.setattr(forecasts, "free_memory", lambda device: plain.peak - 1)
    decided, told = planned(settings, table.rows)
    assert decided.training.checkpointing is True
    assert told is not None and told.step < plain.step
    monkeypatch.setattr(forecasts, "free_memory", lambda device: 1)
    with pytest.raises(SettingsError) as refused:
        check_memory(told, decided)
    said = str(refused.value)
    assert "use the method lora, or choose a smaller model" in said
    assert "qlora" not in said and "set training.checkpointing" not in said


# --- what stands on an embedder that stays as it is -----------------------------------------------


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shapes and where they are."""
    return write_scenes(tmp_path_factory.mktemp("scenes"), 12)


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("prototypes", {}),
        ("linear", {}),
        ("linear", {"linear__unfreeze_layers": 1}),
        ("maml", {"maml__ways": 2, "maml__queries": 2}),
        ("box", {"data__task": "boxes", "box__width": 32}),
    ],
)
def test_what_learns_on_a_frozen_embedder_is_what_is_told(
    method: str, more: dict[str, Any], pictures: dict[str, Path], scenes: Path
) -> None:
    source = scenes if method == "box" else pictures["embedder"]
    keys = {"data__source": str(source), "model__embedder": str(built("clip")), **more}
    settings = tiny(method=method, training__batch=4, **keys)
    table, plan = look_at(settings, load_config(), None)
    told = forecast(settings, table.rows)
    assert told is not None and told.words.startswith("about ")
    learner: Any = make_learner(settings, table, plan)
    assert told.trained == sum(part["trained"] for part in learner.describe()["trained"])
    model = learner._tower if method == "box" else learner.sight.embedder.model
    every = sum(p.numel() for p in model.parameters())
    seeing = sum(p.numel() for name, p in model.named_parameters() if "text" not in name)
    assert told.weights == 4 * {"linear": every + seeing, "box": seeing}.get(method, every)
    assert told.loading == 0  # its file is of the type that it computes in
    photos = [row.photo() for row in table.rows][:32]
    if method in ("prototypes", "maml"):
        held = passing_bytes(model, lambda: learner.sight.embedder.embed_photos(photos))
        assert told.step == pytest.approx(held, rel=0.1)


def test_a_head_takes_more_with_more_of_everything(scenes: Path) -> None:
    def step(rows: int = 8, **keys: Any) -> int:
        base = {"data__task": "boxes", "model__embedder": str(built("clip"))}
        settings = tiny(method="box", **{**base, **keys})
        found = forecast(settings, [replace(told, photo_id=str(n)) for n in range(rows)])
        assert found is not None
        return found.step

    told = Row(Path("a.png"), photo_id="a", objects=(Boxed("disc", (0, 0, 9, 9)),))
    plain = step(training__batch=64)
    assert plain == step()  # no more at once than there are
    assert step(32, training__batch=32) > 2 * plain
    assert step(box__width=512) > 2 * plain
    kept = step(2000) - step(1000)
    assert kept == 1000 * 2 * 16 * 64  # patches of half precision, 64 wide
    changed = {"augmentation__colour": 0.1}
    assert step(2000, **changed) == step(1000, **changed)
