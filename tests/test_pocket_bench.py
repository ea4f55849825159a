"""The bench reads drawing styles from outside, and refuses what it cannot measure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from finetune.pocket.drawings import load_gallery
from tests.bench.pocket import said_things, with_styles


def _drawing(path: Path, colour: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.new("RGBA", (96, 96))
    ImageDraw.Draw(picture).ellipse((8, 8, 88, 88), fill=colour)
    picture.save(path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Fifty things in one style, and beside them two folders of a style of one's own."""
    rows = []
    for number in range(50):
        _drawing(tmp_path / "data" / "emoji" / "noto" / f"{number}.png", "red")
        _drawing(tmp_path / "mine" / "thick" / f"thing-{number}.png", "blue")
        _drawing(tmp_path / "mine" / "soft" / f"{number}.png", "green")
        rows.append(
            {"id": f"id{number}", "name": f"thing {number}", "tags": [], "group": "objects",
             "subgroup": "", "aliases": [], "gemoji_tags": [],
             "images": {"noto": f"noto/{number}.png"}}
        )  # fmt: skip
    emoji = tmp_path / "data" / "emoji"
    (emoji / "annotations.json").write_text(json.dumps(rows), "utf-8")
    (tmp_path / "data" / "easy_vqa").mkdir()
    mine = [{"id": f"id{n}", "images": {"thick": f"thick/thing-{n}.png"}} for n in range(50)]
    (tmp_path / "mine" / "annotations.json").write_text(json.dumps(mine), "utf-8")
    return tmp_path / "data"


def test_styles_from_outside_join_the_drawings(data: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    joined, styles = with_styles(
        data, [str(mine / "thick"), str(mine / "soft")], mine / "annotations.json",
        tmp_path / "joined",
    )  # fmt: skip
    assert styles == ["thick", "soft"] and (joined / "easy_vqa").is_dir()
    gallery = load_gallery(joined, styles=("noto", *styles))
    for style, colour in (("noto", "red"), ("thick", "blue"), ("soft", "green")):
        sprites = [gallery.sprite_of(c, style) for c in gallery.of_kind("drawing")]
        assert len(sprites) == 50 and None not in sprites
        assert gallery.colour_of[sprites[7] or 0] == colour, style
    assert with_styles(data, ["noto"], None, tmp_path / "unused") == (data, ["noto"])


def test_styles_that_cannot_be_measured_are_refused(data: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    annotations = tmp_path / "mine" / "annotations.json"
    for style, given, reason in (
        (tmp_path / "mine" / "thick", None, "--annotations"),
        (tmp_path / "nowhere", annotations, "not a folder"),
        (empty, annotations, "too few"),
    ):
        with pytest.raises(SystemExit, match=reason):
            with_styles(data, [str(style)], given, tmp_path / f"out-{style.name}-{given is None}")


def test_the_things_a_caption_names() -> None:
    assert said_things("two red apples, a cat and a duck on a blue background") == [
        "apples", "cat", "duck",
    ]  # fmt: skip
    assert said_things("a dog to the left of an animal") == ["dog", "animal"]
