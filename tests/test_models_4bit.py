"""4-bit NF4 on a CPU: the language model is quantized, and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny_models import built, photo
from tools.config import ModelChoice, load_config
from tools.errors import ModelFailed
from tools.models import open_models
from tools.models.answerer import load_answerer
from tools.models.quantizing import check_quantized, count_quantized
from tools.models.sources import locate

pytest.importorskip("bitsandbytes", reason="bitsandbytes is not made for this platform")


@pytest.mark.parametrize(
    ("kind", "language"), [("llava", "model.language_model"), ("idefics3", "model.text_model")]
)
def test_only_the_language_model_is_quantized(kind: str, language: str) -> None:
    config = load_config(profile="pocket", answerer=str(built(kind)), quantize=True)
    answerer = open_models(config).answerer
    counts = count_quantized(answerer._model)  # type: ignore[attr-defined]
    assert counts.pop(language) == 14  # 2 layers of q, k, v, o, gate, up, down
    assert len(counts) == 3 and not any(counts.values())  # vision, projector, output layer
    pieces: list[str] = []
    text = answerer.answer(photo(1), "what is this?", on_token=pieces.append)
    assert text and "".join(pieces) == text


def test_full_precision_has_nothing_quantized() -> None:
    answerer = load_answerer(locate(ModelChoice(str(built("llava")))))
    assert not any(count_quantized(answerer._model).values())
    with pytest.raises(ModelFailed, match="nothing came out in 4 bits"):
        check_quantized(locate(ModelChoice(str(built("llava")))), answerer._model)


def test_a_quantized_vision_tower_is_noticed() -> None:
    """What transformers does when the modules to skip are misnamed."""
    from transformers import AutoModelForImageTextToText, BitsAndBytesConfig

    config = BitsAndBytesConfig(load_in_4bit=True, llm_int8_skip_modules=["vision_towr"])
    model = AutoModelForImageTextToText.from_pretrained(
        built("llava"), quantization_config=config, device_map={"": "cpu"}
    )
    with pytest.raises(ModelFailed, match=r"model\.vision_tower.*came out in 4 bits"):
        check_quantized(locate(ModelChoice(str(built("llava")))), model)


def test_a_model_without_a_language_model_is_not_quantized_in_silence() -> None:
    located = locate(ModelChoice(str(built("blip-vqa"))))
    with pytest.raises(ModelFailed, match="no language model to quantize"):
        load_answerer(located, quantize=True)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_layers_that_do_not_fit_the_packed_format_still_run() -> None:
    """PaliGemma's single key/value head is 16 wide here; the packed CPU format needs 32."""
    answerer = load_answerer(locate(ModelChoice(str(built("paligemma")))), quantize=True)
    assert isinstance(answerer.answer(photo(1), "what is this?"), str)


FOREIGN_KERNEL = """
import sys
from pathlib import Path
from tests.tiny_models import built, photo
from tools.config import load_config
from tools.models import open_models

Path(sys.argv[1], "kernels.py").write_text(
    "import pathlib; pathlib.Path(__file__).with_suffix('.ran').touch(); get_kernel = None"
)
sys.path.insert(0, sys.argv[1])
config = load_config(profile="pocket", answerer=str(built("llava")), quantize=True)
open_models(config).answerer.answer(photo(1), "what is this?")
assert "bitsandbytes" in sys.modules and "kernels" not in sys.modules
"""


def test_no_kernel_is_fetched_from_the_hub(tmp_path: Path) -> None:
    """bitsandbytes would, at import, where the package ``kernels`` is installed."""
    done = subprocess.run(
        [sys.executable, "-c", FOREIGN_KERNEL, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "kernel" not in done.stderr
    assert not (tmp_path / "kernels.ran").exists()
