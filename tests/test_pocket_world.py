"""The pocket world: what is said about a scene agrees with what was drawn, and chance is seeded."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from finetune.pocket.augment import backgrounds, cartoon, place, vary_style
from finetune.pocket.drawings import Gallery, dominant_colour, load_gallery, plain_name
from finetune.pocket.talk import (
    NUMBERS,
    a,
    caption,
    general_word,
    plural,
    questions,
    where,
)
from finetune.pocket.world import (
    Scene,
    Thing,
    chance_for,
    render_scenes,
    render_views,
    sample_scenes,
)
from tests.pocket_parts import make_drawings
from tools.colours import COLOURS


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    return load_gallery(make_drawings(tmp_path_factory.mktemp("data")))


def _concepts(gallery: Gallery) -> dict[str, int]:
    return {c.spoken: i for i, c in enumerate(gallery.concepts)}


def test_gallery_knows_names_styles_and_colours(gallery: Gallery) -> None:
    drawings = gallery.of_kind("drawing")
    assert [gallery.concepts[i].name for i in drawings] == ["apple", "box", "leaf"]
    assert len(gallery.of_kind("shape")) == 14
    for i, colour in zip(drawings, ("red", "blue", "green"), strict=True):
        assert {gallery.colour_of[s] for s in gallery.concepts[i].sprites} == {colour}
        assert {gallery.styles[gallery.style_of[s]] for s in gallery.concepts[i].sprites} == {
            "noto",
            "twemoji",
        }


def test_a_drawing_of_two_colours_has_no_colour() -> None:
    sprite = np.full((4, 72, 72), 255, np.uint8)
    sprite[:3, :, :36] = np.array(COLOURS["red"])[:, None, None]
    sprite[:3, :, 36:] = np.array(COLOURS["blue"])[:, None, None]
    assert dominant_colour(sprite) == ""


def test_names_as_people_say_them() -> None:
    assert plain_name("dog face") == "dog"
    assert plain_name("twelve o’clock") == "clock"
    assert plain_name("magnifying glass tilted left") == "magnifying glass"
    assert [a(n) for n in ("apple", "unicorn", "dog", "scissors")] == [
        "an apple",
        "a unicorn",
        "a dog",
        "scissors",
    ]
    wanted = {
        "box": "boxes", "cherry": "cherries", "leaf": "leaves", "glass of milk": "glasses of milk",
        "scissors": "scissors", "fish": "fish", "bus": "buses", "key": "keys",
        "nest with eggs": "nests with eggs",
    }  # fmt: skip
    assert {n: plural(n) for n in wanted} == wanted


def test_pixels_are_where_the_scene_says(gallery: Gallery) -> None:
    names = _concepts(gallery)
    red, blue = (gallery.concepts[names[n]].sprites[0] for n in ("apple", "box"))
    scene = Scene(
        (
            Thing(names["apple"], red, 0.25, 0.5, 0.4, "red"),
            Thing(names["box"], blue, 0.75, 0.5, 0.4, "blue"),
        ),
        "yellow",
        0,
    )
    picture = render_scenes(gallery, [scene], chance=chance_for(1), strength=0.0)[0]
    assert picture.shape == (3, 64, 64)

    def at(x: float, y: float) -> str:
        pixel = (picture[:, int(y * 64), int(x * 64)] * 255).numpy()
        return min(COLOURS, key=lambda c: float(np.abs(pixel - COLOURS[c]).sum()))

    assert (at(0.25, 0.5), at(0.75, 0.5), at(0.5, 0.1)) == ("red", "blue", "yellow")


def test_caption_counts_and_colours(gallery: Gallery) -> None:
    names = _concepts(gallery)
    apple = gallery.concepts[names["apple"]].sprites[0]
    box = gallery.concepts[names["box"]].sprites[0]
    scene = Scene(
        (
            Thing(names["apple"], apple, 0.27, 0.27, 0.3, "red"),
            Thing(names["apple"], apple, 0.73, 0.27, 0.3, "red"),
            Thing(names["box"], box, 0.5, 0.73, 0.3, "blue"),
        ),
        "yellow",
        0,
    )
    said = {caption(gallery, scene, np.random.default_rng(i)) for i in range(40)}
    assert said == {
        f"two {one}apples and a {other}box{end}"
        for one, other in (("", ""), ("red ", "blue "))
        for end in ("", " on a yellow background")
    }


def test_a_caption_may_say_the_general_word_of_a_thing(gallery: Gallery) -> None:
    names = _concepts(gallery)
    apple = names["apple"]
    concepts = [replace(c, tags=(*c.tags, "fruit")) if i == apple else c
                for i, c in enumerate(gallery.concepts)]  # fmt: skip
    fruity = replace(gallery, concepts=concepts)
    assert general_word(fruity, apple) == "fruit" and general_word(gallery, apple) == ""
    sprite = gallery.concepts[apple].sprites[0]
    scene = Scene((Thing(apple, sprite, 0.5, 0.5, 0.8, "red"),), "white", 0)
    said = [caption(fruity, scene, np.random.default_rng(i), general=0.5) for i in range(60)]
    assert set(said) == {"a fruit", "an apple", "a red apple"}
    assert 15 < said.count("a fruit") < 45
    assert caption(gallery, scene, np.random.default_rng(0), general=1.0).endswith("apple")


def _true_answers(gallery: Gallery, scene: Scene, question: str) -> str | None:
    """What the scene's record says, worked out here from the words of the question alone."""
    spoken = [gallery.concepts[t.concept].spoken for t in scene.things]
    if m := re.match(r"how many (\w+) ", question):
        things = m[1] in ("things", "objects")
        return str(len(spoken) if things else sum(plural(n) == m[1] for n in spoken))
    if m := re.match(r"where is the (\w+)\?", question):
        return where(scene.things[spoken.index(m[1])])
    if m := re.match(
        r"is the (\w+) (?:to the )?(left of|right of|above|below) the (\w+)\?", question
    ):
        one, other = (scene.things[spoken.index(m[i])] for i in (1, 3))
        truth = {
            "left of": one.x < other.x, "right of": one.x > other.x,
            "above": one.y < other.y, "below": one.y > other.y,
        }[m[2]]  # fmt: skip
        return "yes" if truth else "no"
    if m := re.search(r"(?:there|see|contain|this|it) an? (\w+)( in the picture)?\?", question):
        colours = {t.colour for t in scene.things}
        return "yes" if m[1] in (*spoken, *colours) else "no"
    if m := re.match(r"what colou?r (?:is|are) (?:the )?(\w+)\?", question):
        if m[1] == "background":
            return scene.background
        of = {t.colour for t, n in zip(scene.things, spoken, strict=True)
              if m[1] in ("it", "this", n, plural(n))}  # fmt: skip
        return of.pop() if len(of) == 1 else None
    return None


