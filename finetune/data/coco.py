"""COCO json: captions as answers, the boxes of categories as pictures of classes, or as boxes.

Opens no picture. Format: https://cocodataset.org/#format-data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finetune.data.boxes import Boxed, Sides
from finetune.data.table import DESCRIBE, Box, Found, Source
from finetune.settings.schema import DataSettings
from tools.errors import DataError

__all__ = ["coco_boxes", "coco_rows", "is_coco"]

_LEAST_SIDE = 8
_FOLDERS = ("", "images", "train2017", "val2017", "data")


def is_coco(content: Any) -> bool:
    """Whether a JSON file's content is laid out as COCO's."""
    return isinstance(content, dict) and {"images", "annotations"} <= set(content)


def coco_rows(path: Path, content: Mapping[str, Any], settings: DataSettings) -> Source:
    """Captions when there are any (or the task asks for them), else one row a box, or a picture.

    Boxes that are too small to show anything are named. Raises :class:`DataError` for annotations
    of pictures or categories that are not there.
    """
    try:
        files = {image["id"]: _file(path, str(image["file_name"])) for image in content["images"]}
        names = {c["id"]: str(c["name"]) for c in content.get("categories", [])}
        captioned = any("caption" in entry for entry in content["annotations"])
        if settings.task in ("answer", "caption") or (settings.task == "auto" and captioned):
            rows = [
                Found(files[e["image_id"]], question=DESCRIBE, answer=str(e["caption"]).strip())
                for e in content["annotations"]
                if str(e.get("caption", "")).strip()
            ]
            if not rows:
                raise DataError(
                    f"{path.name} has no captions: give annotations with a caption, or leave "
                    f"--task {settings.task} out."
                )
            return Source(rows)
        rows, bad = [], []
        for entry in content["annotations"]:
            box = _box(entry.get("bbox"))
            if "category_id" not in entry:
                continue
            name, file = names[entry["category_id"]], files[entry["image_id"]]
            if box is None or _large(box):
                rows.append(Found(file, label=name, box=box))
            else:
                bad.append(f"{file}: a {name} that is too small to show what it is")
        return Source(rows, bad=bad)
    except (KeyError, TypeError, ValueError) as exc:
        raise _incomplete(path, exc) from exc


def coco_boxes(path: Path, content: Mapping[str, Any]) -> Source:
    """One row a picture, with all its boxes; those that can't be used are named.

    A picture without boxes shows nothing of the classes. Raises :class:`DataError` as
    :func:`coco_rows` does.
    """
    try:
        pictures = {image["id"]: image for image in content["images"]}
        names = {c["id"]: str(c["name"]) for c in content.get("categories", [])}
        objects: dict[Any, list[Boxed]] = {number: [] for number in pictures}
        bad = []
        for entry in content["annotations"]:
            picture, label = pictures[entry["image_id"]], names[entry["category_id"]]
            box = _sides(entry, picture.get("width"), picture.get("height"))
            if isinstance(box, str):
                bad.append(f"{picture['file_name']}, {label} {entry.get('id', '')}: {box}")
            else:
                objects[entry["image_id"]].append(Boxed(label, box))
        rows = [
            Found(_file(path, str(picture["file_name"])), objects=tuple(objects[number]))
            for number, picture in pictures.items()
        ]
        return Source(rows, bad=bad)
    except (KeyError, TypeError, ValueError) as exc:
        raise _incomplete(path, exc) from exc


def _sides(entry: Mapping[str, Any], width: float | None, height: float | None) -> Sides | str:
    """Left, top, right and bottom inside the picture, as far as its size is told; or why not."""
    given = entry.get("bbox")
    if entry.get("iscrowd"):
        return "its box is around many of them (iscrowd), not around one"
    try:
        left, top, across, down = (float(side) for side in given or ())
    except (TypeError, ValueError):
        return f"bbox {given!r:.60} is not [left, top, width, height]"
    if not all(map(math.isfinite, (left, top, across, down))) or min(across, down) <= 0:
        return f"bbox {given!r:.60} covers nothing"
    right, bottom = min(left + across, width or math.inf), min(top + down, height or math.inf)
    left, top = max(0.0, left), max(0.0, top)
    if min(right - left, bottom - top) < 1:
        return f"bbox {given!r:.60} is outside of its picture of {width} by {height}"
    return left, top, right, bottom


def _incomplete(path: Path, exc: Exception) -> DataError:
    return DataError(
        f"{path.name} is not complete COCO ({type(exc).__name__}: {exc}): each annotation needs "
        "the id of a picture and of a category in the file."
    )


def _file(path: Path, name: str) -> Path:
    places = [path.parent / folder / name for folder in _FOLDERS]
    places += [path.parent.parent / folder / name for folder in _FOLDERS]
    return next((place for place in places if place.is_file()), places[0])


def _box(sides: Any) -> Box | None:
    """COCO's left, top, width and height as left, top, right and bottom."""
    if not sides:
        return None
    left, top, width, height = (round(float(side)) for side in sides)
    return (max(0, left), max(0, top), left + width, top + height)


def _large(box: Box) -> bool:
    return min(box[2] - box[0], box[3] - box[1]) >= _LEAST_SIDE
