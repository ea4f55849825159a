"""The pictures that ship to measure embedders with: readable, few, whose they are is said."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from finetune.pocket.reference import write_reference
from tests.fakes import drawing
from tools.errors import SettingsError
from tools.images import Photo
from tools.reference import FEWEST_THINGS, REFERENCE, edition, read_folder, read_reference

ROOT = Path(__file__).parents[1]
LISTED = json.loads((REFERENCE / "reference.json").read_text(encoding="utf-8"))


def test_what_ships_is_read_and_counted() -> None:
    drawings, photos = read_reference()
    assert (drawings.domain, photos.domain) == ("drawings", "photos")
    assert len(drawings.pictures) == 600 and len(set(drawings.names.values())) == 200
    assert len(photos.pictures) == 8 * 21 and len(set(photos.names.values())) == 21
    for collection in (drawings, photos):
        pictures = [p for p in collection.pictures if isinstance(p, Photo)]
        assert len({p.id for p in pictures}) == len(collection.thing), "copies"
        assert min(np.asarray(p.image).std() for p in pictures) > 1, "a blank tile"
        seen = set(zip(collection.thing, collection.manner, strict=True))
        assert len(seen) == len(collection.thing), "a thing twice in one manner"
        assert set(collection.thing) == set(collection.names)
        relatives = np.unique(collection.family, return_counts=True)[1]
        assert relatives.min() > len(collection.thing) // len(collection.names), "no relative"


def test_one_thing_is_the_same_drawing_in_each_style() -> None:
    drawings = read_reference()[0]
    apple = next(i for i, name in drawings.names.items() if name == "red apple")
    rows = np.flatnonzero(drawings.thing == apple)
    assert list(drawings.manner[rows]) == [0, 1, 2]
    for row in rows:
        picture = drawings.pictures[row]
        assert isinstance(picture, Photo)
        red, green, blue = np.asarray(picture.image, float)[20:60, 20:52].mean(axis=(0, 1))
        assert red > 1.5 * max(green, blue)


def test_whose_the_pictures_are_is_said() -> None:
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    for row in LISTED["photos"]:
        assert row["licence"] == "http://creativecommons.org/licenses/by/2.0/"
        assert f"{row['file']}: {row['source']}" in notice
    for sheet in LISTED["sheets"]:
        assert f"tools/models/reference/{sheet}" in notice


def test_they_are_few_and_packed() -> None:
    files = {p.name for p in REFERENCE.iterdir()}
    photos = {row["file"] for row in LISTED["photos"]}
    assert files == {"reference.json", *LISTED["sheets"], *photos}
    assert sum((REFERENCE / name).stat().st_size for name in files) < 1_500_000
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packed = project["tool"]["setuptools"]["package-data"]["tools"]
    assert files <= {p.name for g in packed for p in (ROOT / "tools").glob(g)}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three concepts in two families, and two photos of which one may ship."""
    emoji, coco = tmp_path / "data" / "emoji", tmp_path / "data" / "coco128"
    emoji.mkdir(parents=True)
    coco.mkdir()
    records = []
    for name, colour, family in (
        ("red disc", "red", "round"), ("blue disc", "blue", "round"), ("box", "grey", "alone"),
    ):  # fmt: skip
        images = {}
        for jitter, style in enumerate(("noto", "twemoji", "fluent_3d")):
            images[style] = f"{style}-{colour}.png"
            drawing(colour, jitter=jitter, side=72).convert("RGBA").save(emoji / images[style])
        records.append(
            {"id": colour, "name": name, "group": "objects", "subgroup": family, "images": images}
        )
    (emoji / "annotations.json").write_text(json.dumps(records))
    by = "http://creativecommons.org/licenses/by/2.0/"
    photos = []
    for number, licence in ((285, by), (785, by.replace("by", "by-nc")), (1000, by)):
        Image.effect_noise((320, 200), 90).convert("RGB").save(coco / f"{number}.jpg")
        photos.append(
            {"id": number, "image": f"{number}.jpg", "license_url": licence, "flickr_url": "u"}
        )
    (coco / "annotations.json").write_text(json.dumps({"images": photos}))
    return tmp_path / "data"


def test_the_sheets_are_made_of_what_may_ship(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "reference"
    write_reference(data, out)
    drawings, photos = read_reference(out)
    assert sorted(drawings.names.values()) == ["blue disc", "red disc"]  # a box has no relative
    assert list(photos.names.values()) == ["brown bear"]
    assert len(drawings.pictures) == 6 and len(photos.pictures) == 8
    before = edition(out)
    write_reference(data, out)
    assert edition(out) == before
    (out / "reference.json").write_text((out / "reference.json").read_text() + " ")
    assert edition(out) != before


def test_a_folder_per_thing_is_listed(tmp_path: Path) -> None:
    for number in range(FEWEST_THINGS + 1):
        (tmp_path / f"thing_{number}").mkdir()
        for jitter in range(1 if number == 3 else 2):
            drawing(jitter=jitter).save(tmp_path / f"thing_{number}" / f"{jitter}.PNG")
    (tmp_path / "thing_0" / "notes.txt").write_text("no picture")
    found = read_folder(tmp_path)
    assert len(found.pictures) == 2 * FEWEST_THINGS
    assert sorted(found.names.values()) == [f"thing {i}" for i in range(9) if i != 3]
    assert all(p.is_relative_to(tmp_path) for p in found.pictures if isinstance(p, Path))


def test_a_folder_that_will_not_do(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="There is no folder"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(SettingsError, match="no folders in it"):
        read_folder(tmp_path)
    for number in range(FEWEST_THINGS):
        (tmp_path / str(number)).mkdir()
        drawing(jitter=number).save(tmp_path / str(number) / "one.png")
    with pytest.raises(SettingsError, match="has 0 folders with two readable pictures or more"):
        read_folder(tmp_path)