def test_answers_are_true_and_yes_is_as_likely_as_no(gallery: Gallery) -> None:
    concepts = gallery.of_kind("drawing")
    rng = np.random.default_rng(0)
    checked = 0
    yes: list[bool] = []
    for scene in sample_scenes(gallery, 400, concepts=concepts, seed=3):
        for asked in questions(gallery, scene, rng, concepts):
            truth = _true_answers(gallery, scene, asked.question)
            if truth is not None:
                assert asked.answer == truth, (scene, asked)
                checked += 1
            if asked.kind in ("exists", "relation") and asked.answer in ("yes", "no"):
                yes.append(asked.answer == "yes")
    assert checked > 1000
    assert 0.4 < sum(yes) / len(yes) < 0.62


def test_captions_name_the_right_number_of_every_thing(gallery: Gallery) -> None:
    rng = np.random.default_rng(1)
    concepts = gallery.of_kind("drawing")
    for scene in sample_scenes(gallery, 200, concepts=concepts, seed=4):
        text = caption(gallery, scene, rng)
        for concept in {t.concept for t in scene.things}:
            same = [t for t in scene.things if t.concept == concept]
            name = gallery.concepts[concept].spoken
            if len({t.colour for t in same}) == 1 and len(same) > 1:
                assert re.search(rf"{NUMBERS[len(same)]} (\w+ )?{plural(name)}", text), (
                    text,
                    scene,
                )
            else:
                assert name in text


def test_things_stay_on_the_canvas(gallery: Gallery) -> None:
    for scene in sample_scenes(gallery, 300, concepts=gallery.of_kind("drawing"), seed=5):
        assert 1 <= len(scene.things) <= 4
        for thing in scene.things:
            for centre in (thing.x, thing.y):
                assert centre - thing.size / 2 > -0.12 and centre + thing.size / 2 < 1.12


def test_equal_seeds_give_equal_pictures(gallery: Gallery) -> None:
    sprites = np.arange(len(gallery.sprites))
    one, same, other = (
        render_views(gallery, sprites, chance=chance_for(seed)) for seed in (5, 5, 6)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    concepts = gallery.of_kind("drawing")
    first = sample_scenes(gallery, 20, concepts=concepts, seed=1)
    assert first == sample_scenes(gallery, 20, concepts=concepts, seed=1)
    assert first != sample_scenes(gallery, 20, concepts=concepts, seed=2)


def test_variation_keeps_pictures_in_range(gallery: Gallery) -> None:
    sprites = np.tile(np.arange(len(gallery.sprites)), 8)
    photos = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)
    views = render_views(gallery, sprites, chance=chance_for(9), strength=1.0, photos=photos)
    assert views.shape == (len(sprites), 3, 64, 64)
    assert torch.isfinite(views).all() and views.min() >= 0 and views.max() <= 1
    assert backgrounds(50, chance_for(1), photos=photos).shape == (50, 3, 64, 64)


