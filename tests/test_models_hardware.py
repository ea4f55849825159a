"""Device, dtype and threads: chosen with a reason, and what follows from each."""

from typing import Any

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from tests.tiny_models import built, photo
from tools.config import ModelChoice
from tools.errors import ModelFailed
from tools.models.answerer import TransformersAnswerer
from tools.models.captioner import TransformersCaptioner, load_captioner
from tools.models.embedder import load_embedder
from tools.models.hardware import Hardware, choose_hardware, choose_threads, inference
from tools.models.sources import locate

CPU = Hardware("cpu", "bfloat16", "bfloat16: said so")
CUDA = Hardware("cuda", "bfloat16", "bfloat16: said so")


def test_the_choice_gives_its_reason() -> None:
    chosen = choose_hardware()
    assert chosen.device == "cuda" if torch.cuda.is_available() else chosen.device in ("cpu", "mps")
    assert chosen.reason.startswith(f"{chosen.dtype}: ")
    assert chosen.torch_dtype is getattr(torch, chosen.dtype)


def test_vectors_keep_more_digits_than_text_needs() -> None:
    assert (CPU.for_vectors().dtype, CUDA.for_vectors().dtype) == ("float32", "float16")
    assert CUDA.for_vectors().reason.startswith("float16: ")


def test_a_small_model_on_a_cpu_stays_in_float32() -> None:
    assert CPU.for_size(10_000_000).dtype == "float32"
    assert CPU.for_size(1_000_000_000) is CPU
    assert CUDA.for_size(10_000_000) is CUDA


@pytest.mark.parametrize("role", ["embedder", "captioner"])
def test_a_small_model_is_loaded_that_way(role: str) -> None:
    load, kind = (load_embedder, "clip") if role == "embedder" else (load_captioner, "blip")
    model = load(locate(ModelChoice(str(built(kind)))), CPU).model
    assert model.dtype == torch.float32


@pytest.mark.parametrize(
    ("kind", "role"),
    [("blip", TransformersCaptioner), ("llava", TransformersAnswerer)],
)
def test_text_is_generated_in_bfloat16(kind: str, role: Any) -> None:
    model = AutoModelForImageTextToText.from_pretrained(built(kind), dtype=torch.bfloat16)
    located = locate(ModelChoice(str(built(kind))))
    reader = role(located, model.eval(), AutoProcessor.from_pretrained(built(kind)))
    ask = reader.caption if kind == "blip" else lambda p: reader.answer(p, "what is this?")
    assert isinstance(ask(photo(1)), str)


def test_threads_follow_the_size_of_the_model() -> None:
    with torch.device("meta"):
        small, large = torch.nn.Linear(100, 100), torch.nn.Linear(10_000, 10_000)
    for model in (small, large):
        model.device = torch.device("cpu")
    assert choose_threads(small) == 1
    assert choose_threads(large) >= 1
    large.device = small.device = torch.device("cuda")
    assert choose_threads(large) == choose_threads(small)


def test_a_gpu_without_memory_is_said_in_a_sentence() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ModelFailed, match="no memory left") as caught, inference(1):
        raise torch.OutOfMemoryError("CUDA out of memory")
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)
    assert torch.get_num_threads() == before
    assert not torch.is_inference_mode_enabled()
