"""What a run learned, used without us: by transformers alone, and by onnxruntime alone."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from finetune.export import merged
from finetune.runs import open_run
from tests.finetune_data import TINY, class_folders, command, picture
from tests.tiny_models import built

ALONE = """
import json, sys
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor
model = AutoModelForImageTextToText.from_pretrained(sys.argv[1], dtype=torch.float32).eval()
processor = AutoProcessor.from_pretrained(sys.argv[1])
said = [{"role": "user", "content": [{"type": "image", "image": Image.open(sys.argv[2])},
                                     {"type": "text", "text": "what is this?"}]}]
inputs = processor.apply_chat_template(said, add_generation_prompt=True, tokenize=True,
                                       return_dict=True, return_tensors="pt")
with torch.inference_mode():
    logits = model(**inputs).logits[0, -1]
ours = {"finetune", "tools", "assistant", "peft"} & set(sys.modules)
print(json.dumps({"ours": sorted(ours), "logits": logits.tolist()}))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the runs ``lora`` and ``qlora`` of a tiny LLaVA, and ``head`` on pocket CLIP."""
    home = tmp_path_factory.mktemp("home")
    source = class_folders(home / "in", 8)
    few = ["few-shot", source, "--set", "data.evaluation=split", "--max-steps", 4]
    for method in ("lora", "qlora"):
        command(
            *few, *TINY, "--model", built("llava"), "--method", method, "--name", method, home=home
        )
    command(*few, "--method", "linear", "--name", "head", *TINY, home=home)
    return home


@pytest.mark.parametrize("name", ["lora", "qlora"])
def test_transformers_alone_loads_what_was_merged(name: str, home: Path, tmp_path: Path) -> None:
    target = tmp_path / "merged"
    done = json.loads(command("export", name, "--to", target, "--json", home=home))
    assert done["dtype"] == "float32" and done["off"] <= done["tolerance"] == 1e-3
    weights = load_file(target / "model.safetensors")
    assert not any("lora" in n or "absmax" in n for n in weights)
    assert {w.dtype for w in weights.values()} == {torch.float32}
    base = load_file(built("llava") / "model.safetensors")
    changed = {n for n, w in weights.items() if not torch.equal(w, base[n])}
    assert changed and all("language_model" in n and "_proj" in n for n in changed)
    assert "from transformers import AutoModelForImageTextToText" in (
        target / "README.md"
    ).read_text(encoding="utf-8")

    shown = tmp_path / "shown.png"
    found = merged(open_run(home / "runs", name))
    table, plan = open_run(home / "runs", name).data()
    shutil.copyfile(table.take(plan.folds[0].test)[0].path, shown)
    process = subprocess.run(
        [sys.executable, "-c", ALONE, str(target), str(shown)],
        capture_output=True, text=True, cwd=tmp_path, check=True,
    )  # fmt: skip
    alone = json.loads(process.stdout.splitlines()[-1])
    assert alone["ours"] == []
    assert np.allclose(alone["logits"], found.said[0][0, -1].numpy(), atol=1e-3)


def test_what_would_say_something_else_is_not_left_behind(home: Path, tmp_path: Path) -> None:
    runs = tmp_path / "home" / "runs"
    shutil.copytree(home / "runs" / "lora", runs / "lora")
    path = runs / "lora" / "best_model" / "adapter_model.safetensors"
    weights = load_file(path)
    save_file({n: torch.full_like(w, torch.nan) for n, w in weights.items()}, path)
    target = tmp_path / "merged"
    said = command("export", "lora", "--to", target, home=tmp_path / "home", fails=1)
    assert "of the logits' range off, and 0.001 is allowed" in said
    assert not target.exists() and not list(tmp_path.glob(".merged*"))


def test_what_cannot_be_exported_is_said(home: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    said = command("export", "lora", "--to", there, home=home, fails=1)
    assert f"{there} exists already: give --to a folder that does not." in said
    said = command("export", "head", "--to", tmp_path / "x", home=home, fails=2)
    assert "is of method linear, which changes no weights" in said
    said = command("export", "lora", "--to", tmp_path / "x", "--format", "gguf", home=home, fails=2)
    assert "--format gguf: choose one of merged, onnx." in said
    assert not (tmp_path / "x").exists()


def test_onnxruntime_alone_says_what_the_head_said(home: Path, tmp_path: Path) -> None:
    for library in ("onnx", "onnxscript"):
        pytest.importorskip(library, reason="onnx files are written by an extra: export")
    target = tmp_path / "onnx"
    said = command("export", "lora", "--to", target, "--format", "onnx", home=home, fails=2)
    assert "trained an answerer, which writes" in said
    done = json.loads(
        command("export", "head", "--to", target, "--format", "onnx", "--json", home=home)
    )
    assert set(done["off"]) == {"vision", "text", "head"} and max(done["off"].values()) <= 1e-3
    shown = tmp_path / "disc.png"
    picture("disc", 900, side=64).save(shown)
    (ours,) = json.loads(command("predict", "head", shown, home=home))

    import onnxruntime
    from transformers import AutoImageProcessor, AutoTokenizer

    def run(name: str, **inputs: np.ndarray) -> np.ndarray:
        session = onnxruntime.InferenceSession(str(target / f"{name}.onnx"))
        found: np.ndarray = session.run(None, inputs)[0]
        return found

    from PIL import Image

    images = AutoImageProcessor.from_pretrained(target)
    pixels = images(images=[Image.open(shown).convert("RGB")], return_tensors="np")
    vectors = run("vision", pixel_values=pixels["pixel_values"])
    logits = run("head", vectors=vectors)[0].astype(float)
    classes = json.loads((target / "classes.json").read_text(encoding="utf-8"))
    shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    assert classes[int(shares.argmax())] == ours["answer"]
    assert shares.max() == pytest.approx(ours["confidence"], abs=1e-3)
    tokens = AutoTokenizer.from_pretrained(target)(["a red circle"], return_tensors="np")
    text = run("text", input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
    assert text.shape == vectors.shape and np.linalg.norm(text) == pytest.approx(1, abs=1e-4)
