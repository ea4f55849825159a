"""The reference pictures: what an embedder that nobody has measured is measured with.

Makes the sheets and photos that ship in ``tools/models/reference`` from the data folder; how they
are read is known to :mod:`tools.reference`. Only pictures whose licence lets them ship are taken.
"""

from __future__ import annotations

import json
import logging
import random
from pathlib import Path
from typing import Any

from PIL import Image

from finetune.pocket.drawings import MAIN_GROUPS, plain_name

__all__ = ["write_reference"]

log = logging.getLogger(__name__)
_STYLES = ("noto", "twemoji", "fluent_3d")
_CONCEPTS, _COLUMNS, _TILE = 200, 20, 72
_PHOTO_SIDE = 240
_SHIPPABLE = "http://creativecommons.org/licenses/by/2.0/"
# COCO's number → what the photo shows, as somebody who looked at it says, and what it is among.
# Those with children whose faces can be told are left out.
_PHOTOS = {
    285: ("brown bear", "animals"),
    785: ("skier", "sports"),
    872: ("baseball player", "sports"),
    885: ("tennis player", "sports"),
    1268: ("bridge over a river", "places"),
    1993: ("bedroom", "rooms"),
    2473: ("ski jump", "sports"),
    6012: ("bananas and an apple", "food"),
    6818: ("bathroom", "rooms"),
    7281: ("horses on a beach", "animals"),
    7574: ("kitchen", "rooms"),
    7991: ("plate of carrots", "food"),
    8021: ("speaker on a screen", "people"),
    8762: ("traffic light at night", "places"),
    9483: ("man in an office", "people"),
    11149: ("bicycles", "places"),
    12062: ("sheep", "animals"),
    12120: ("tennis court", "sports"),
    12280: ("station hall", "places"),
    12667: ("telephone with a banana", "food"),
    13004: ("banana on a plate", "food"),
}


def write_reference(data: Path, out: Path, *, seed: int = 0) -> dict[str, Any]:
    """Write the sheets, the photos and ``reference.json`` to ``out``; returns what that says."""
    out.mkdir(parents=True, exist_ok=True)
    chosen = _concepts(data / "emoji", seed)
    for style in _STYLES:
        _sheet([data / "emoji" / r["images"][style] for r in chosen], out / f"{style}.webp")
    names = [{"name": plain_name(r["name"]), "family": r["subgroup"]} for r in chosen]
    made: dict[str, Any] = {
        "tile": _TILE,
        "columns": _COLUMNS,
        "sheets": [f"{style}.webp" for style in _STYLES],
        "drawings": names,
        "photos": _photos(data / "coco128", out),
    }
    text = json.dumps(made, indent=1, ensure_ascii=False)
    (out / "reference.json").write_text(text + "\n", encoding="utf-8")
    size = sum(p.stat().st_size for p in out.iterdir())
    log.info("%d concepts, %d photos, %d bytes", len(chosen), len(made["photos"]), size)
    return made


def _concepts(folder: Path, seed: int) -> list[dict[str, Any]]:
    """Concepts with a drawing in every style and a name of their own, from all families alike."""
    records = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
    random.Random(seed).shuffle(records)
    families: dict[str, list[dict[str, Any]]] = {}
    taken = set()
    for record in records:
        name = plain_name(record["name"])
        complete = set(_STYLES) <= set(record["images"])
        if record["group"] in MAIN_GROUPS and complete and name not in taken:
            taken.add(name)
            families.setdefault(record["subgroup"], []).append(record)
    several = [rows for _, rows in sorted(families.items()) if len(rows) > 1]
    deepest = max(map(len, several))
    in_turn = [rows[i] for i in range(deepest) for rows in several if i < len(rows)]
    return sorted(in_turn[:_CONCEPTS], key=lambda r: str(r["id"]))


def _sheet(files: list[Path], path: Path) -> None:
    """Tiles on white, row by row."""
    sheet = Image.new("RGB", (_COLUMNS * _TILE, -(-len(files) // _COLUMNS) * _TILE), "white")
    for i, file in enumerate(files):
        tile = Image.open(file).convert("RGBA").resize((_TILE, _TILE))
        sheet.paste(tile, (i % _COLUMNS * _TILE, i // _COLUMNS * _TILE), tile)
    sheet.save(path, quality=90, method=6)


def _photos(folder: Path, out: Path) -> list[dict[str, str]]:
    records = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))["images"]
    rows = []
    for record in records:
        if record["id"] not in _PHOTOS or record.get("license_url") != _SHIPPABLE:
            continue
        picture = Image.open(folder / record["image"]).convert("RGB")
        picture.thumbnail((_PHOTO_SIDE, _PHOTO_SIDE))
        file = f"photo-{record['id']}.webp"
        picture.save(out / file, quality=85, method=6)
        name, family = _PHOTOS[record["id"]]
        rows.append(
            {"file": file, "name": name, "family": family, "source": record["flickr_url"],
             "licence": record["license_url"]}
        )  # fmt: skip
    return rows
