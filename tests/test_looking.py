"""Things of a picture found, named and asked about one by one, by the pocket models."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from assistant import open_assistant
from assistant.build import Imprint
from tests.conftest import PICTURES
from tests.fakes import FakeAnswerer, FakeCaptioner, FakeEmbedder
from tools.colours import COLOURS, main_colour, spoken_colour
from tools.images import Photo, open_photo
from tools.looking import look_closer
from tools.models import Models
from tools.regions import find_regions
from tools.sight import Sight

SIDE = 400


def scene(*things: tuple[str, str, tuple[float, float, float]], ground: str = "white") -> Photo:
    """Shapes (kind, colour, (x, y, side) in shares) on a plain ground."""
    image = Image.new("RGB", (SIDE, SIDE), ground)
    draw = ImageDraw.Draw(image)
    for kind, colour, (x, y, side) in things:
        box = [v * SIDE for v in (x - side / 2, y - side / 2, x + side / 2, y + side / 2)]
        if kind == "circle":
            draw.ellipse(box, fill=COLOURS[colour])
        elif kind == "square":
            draw.rectangle(box, fill=COLOURS[colour])
        else:
            draw.polygon(
                [((box[0] + box[2]) / 2, box[1]), (box[2], box[3]), (box[0], box[3])],
                fill=COLOURS[colour],
            )
    return open_photo(image)


def drawing(name: str) -> Image.Image:
    return Image.open(next(PICTURES.glob(f"{name}.*"))).convert("RGBA")


def drawings(*placed: tuple[str, tuple[int, int], int]) -> Photo:
    """Drawings (name, place, side in pixels) on white."""
    image = Image.new("RGBA", (SIDE, SIDE), "white")
    for name, place, side in placed:
        picture = drawing(name).resize((side, side))
        image.paste(picture, place, picture)
    return open_photo(image.convert("RGB"))


THREE = (
    ("circle", "red", (0.2, 0.2, 0.24)),
    ("square", "blue", (0.8, 0.25, 0.16)),
    ("square", "blue", (0.5, 0.8, 0.3)),
)


@pytest.mark.parametrize("ground", ["white", "black", "orange"])
def test_things_on_a_plain_ground_are_found_apart(ground: str) -> None:
    found = find_regions(scene(*THREE, ground=ground))
    assert len(found) == 3
    colours = [main_colour(r.pixels) for r in found]
    assert [name for name, _ in colours] == ["red", "blue", "blue"]
    assert min(share for _, share in colours) > 0.99
    assert np.allclose(found[0].centre, (0.2, 0.2), atol=0.02)
    assert found[2].size == pytest.approx(0.3, abs=0.03)


def test_a_gradient_is_calm_and_noise_is_not() -> None:
    across = np.linspace(60, 200, SIDE)[None, :, None] * np.ones((SIDE, 1, 3))
    across[150:250, 150:250] = (250, 20, 20)
    gradient = open_photo(Image.fromarray(across.astype(np.uint8)))
    assert [main_colour(r.pixels)[0] for r in find_regions(gradient)] == ["red"]
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    assert find_regions(open_photo(Image.fromarray(noise).resize((SIDE, SIDE), 0))) == ()
    assert find_regions(open_photo(Image.new("RGB", (64, 64), "white"))) == ()


def test_soft_clouds_of_colour_are_a_calm_background() -> None:
    coarse = np.random.default_rng(1).integers(150, 250, (6, 6, 3)).astype(np.uint8)
    clouds = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    assert find_regions(open_photo(clouds)) == ()
    ImageDraw.Draw(clouds).ellipse((60, 60, 160, 160), fill=COLOURS["red"])
    ImageDraw.Draw(clouds).rectangle((240, 250, 340, 350), fill=COLOURS["blue"])
    found = find_regions(open_photo(clouds))
    assert [main_colour(r.pixels)[0] for r in found] == ["red", "blue"]
    around = np.asarray(clouds, int)[160:170, 60:160].reshape(-1, 3).mean(0)
    corner = np.asarray(found[0].photos[0].image, int)[0, 0]
    assert np.abs(corner - around).max() < 40, "it is shown on what is around it"


@pytest.mark.parametrize("side", [64, 150, 1200])
def test_edges_that_a_picture_was_enlarged_with_are_edges(side: int) -> None:
    things = (("circle", "gray", (0.3, 0.3, 0.3)), ("square", "gray", (0.7, 0.7, 0.3)))
    small = scene(*things, ground="#b8b8b8").image
    blurred = small.resize((64, 64), Image.Resampling.BOX).resize((side, side), 3)
    assert len(find_regions(open_photo(blurred))) == 2


def test_a_small_part_belongs_to_the_thing_beside_it_and_a_neighbour_does_not() -> None:
    lamp = (("square", "red", (0.5, 0.6, 0.3)), ("circle", "red", (0.5, 0.36, 0.1)))
    assert len(find_regions(scene(*lamp))) == 1
    apart = (("square", "red", (0.5, 0.6, 0.3)), ("circle", "red", (0.5, 0.15, 0.1)))
    assert len(find_regions(scene(*apart))) == 2
    beside = (("square", "red", (0.3, 0.5, 0.3)), ("square", "blue", (0.62, 0.5, 0.3)))
    assert len(find_regions(scene(*beside))) == 2


def test_specks_and_crowds_are_no_things() -> None:
    dots = [("circle", "red", (x / 8, y / 8, 0.08)) for x in range(1, 8) for y in range(1, 8)]
    assert find_regions(scene(*dots)) == ()
    assert len(find_regions(scene(THREE[0], ("square", "blue", (0.7, 0.7, 0.02))))) == 1


def test_a_thing_is_shown_alone_on_its_ground() -> None:
    first, *_ = find_regions(scene(*THREE, ground="black"))
    for photo in first.photos:
        pixels = np.asarray(photo.image, int).reshape(-1, 3)
        assert photo.size[0] == photo.size[1] >= 64
        assert pixels[0].max() == 0 and not (pixels[:, 2] > pixels[:, 0] + 60).any()
    tiny, *_ = find_regions(scene(("square", "red", (0.5, 0.5, 0.08))))
    assert tiny.photos[0].size == (64, 64)


@pytest.mark.parametrize(
    ("question", "wanted"),
    [
        ("Where is the circle?", "top left"),
        ("where's the red circle", "top left"),
        ("What colour is the circle?", "red"),
        ("what color are the squares?", "blue"),
        ("how many squares are there?", "2"),
        ("How many things are in the picture?", "3"),
        ("how many blue objects do you see?", "2"),
        ("how many are there?", "3"),
        ("how many green things are there?", "0"),
        ("is there a circle?", "yes"),
        ("is there a red square?", "no"),
        ("is there something blue?", "yes"),
        ("is anything yellow?", "no"),
        ("do you see a banana?", "no"),
        ("is the circle to the left of the square?", "yes"),
        ("is the circle below the square?", "no"),
        ("which is bigger, the circle or the square?", "square"),
    ],
)
def test_questions_about_several_things(
    pocket_imprint: Imprint, question: str, wanted: str
) -> None:
    two = THREE if "which" not in question and "left" not in question else (THREE[0], THREE[2])
    assert pocket_imprint.answer(scene(*two), question) == wanted


def test_a_taught_thing_is_found_among_others(pocket_imprint: Imprint) -> None:
    pocket_imprint.call("teach_label", [PICTURES / "dragon_noto.png"], label="zorb")
    photo = drawings(("dragon_fluent", (230, 230), 150), ("car_fluent", (10, 20), 150))
    assert pocket_imprint.answer(photo, "where is the zorb?") == "bottom right"
    assert pocket_imprint.answer(photo, "how many zorbs are there?") == "1"
    assert pocket_imprint.answer(photo, "is the zorb below the car?") == "yes"
    assert pocket_imprint.caption(photo).endswith(" and a zorb")
    pocket_imprint.call("rename_label", label="zorb", new="red thing")
    assert pocket_imprint.answer(photo, "where is the red thing?") == "bottom right"
    pocket_imprint.call("rename_label", label="red thing", new="zorb")
    without = drawings(("apple_fluent", (230, 230), 150), ("car_fluent", (10, 20), 150))
    assert pocket_imprint.answer(without, "is there a zorb?") == "no"
    assert pocket_imprint.answer(without, "how many zorbs do you see?") == "0"


def test_several_things_are_listed_by_what_the_embedder_is_sure_of(pocket_imprint: Imprint) -> None:
    photo = drawings(
        ("guitar_fluent", (10, 10), 150), ("guitar_fluent", (230, 20), 150),
        ("car_fluent", (120, 230), 150),
    )  # fmt: skip
    said = pocket_imprint.caption(photo)
    assert "two guitars" in said and " and " in said, said


def test_one_asks_for_places_in_ones_own_words(pocket_imprint: Imprint) -> None:
    chat = pocket_imprint.conversation()
    chat.send("this is a zorb", [PICTURES / "dragon_noto.png"])
    assert [c.name for c in chat.send("where is the zorb?").tool_calls] == ["answer_question"]
    photo = drawings(("dragon_fluent", (230, 230), 150), ("car_fluent", (10, 20), 150))
    assert chat.send("where's the zorb?", [photo]).text == "Bottom right."
    assert chat.send("Is the zorb to the left of the car?").text == "No."
    assert chat.send("what colour is the car?").text == "Red."
    assert [c.name for c in chat.send("show me the zorbs").tool_calls] == ["find_similar"]


def test_a_car_is_red_though_its_tyres_are_black() -> None:
    red, black, gray = ([[200, 30, 30]] * 40, [[20, 20, 20]] * 35, [[128, 128, 128]] * 25)
    pixels = np.array(red + black + gray, np.uint8)
    assert main_colour(pixels) == ("red", 0.4) and spoken_colour(pixels) == "red"
    assert spoken_colour(np.array(black + gray, np.uint8)) == "black"
    assert spoken_colour(np.array([[200, 30, 30]] * 10 + black + gray, np.uint8)) == "black"
    halves = np.array([[200, 30, 30], [45, 95, 215], [250, 210, 50]] * 9, np.uint8)
    assert spoken_colour(halves) == ""
    assert spoken_colour(pixels[:0]) == ""


def test_an_embedder_without_a_world_leaves_it_to_the_answerer(home: Path) -> None:
    answerer = FakeAnswerer("several")
    models = Models.of(embedder=FakeEmbedder(), captioner=FakeCaptioner(), answerer=answerer)
    with open_assistant(home=home, models=models) as imprint:
        assert imprint.answer(scene(*THREE), "how many squares are there?") == "several"
    assert answerer.asked == ["how many squares are there?"]


def test_one_thing_alone_is_the_answerers_but_for_its_colour(pocket: Models) -> None:
    sight, one = Sight(pocket), scene(("circle", "teal", (0.5, 0.5, 0.6)))
    assert look_closer(sight, one, "how many circles are there?") is None
    assert look_closer(sight, one, "what colour is it?") == "teal"
    assert look_closer(sight, one, "what colour is the background?") is None
