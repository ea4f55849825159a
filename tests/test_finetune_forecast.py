"""The memory forecast: its parts are exact where they can be, and a training that can't fit ends
before anything is loaded. Peaks of whole trainings are measured by `tests.bench.forecast`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import bitsandbytes as bnb
import pytest
from safetensors.torch import load_file

from finetune.data import Row
from finetune.methods import adapt
from finetune.planning.forecast import check_memory, forecast, nf4_bytes, parameters_of
from finetune.settings import Settings
from finetune.settings.files import load_settings, with_assignments
from finetune.vlm import open_vlm
from finetune.work import prepare_run
from tests.finetune_data import class_folders
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
    check_memory(found())
    large = replace(found(), step=10**16)
    with pytest.raises(SettingsError) as told:
        check_memory(large)
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
    assert forecast(tiny(method="linear"), ROWS) is None
    assert forecast(tiny(model__answerer=str(built("blip"))), ROWS) is None
