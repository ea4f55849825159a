"""What tests of training the captioner and the embedder share: pictures with captions, and runs."""

import json
from pathlib import Path

from tests.finetune_data import TINY, class_folders, command, picture
from tests.tiny_models import built

__all__ = ["CAPTIONS", "captioned", "embedder_trained"]

CAPTIONS = {"disc": "a big circle", "box": "the small square"}


def captioned(folder: Path, train: int = 8, test: int = 4) -> Path:
    """Pictures of discs and boxes beside a ``captions.jsonl``, split."""
    rows = []
    for kind, text in CAPTIONS.items():
        for part, start, count in (("train", 0, train), ("test", 100, test)):
            for seed in range(start, start + count):
                name = f"{kind}-{seed}.png"
                picture(kind, seed).save(folder / name)
                rows.append({"image": name, "caption": text, "split": part})
    (folder / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return folder


def embedder_trained(home: Path, name: str) -> None:
    """A finished run of a tiny CLIP on discs and boxes, by their names."""
    source = home / "in"
    class_folders(source / "train", each=8)
    class_folders(source / "test", each=6, start=100)
    command(
        "few-shot", source, "--role", "embedder", "--embedder", built("clip"), "--name", name,
        "--epochs", 6, *TINY, "--set", "evaluation.controls=false", home=home,
    )  # fmt: skip
