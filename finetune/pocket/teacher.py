"""The teacher: features of many views, computed once and kept on disk for distillation.

The teacher is a MobileNetV2 (ImageNet) in TFLite form: what `TfliteTeacher` reads. Knows nothing
about the student.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from finetune.pocket.drawings import Gallery
from finetune.pocket.training import Clock, Progress
from tools.whole import whole_file

__all__ = [
    "HELD_OUT_PHOTOS",
    "Targets",
    "TfliteTeacher",
    "ask_teacher",
    "photo_files",
    "read_targets",
]

HELD_OUT_PHOTOS = (
    "accordion", "anchor", "bonsai", "brontosaurus", "butterfly", "chair", "crab", "elephant",
    "euphonium", "helicopter", "kangaroo", "lamp", "lotus", "nautilus", "pizza", "scissors",
    "soccer_ball", "starfish", "sunflower", "watch",
)  # fmt: skip
"""Classes of caltech101 never trained on: they measure one-shot recognition of photos."""

VIEW = 64
_PARTS = 64  # files of what the teacher said: whoever is stopped loses at most one a process


@dataclass(frozen=True)
class Targets:
    """What the teacher said.

    `mean` (D,): mean feature, subtracted everywhere. `basis` (D, E): principal directions.
    `drawings` (sprites, E): mean over views of each sprite, unit length. `photos` uint8
    (N, 3, 64, 64) and their unit features `photo_features` (N, E).
    """

    mean: npt.NDArray[np.float32]
    basis: npt.NDArray[np.float32]
    drawings: npt.NDArray[np.float32]
    photos: npt.NDArray[np.uint8]
    photo_features: npt.NDArray[np.float32]


class TfliteTeacher:
    """A quantised TFLite image classifier used for the layer before its logits.

    Takes pictures uint8 (H, W, 3), gives float32 (N, 1280). Needs `ai-edge-litert`.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        from ai_edge_litert.interpreter import Interpreter

        path = next(folder.glob("*.tflite"))
        self._net = Interpreter(
            str(path), num_threads=threads, experimental_preserve_all_tensors=True
        )
        self._net.allocate_tensors()
        self._input = self._net.get_input_details()[0]["index"]
        pooled = next(
            t for t in self._net.get_tensor_details() if tuple(t["shape"]) == (1, 1, 1, 1280)
        )
        self._output = pooled["index"]
        self._scale, self._zero = pooled["quantization"]

    def features(self, pictures: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
        """Features before the classifier, not centred, (N, 1280)."""
        rows = []
        for picture in pictures:
            big = Image.fromarray(picture).resize((224, 224), Image.Resampling.BILINEAR)
            self._net.set_tensor(self._input, np.asarray(big)[None])
            self._net.invoke()
            raw = self._net.get_tensor(self._output).reshape(-1).astype(np.float32)
            rows.append((raw - self._zero) * self._scale)
        return np.stack(rows)


def photo_files(data: Path) -> list[tuple[str, int]]:
    """(path or `zip::member`, views to take) for every photo that may be trained on."""
    rows: list[tuple[str, int]] = []
    for path in sorted((data / "caltech101").glob("*/*.jpg")):
        if path.parent.name not in HELD_OUT_PHOTOS:
            rows.append((str(path), 14))
    rows += [(str(p), 40) for p in sorted((data / "coco128" / "images").rglob("*.jpg"))]
    archive = data / "cifar10" / "train_1000_per_class.zip"
    if archive.exists():
        with zipfile.ZipFile(archive) as z:
            rows += [(f"{archive}::{n}", 1) for n in sorted(z.namelist()) if n.endswith(".jpg")]
    return rows


@cache
def _archive(path: str) -> zipfile.ZipFile:
    """An open archive; reading its index again for every picture would take most of the time."""
    return zipfile.ZipFile(path)


def _open(name: str) -> Image.Image:
    if "::" in name:
        archive, member = name.split("::")
        return Image.open(io.BytesIO(_archive(archive).read(member))).convert("RGB")
    return Image.open(name).convert("RGB")


def _photo_view(picture: Image.Image, chance: np.random.Generator) -> npt.NDArray[np.uint8]:
    """A random crop, half the time mirrored, 128 x 128 at most (small pictures stay small)."""
    width, height = picture.size
    share = float(chance.uniform(0.35, 1.0)) ** 0.5
    w, h = int(width * share), int(height * share * float(chance.uniform(0.85, 1.15)))
    h = min(h, height)
    x, y = int(chance.integers(0, width - w + 1)), int(chance.integers(0, height - h + 1))
    view = picture.crop((x, y, x + w, y + h)).resize((128, 128), Image.Resampling.BICUBIC)
    if chance.random() < 0.5:
        view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(view)


def _drawing_view(
    sprite: npt.NDArray[np.uint8], first: bool, chance: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """A drawing on a plain background, turned and scaled a little; the first one untouched."""
    picture = Image.fromarray(np.ascontiguousarray(sprite.transpose(1, 2, 0)))
    colour = tuple(int(v) for v in chance.integers(90, 256, 3))
    if first or chance.random() < 0.6:
        colour = (255, 255, 255)
    side = 96
    canvas = Image.new("RGBA", (side, side), (*colour, 255))
    size = 90 if first else int(chance.integers(56, 100))
    angle = 0.0 if first else float(chance.uniform(-18, 18))
    turned = picture.resize((size, size), Image.Resampling.BICUBIC).rotate(
        angle, Image.Resampling.BICUBIC
    )
    if not first and chance.random() < 0.4:
        turned = turned.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    slack = side - size
    x, y = (int(chance.integers(min(0, slack), max(0, slack) + 1)) for _ in range(2))
    visible = turned.crop((max(0, -x), max(0, -y), size, size))
    canvas.alpha_composite(visible, (max(0, x), max(0, y)))
    return np.asarray(canvas.convert("RGB"))


def _part_file(out: Path, part: int) -> Path:
    return out / f"part-{part:02d}.npz"


def _shard(
    job: tuple[int, Path, Path, npt.NDArray[np.uint8], list[tuple[str, int]], int, int],
) -> int:
    """Every `_PARTS`-th sprite and photo, written to one file when complete; the views' number."""
    part, teacher_folder, target, sprites, photos, views, seed = job
    chance = np.random.default_rng([seed, part])
    teacher = TfliteTeacher(teacher_folder)
    drawn = [
        teacher.features([_drawing_view(sprite, v == 0, chance) for v in range(views)])
        for sprite in sprites
    ]
    small, features = [], []
    for name, count in photos:
        picture = _open(name)
        for _ in range(count):
            view = _photo_view(picture, chance)
            features.append(teacher.features([view])[0].astype(np.float16))
            reduced = Image.fromarray(view).resize((VIEW, VIEW), Image.Resampling.BICUBIC)
            small.append(np.asarray(reduced).transpose(2, 0, 1))
    with whole_file(target) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            ids=part + _PARTS * np.arange(len(drawn)),
            drawings=np.array(drawn, np.float16),
            photos=np.array(small, np.uint8),
            photo_features=np.array(features, np.float16),
        )
    return len(drawn) * views + len(small)


def _shown(gallery: Gallery) -> list[int]:
    """The sprites that the teacher sees: shapes, garments and characters are named by rule."""
    return [i for i, c in enumerate(gallery.concept_of) if gallery.concepts[c].kind == "drawing"]


def ask_teacher(
    gallery: Gallery,
    data: Path,
    teacher: Path,
    out: Path,
    *,
    views: int = 8,
    photo_step: int = 1,
    processes: int = 2,
    seed: int = 0,
    clock: Clock | None = None,
) -> bool:
    """Keep in `out` what the teacher says of drawings and of every `photo_step`-th photo.

    Goes on where it was stopped; what it writes depends on the seed, not on the processes. Returns
    whether all is there.
    """
    sprites, photos = gallery.sprites[_shown(gallery)], photo_files(data)
    photos = photos[::photo_step]
    left = [p for p in range(_PARTS) if not _part_file(out, p).exists()]
    jobs = [
        (p, teacher, _part_file(out, p), sprites[p::_PARTS], photos[p::_PARTS], views, seed)
        for p in left
    ]
    progress, clock = Progress(out, "teacher", _PARTS), clock or Clock()
    if not left or clock.over:
        return not left
    with multiprocessing.get_context("spawn").Pool(processes, os.nice, (10,)) as pool:
        for done, seen in enumerate(pool.imap_unordered(_shard, jobs), _PARTS - len(left) + 1):
            progress.add(seen)
            progress.report(done)
            if clock.over:  # leaving the block ends the others
                return done == _PARTS
    return True


def read_targets(gallery: Gallery, out: Path, *, width: int = 256) -> Targets:
    """What the teacher said, from the files in `out`.

    Features are centred, reduced to `width` principal directions and normalised: cosines stay.
    """
    shown = _shown(gallery)
    parts = [np.load(_part_file(out, p)) for p in range(_PARTS)]
    asked = sum(len(p["ids"]) for p in parts)
    if asked != len(shown):
        raise ValueError(
            f"{out} holds the teacher's features of {asked} drawings, this world has {len(shown)}: "
            "remove the folder to compute them again"
        )
    kept: dict[str, npt.NDArray[np.generic]] = {
        name: np.concatenate([p[name] for p in parts if len(p[name])])
        for name in ("ids", "drawings", "photos", "photo_features")
    }
    drawn = kept["drawings"][np.argsort(kept["ids"])].astype(np.float32)
    small = kept["photos"].astype(np.uint8)
    features = kept["photo_features"].astype(np.float32)
    mean = (drawn.reshape(-1, drawn.shape[-1]).mean(0) + features.mean(0)) / 2
    sample = np.concatenate([drawn.reshape(-1, drawn.shape[-1]), features]) - mean
    sample /= np.linalg.norm(sample, axis=1, keepdims=True)
    values, vectors = np.linalg.eigh(sample.T @ sample)
    basis = np.ascontiguousarray(vectors[:, np.argsort(-values)[:width]]).astype(np.float32)

    def reduced(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        rows = (rows - mean) / np.linalg.norm(rows - mean, axis=-1, keepdims=True)
        projected = rows @ basis
        unit: npt.NDArray[np.float32] = projected / np.linalg.norm(
            projected, axis=-1, keepdims=True
        )
        return unit

    per_sprite = reduced(drawn).mean(1)
    per_sprite /= np.linalg.norm(per_sprite, axis=1, keepdims=True)
    drawings = np.zeros((len(gallery.sprites), width), np.float32)
    drawings[shown] = per_sprite
    return Targets(mean, basis, drawings, small, reduced(features))
