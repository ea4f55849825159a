"""What tests of training from the chat share: an assistant on a tiny model, and its trainings."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml
from PIL import Image
from transformers import AutoProcessor, CLIPModel

from assistant import open_assistant
from assistant.build import Imprint
from assistant.conversation import Conversation
from assistant.turns import Reply
from tests.finetune_data import picture
from tests.tiny_models import built
from tools.shelf import FORMAT, digest
from tools.training import Training

__all__ = ["assistant", "colour_only", "end_processes", "shelve", "teach", "trained", "until"]

ASK = "how is the training going?"
_PATIENCE = 240.0  # seconds; a process starts slowly where others compute


@contextmanager
def assistant(home: Path, *, epochs: int = 25, **settings: Any) -> Iterator[Imprint]:
    """An assistant whose answerer is a tiny LLaVA, and whose trainings are short."""
    chosen = {
        "augmentation": dict.fromkeys(("crop", "rotation", "colour", "noise"), 0),
        "training": {"lr": 0.01, "epochs": epochs, "batch": 4, "accumulation": 1, "patience": None},
        "data": {"folds": 2},
        "evaluation": {"controls": False},
        "prompt": {"question": "what is this?"},
    }
    home.mkdir(parents=True, exist_ok=True)
    (home / "training.yaml").write_text(yaml.safe_dump(chosen), encoding="utf-8")
    with open_assistant(
        home=home, answerer=str(built("llava")), training=home / "training.yaml", **settings
    ) as imprint:
        yield imprint


def teach(chat: Conversation, each: int = 8) -> None:
    """Light discs as zorbs, dark boxes as blicks."""
    for kind, name in (("disc", "zorb"), ("box", "blick")):
        for start in range(0, each, 8):
            shown: list[Image.Image] = [
                picture(kind, i) for i in range(start, min(each, start + 8))
            ]
            assert "Learned" in chat.send(f"these are all {name}s", shown).text


def trained(reply: Reply) -> Training:
    """The training that a reply shows."""
    (found,) = (a for a in reply.artifacts if isinstance(a, Training))
    return found


def until(chat: Conversation, seen: Callable[[Training], bool]) -> Reply:
    """Ask how it is going until that is seen."""
    end = time.monotonic() + _PATIENCE
    while True:
        reply = chat.send(ASK)
        if seen(trained(reply)):
            return reply
        assert time.monotonic() < end and trained(reply).goes_on, reply.text
        time.sleep(0.2)


def end_processes(home: Path) -> None:
    """Leave no training behind."""
    for log in (home / "runs").glob("*.log"):
        with suppress(ProcessLookupError):
            os.kill(int(log.read_text().split()[0]), signal.SIGKILL)


@cache
def colour_only() -> Path:
    """A tiny CLIP that sees only how red a patch is against its green: no shape, no brightness."""
    folder = built("clip").with_name("clip-colour-only")
    model = CLIPModel.from_pretrained(built("clip"))
    weights = model.vision_model.embeddings.patch_embedding.weight
    with torch.no_grad():
        red = 20 * weights.mean((1, 2, 3), keepdim=True)[:, 0]
        weights[:, 0], weights[:, 1], weights[:, 2] = red, -red, 0
    model.save_pretrained(folder)
    AutoProcessor.from_pretrained(built("clip")).save_pretrained(folder)
    return folder


def shelve(folder: Path, **changes: Any) -> None:
    """Write a manifest for the files in ``folder``, with ``changes``."""
    share = {"value": 0.9, "low": 0.7, "high": 0.97, "n": 20}
    manifest = {
        "format": FORMAT,
        "run": folder.name,
        "method": "projector",
        "base_model": str(built("llava")),
        "precision": "float32",
        "prompt": {"answer": "{label}"},
        "question": "what is this?",
        "classes": ["zorb", "blick"],
        "metrics": {"trained": {"accuracy": share, "generated_accuracy": share}},
        "worth_using": True,
        "verdict": "Worth using: 90 % right.",
        "data": {"source": "memory:default", "train": {}},
        "files": {p.name: digest(p) for p in folder.iterdir() if p.suffix == ".safetensors"},
    }
    (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}), encoding="utf-8")
