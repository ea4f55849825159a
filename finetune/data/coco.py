"""COCO json: captions as answers, or the boxes of categories as pictures of classes.

Opens no picture. Format: https://cocodataset.org/#format-data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finetune.data.table import DESCRIBE, Box, Found
from finetune.settings import DataSettings
from tools.errors import DataError

__all__ = ["coco_rows", "is_coco"]

_LEAST_SIDE = 8
_FOLDERS = ("", "images", "train2017", "val2017", "data")


def is_coco(content: Any) -> bool:
    """Whether a JSON file's content is laid out as COCO's."""
    return isinstance(content, dict) and {"images", "annotations"} <= set(content)


def coco_rows(path: Path, content: Mapping[str, Any], settings: DataSettings) -> list[Found]:
    """Captions when there are any (or the task asks for them), else one row a box, or a picture.

    Raises :class:`DataError` for annotations of pictures or categories that are not there.
    """
    try:
        files = {image["id"]: _file(path, str(image["file_name"])) for image in content["images"]}
        names = {c["id"]: str(c["name"]) for c in content.get("categories", [])}
        captioned = any("caption" in entry for entry in content["annotations"])
        if settings.task in ("answer", "caption") or (settings.task == "auto" and captioned):
            return [
                Found(files[e["image_id"]], question=DESCRIBE, answer=str(e["caption"]).strip())
                for e in content["annotations"]
                if str(e.get("caption", "")).strip()
            ]
        rows = []
        for entry in content["annotations"]:
            box = _box(entry.get("bbox"))
            if "category_id" in entry and (box is None or _large(box)):
                name = names[entry["category_id"]]
                rows.append(Found(files[entry["image_id"]], label=name, box=box))
        return rows
    except (KeyError, TypeError, ValueError) as exc:
        raise DataError(
            f"{path.name} is not complete COCO ({type(exc).__name__}: {exc}): each annotation "
            "needs the id of a picture and of a category in the file."
        ) from exc


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
