"""Scenes of shapes with their boxes as COCO json, for tests and benches of finding things."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

__all__ = ["KINDS", "scene", "write_scenes"]

KINDS = ("disc", "box", "triangle")
Sides = tuple[int, int, int, int]


def scene(
    seed: int, size: tuple[int, int] = (96, 80)
) -> tuple[Image.Image, list[tuple[str, Sides]]]:
    """One to three dark shapes that do not touch, on light ground."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", size, tuple(int(x) for x in rng.integers(150, 256, 3)))
    draw = ImageDraw.Draw(image)
    things: list[tuple[str, Sides]] = []
    for _ in range(int(rng.integers(1, 4))):
        for _ in range(20):
            side = int(rng.integers(18, 40))
            left, top = (int(rng.integers(2, edge - side - 2)) for edge in size)
            box = (left, top, left + side, top + side)
            if all(_apart(box, other) for _, other in things):
                break
        else:
            continue
        kind = KINDS[int(rng.integers(len(KINDS)))]
        ink = tuple(int(x) for x in rng.integers(0, 110, 3))
        if kind == "triangle":
            draw.polygon([(left, box[3]), (box[2], box[3]), (left + side // 2, top)], fill=ink)
        else:
            (draw.ellipse if kind == "disc" else draw.rectangle)(box, fill=ink)
        things.append((kind, box))
    return image, things


def write_scenes(folder: Path, count: int, *, start: int = 0) -> Path:
    """``count`` scenes and ``scenes.json``; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": i, "name": name} for i, name in enumerate(KINDS)],
    }
    for number in range(start, start + count):
        image, things = scene(number)
        image.save(folder / f"{number}.png")
        width, height = image.size
        entry = {"id": number, "file_name": f"{number}.png", "width": width, "height": height}
        content["images"].append(entry)
        for kind, (left, top, right, bottom) in things:
            content["annotations"].append(
                {
                    "id": len(content["annotations"]),
                    "image_id": number,
                    "category_id": KINDS.index(kind),
                    "bbox": [left, top, right - left, bottom - top],
                }
            )
    path = folder / "scenes.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def _apart(a: Sides, b: Sides) -> bool:
    return a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
