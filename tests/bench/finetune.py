"""Pictures to fine-tune on, as folders of classes, out of the data that the models are measured on.

    python -m tests.bench.finetune fashion --data DIR --out DIR [--train 2000 --test 1000]
    python -m tests.bench.finetune letters --data DIR --out DIR [--shots 5 --classes 10]
    python -m tests.bench.finetune captions --data DIR --out DIR [--drawings 60]
    python -m tests.bench.finetune alphabets --data DIR --out DIR
    python -m tests.bench.finetune scenes --out DIR [--scenes 400]
    python -m tests.bench.finetune easy-vqa --data DIR --out DIR [--pictures 1000]

`fashion`: Fashion-MNIST, as many of each class; `test/` is of its own test part, that nothing was
trained on. `letters`: characters of Omniglot's Greek, that no pocket model has seen, each with so
many drawings to train on; its other drawings measure. `captions`: drawings in a style that no
weights were trained on, captioned in words of one's own ("from my food page, a lemon"); as many
others, of other things, measure. `alphabets`: every character of Omniglot that is there, a class
each, to learn to learn. `scenes`: one to three shapes a picture, with their boxes. `easy-vqa`: so
many of its pictures with their questions, a tenth as many others to measure with, and beside them
`untrained/`, the pocket answerer with a projector that has seen nothing. What follows is `python -m
finetune` itself.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from tests.box_scenes import write_scenes
from tools.wording import article

__all__ = [
    "main",
    "write_alphabets",
    "write_captions",
    "write_easy_vqa",
    "write_fashion",
    "write_letters",
]

ALPHABET = "Greek"
STYLE = "fluent_3d"
PAGES = {
    "animals & nature": "animal",
    "food & drink": "food",
    "travel & places": "travel",
    "activities": "fun",
}
NAMES = ("zorb", "blick", "dax", "wug", "fep", "toma", "kiki", "bouba", "gazzer", "mip")


def write_fashion(data: Path, out: Path, *, train: int, test: int) -> dict[str, int]:
    """``out/train/<class>/`` and ``out/test/<class>/``; returns how many pictures each has."""
    found = np.load(data / "fashion_mnist" / "fashion_mnist.npz")
    names = json.loads((data / "fashion_mnist" / "classes.json").read_text(encoding="utf-8"))
    written = {}
    for part, count in (("train", train), ("test", test)):
        pictures, labels = found[f"{part}_images"], found[f"{part}_labels"]
        for number, name in enumerate(names):
            folder = out / part / name.partition("/")[0].lower().replace(" ", "_")
            folder.mkdir(parents=True, exist_ok=True)
            for index in np.flatnonzero(labels == number)[: count // len(names)]:
                Image.fromarray(pictures[index]).save(folder / f"{index}.png")
        written[part] = len(list((out / part).rglob("*.png")))
    return written


def write_letters(data: Path, out: Path, *, shots: int, classes: int) -> dict[str, int]:
    """The same for the first characters of an alphabet, under names that mean nothing to a model.

    The first drawings of each train.
    """
    root = data / "omniglot" / "images_background_small1" / ALPHABET
    written = {"train": 0, "test": 0}
    for name, folder in zip(NAMES[:classes], sorted(root.iterdir()), strict=False):
        for place, path in enumerate(sorted(folder.glob("*.png"))):
            part = "train" if place < shots else "test"
            target = out / part / name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            ImageOps.expand(Image.open(path).convert("L"), 4, 255).save(target)
            written[part] += 1
    return written


def write_alphabets(data: Path, out: Path) -> dict[str, int]:
    """``out/<alphabet>-<character>/``; which of them measure, the fine-tuning says."""
    written = 0
    for folder in sorted((data / "omniglot" / "images_background_small1").glob("*/*/")):
        target = out / f"{folder.parent.name}-{folder.name}"
        target.mkdir(parents=True, exist_ok=True)
        for path in sorted(folder.glob("*.png")):
            ImageOps.expand(Image.open(path).convert("L"), 4, 255).save(target / path.name)
            written += 1
    return {"train": written, "test": 0}


def write_captions(data: Path, out: Path, *, drawings: int) -> dict[str, int]:
    """Drawings beside ``out/captions.jsonl``, every other one to measure with."""
    known = json.loads((data / "emoji" / "annotations.json").read_text(encoding="utf-8"))
    suited = [c for c in known if STYLE in c["images"] and c["group"] in PAGES]
    order = np.random.default_rng(0).permutation(len(suited))[: 2 * drawings]
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for place, concept in enumerate(suited[i] for i in order):
        drawing = Image.open(data / "emoji" / concept["images"][STYLE]).convert("RGBA")
        ground = Image.new("RGBA", drawing.size, "white")
        ground.alpha_composite(drawing)
        ground.convert("RGB").save(out / f"{concept['id']}.png")
        text = f"from my {PAGES[concept['group']]} page, {article(concept['name'])}"
        split = "test" if place % 2 else "train"
        rows.append({"image": f"{concept['id']}.png", "caption": text, "split": split})
    (out / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return {part: sum(row["split"] == part for row in rows) for part in ("train", "test")}


def write_easy_vqa(data: Path, out: Path, *, pictures: int) -> dict[str, int]:
    """``out/easy_vqa.jsonl`` with its pictures, and ``out/untrained/``, a model.

    Pictures whose number ends in 9 measure: no pocket model was trained on them either.
    """
    source = data / "easy_vqa" / "train"
    asked = json.loads((source / "questions.json").read_text(encoding="utf-8"))
    numbers = sorted({number for _, _, number in asked})
    parts = {
        "train": [n for n in numbers if n % 10 != 9][:pictures],
        "test": [n for n in numbers if n % 10 == 9][: pictures // 10],
    }
    split = {number: part for part, several in parts.items() for number in several}
    (out / "images").mkdir(parents=True, exist_ok=True)
    for number in split:
        shutil.copy(source / "images" / f"{number}.png", out / "images")
    rows = [
        {"image": f"images/{n}.png", "question": q, "answer": a, "split": split[n]}
        for q, a, n in asked
        if n in split
    ]
    (out / "easy_vqa.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    save_untrained(out / "untrained")
    return {part: len(several) for part, several in parts.items()}


def save_untrained(folder: Path) -> None:
    """The pocket answerer with its projector's weights drawn anew."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from tools.config import ModelChoice
    from tools.models.sources import locate

    base = locate(ModelChoice("pocket:llava")).folder
    model = AutoModelForImageTextToText.from_pretrained(base)
    torch.manual_seed(0)
    for layer in model.model.multi_modal_projector.modules():
        if isinstance(layer, torch.nn.Linear):
            layer.reset_parameters()
    model.save_pretrained(folder)
    AutoProcessor.from_pretrained(base).save_pretrained(folder)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "what", choices=["fashion", "letters", "captions", "alphabets", "scenes", "easy-vqa"]
    )
    parser.add_argument("--data", type=Path, help="folder with fashion_mnist/, …; scenes need none")
    parser.add_argument("--out", type=Path, required=True, help="where the class folders go")
    parser.add_argument("--train", type=int, default=2000, help="garments to train on")
    parser.add_argument("--test", type=int, default=1000, help="garments to measure with")
    parser.add_argument("--shots", type=int, default=5, help="drawings of each letter to train on")
    parser.add_argument("--classes", type=int, default=10, help="letters")
    parser.add_argument("--drawings", type=int, default=60, help="drawings to caption")
    parser.add_argument("--scenes", type=int, default=400, help="scenes of shapes")
    parser.add_argument("--pictures", type=int, default=1000, help="of easy_vqa to train on")
    given = parser.parse_args()
    if given.data is None and given.what != "scenes":
        parser.error("give --data")
    if given.what == "scenes":
        write_scenes(given.out, given.scenes)
        written = {"train": given.scenes, "test": 0}
    elif given.what == "easy-vqa":
        written = write_easy_vqa(given.data, given.out, pictures=given.pictures)
    elif given.what == "alphabets":
        written = write_alphabets(given.data, given.out)
    elif given.what == "fashion":
        written = write_fashion(given.data, given.out, train=given.train, test=given.test)
    elif given.what == "captions":
        written = write_captions(given.data, given.out, drawings=given.drawings)
    else:
        written = write_letters(given.data, given.out, shots=given.shots, classes=given.classes)
    print(
        f"{given.out}: {written['train']} pictures to train on, {written['test']} to measure with"
    )


if __name__ == "__main__":
    main()