def test_variation_changes_style_but_not_place(gallery: Gallery) -> None:
    sprite = torch.from_numpy(gallery.sprites[:1]).float() / 255
    half = torch.tensor([0.5])
    layer = place(sprite, x=half, y=half, size=torch.tensor([0.6])).repeat(64, 1, 1, 1)
    varied = vary_style(layer, 1.0, chance_for(2))
    assert torch.equal(vary_style(layer, 0.0, chance_for(2)), layer)
    assert (varied - layer).abs().mean() > 0.02
    # An outline may grow a silhouette by two pixels; no manner moves it or empties it.
    rows = (layer[0, 3] > 0.01).nonzero()
    low, high = rows.min(0).values - 2, rows.max(0).values + 3
    outside = varied[:, 3].clone()
    outside[:, low[0] : high[0], low[1] : high[1]] = 0
    assert outside.max() < 1e-6
    assert (varied[:, 3].sum((1, 2)) > 40).all()


def test_a_cartoon_has_few_colours_and_a_dark_rim(gallery: Gallery) -> None:
    sprite = torch.from_numpy(gallery.sprites[:1]).float() / 255  # a red disc
    shaded = sprite.clone()
    shaded[:, :3] *= torch.linspace(0.3, 1, 72)[None, None, :, None]
    half = torch.tensor([0.5])
    layer = place(shaded, x=half, y=half, size=torch.tensor([0.8])).repeat(16, 1, 1, 1)
    inked = cartoon(layer, chance_for(4))
    alpha = inked[:, 3:]
    assert (inked[:, :3] <= alpha + 1e-5).all() and inked.min() >= 0, "premultiplied, in range"
    assert (alpha.sum((1, 2, 3)) > layer[:, 3:].sum((1, 2, 3))).all(), "the line lies outside too"

    def covered(picture: torch.Tensor) -> float:
        """Share of the inside that its four commonest colours cover."""
        inside = (picture[:3, picture[3] > 0.99] * 32).round()
        counts = torch.unique(inside, dim=1, return_counts=True)[1].sort(descending=True).values
        return float(counts[:4].sum() / counts.sum())

    assert covered(layer[0]) < 0.6
    assert all(covered(picture) > 0.75 for picture in inked)
    core = -torch.nn.functional.max_pool2d(-layer[:1, 3:], 3, 1, 1)[0, 0]
    rim = (layer[0, 3] > 0.95) & (core < 0.5)
    assert rim.any() and inked[:, :3, rim].amax(1).mean() < 0.3, "ink on the silhouette"


def test_invented_characters_are_alike_among_themselves_and_always_the_same(
    tmp_path: Path,
) -> None:
    gallery = load_gallery(make_drawings(tmp_path), invented=12)
    again = load_gallery(make_drawings(tmp_path), invented=12)
    assert np.array_equal(gallery.sprites, again.sprites)
    made = gallery.of_kind("character")
    assert len(made) == 12 and all(len(gallery.concepts[c].sprites) == 6 for c in made)
    pixels = torch.from_numpy(gallery.sprites[:, 3].astype(np.float32))[:, None]
    soft = torch.nn.functional.avg_pool2d(pixels, 9, 4).flatten(1)
    soft = torch.nn.functional.normalize(soft - soft.mean(1, keepdim=True), dim=1)
    rows = [list(gallery.concepts[c].sprites) for c in made]
    within = torch.stack([(soft[r] @ soft[r].T)[0, 1:].mean() for r in rows])
    between = torch.stack([soft[a[0]] @ soft[b[0]] for a in rows for b in rows if a is not b])
    assert within.mean() > between.mean() + 0.3


def test_turned_views_are_the_eight_symmetries_of_a_square(gallery: Gallery) -> None:
    leaf = gallery.concepts[_concepts(gallery)["leaf"]].sprites[0]
    views = render_views(gallery, [leaf] * 8, chance=chance_for(1), strength=0, turned=np.arange(8))
    for symmetry in range(8):
        picture = views[0].flip(-1) if symmetry >= 4 else views[0]
        expected = torch.rot90(picture, symmetry % 4, (-2, -1))
        torch.testing.assert_close(views[symmetry], expected, atol=2e-3, rtol=0)
    assert not torch.allclose(views[0], views[1], atol=0.05)
