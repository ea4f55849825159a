"""The memory forecast beside the peak that the system measured, for trainings of two steps.

    python -m tests.bench.forecast [--models pocket smolvlm …] [--cache DIR]

Every training is a process of its own, whose largest resident set the system tells when it has
ended. ``smolvlm``, ``clip`` and ``blip`` have the shapes of SmolVLM-256M, CLIP ViT-B/32 and BLIP's
base captioner, ``clip-half``, ``blip-half`` and ``blip-2-small`` shapes of no other model, and all
of them random weights; ``--cache`` is where they are written. What a CPU's allocator adds was read
off rows of ``clip``, ``blip`` and the pocket models, and off no other.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from finetune.events import EventLog
from finetune.learners.learner import Session
from finetune.pipeline import make_learner
from finetune.planning.forecast import forecast
from finetune.settings.files import load_settings, with_assignments
from finetune.settings.schema import CHANGING, Role
from finetune.work import look_at
from tests.finetune_data import class_folders
from tools.config import load_config

__all__ = ["CASES", "main", "measured", "train"]

_HEADS = [("prototypes", 8), ("linear", 8), ("box", 16), ("maml", 8)]
CASES: dict[str, tuple[Role, list[tuple[str, int]]]] = {
    "pocket": (
        "answerer", [("lora", 8), ("qlora", 8), ("projector", 8), ("full", 8), ("lora", 64)],
    ),
    "pocket-embedder": ("embedder", [("lora", 8), ("lora", 64)]),
    "pocket-captioner": ("captioner", [("lora", 8), ("full", 8)]),
    "clip": ("embedder", [("lora", 8), ("lora", 64)]),
    "blip": ("captioner", [("lora", 4), ("lora", 16), ("full", 4)]),
    "clip-half": ("embedder", [("lora", 8)]),
    "blip-half": ("captioner", [("lora", 4), ("full", 8)]),
    "blip-2-small": ("captioner", [("lora", 4), ("projector", 4)]),
    "pocket-heads": ("embedder", _HEADS),
    "clip-heads": ("embedder", _HEADS[1:]),
    "smolvlm": ("answerer", [("lora", 1), ("lora", 4), ("projector", 1)]),
}  # fmt: skip
_POCKET = {"answerer": "pocket:llava", "embedder": "pocket:clip", "captioner": "pocket:blip"}
_CLIP_HALF = {
    "vision_config": {
        "hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 8,
        "num_attention_heads": 6, "patch_size": 16, "image_size": 224,
    },
    "text_config": {
        "hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 6,
        "num_attention_heads": 4,
    },
    "projection_dim": 256,
}  # fmt: skip
_HALF = {
    "hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 12,
    "num_attention_heads": 6,
}  # fmt: skip
_BLIP_HALF = {
    "vision_config": _HALF,
    "text_config": {**_HALF, "encoder_hidden_size": 384, "projection_dim": 384},
    "projection_dim": 384,
}
_BLIP_2_SMALL = {
    "vision_config": {**_HALF, "image_size": 224, "patch_size": 14},
    "qformer_config": {**_HALF, "encoder_hidden_size": 384},
    "text_config": {
        **_HALF, "model_type": "opt", "word_embed_proj_dim": 384, "ffn_dim": 1536,
        "vocab_size": 50304,
    },
}  # fmt: skip
_CLASSES = 50
"""Of an embedder's training: all of their names take part in each step."""


def train(folder: Path, values: dict[str, Any]) -> None:
    """Print the forecast as JSON, then train: what the process that is measured does."""
    source = next((folder / "data").glob("*.json"), folder / "data")
    data = {"data.source": str(source), "data.evaluation": "split"}
    settings = load_settings(with_assignments({}, values | data))
    table, plan = look_at(settings, load_config(home=folder / "home"), None)
    found = forecast(settings, table.rows)
    assert found is not None
    print(json.dumps(found.to_json()), flush=True)
    rows = table.take(plan.final.train)
    learner = make_learner(settings, table, plan)
    learner.fit(rows, [], Session(folder / "run", EventLog(folder / "run" / "events.jsonl")), 0)


def measured(folder: Path, values: dict[str, Any]) -> tuple[int, int]:
    """(bytes forecast, bytes at the peak) of a training in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.forecast", "--one", json.dumps(values)]
    process = subprocess.Popen([*command, "--in", str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{values} ended with status {status}")
    expected = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    return int(expected["peak"]), used.ru_maxrss * 1024


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--cache", type=Path, help="Where the large model is kept.")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one is not None:
        train(given.folder, json.loads(given.one))
        return
    print("| model | method | batch | forecast | measured | forecast / measured |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        for model in given.models:
            role, cases = CASES[model]
            source = _source(model, role, given.cache or Path(place))
            for method, batch in cases:
                folder = Path(place) / f"{model}-{method}-{batch}"
                _pictures(role, method, folder / "data", batch)
                values = {
                    "role": role if method in CHANGING else "answerer", f"model.{role}": source,
                    "method": method, "training.batch": batch, "training.max_steps": 2,
                }  # fmt: skip
                if method == "box":
                    values["data.task"] = "boxes"
                expected, peak = measured(folder, values)
                numbers = f"{expected / 1e9:.2f} GB | {peak / 1e9:.2f} GB | {expected / peak:.2f}"
                print(f"| {model} | {method} | {batch} | {numbers} |", flush=True)


def _pictures(role: Role, method: str, folder: Path, batch: int) -> None:
    if method == "box":
        from tests.box_scenes import write_scenes

        write_scenes(folder, 4 * batch)
    elif role == "captioner":
        from tests.roles_data import captioned

        folder.mkdir(parents=True)
        captioned(folder, train=max(8, batch))
    elif role == "embedder":
        for number in range(_CLASSES):
            class_folders(folder, each=4, kinds=(f"thing of kind {number}",), start=4 * number)
    else:
        class_folders(folder, each=max(8, batch))


def _source(model: str, role: Role, cache: Path) -> str:
    if model.startswith("pocket"):
        return _POCKET[role]
    folder = cache / f"{model.removesuffix('-heads')}-shape"
    if not (folder / "model.safetensors").is_file():
        _save(model.removesuffix("-heads"), folder)
    return str(folder)


def _save(model: str, folder: Path) -> None:
    # Here, so that the process that is measured has no more.
    from transformers import Blip2Config, BlipConfig, CLIPConfig

    from tests import real_shapes

    if model == "smolvlm":
        real_shapes.save_smolvlm_256m(folder)
    elif model == "blip-2-small":
        real_shapes.save_blip_2(folder, Blip2Config(**_BLIP_2_SMALL))
    elif model.startswith("blip"):
        config = BlipConfig(**_BLIP_HALF) if model == "blip-half" else None
        real_shapes.save_blip_base(folder, config)
    else:
        config = CLIPConfig(**_CLIP_HALF) if model == "clip-half" else None
        real_shapes.save_clip_b32(folder, config)


if __name__ == "__main__":
    main()
