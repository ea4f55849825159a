"""The teaching gate: what it says of clean and of spoilt pictures, and that it never blocks."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from assistant.build import Imprint
from assistant.turns import Reply
from tests.bench.quality import SETS, SPOILT, pictures, rate
from tests.conftest import PICTURES
from tests.fakes import drawing
from tools.artifacts import Change, Concern, from_json, to_json
from tools.images import Photo, open_photo
from tools.quality import inspect, same_thing_as, sharpness, thumbnail_difference, warning

DRAWINGS = sorted(p for p in PICTURES.iterdir() if p.suffix == ".png")


def shape(side: int, width: int = 0) -> Image.Image:
    """A solid shape, or (``width``) a line drawing."""
    image = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(image)
    box = (side // 5, side // 4, side - side // 5, side - side // 3)
    if width:
        draw.arc(box, 20, 300, fill="black", width=width)
        draw.line((side // 8, side // 8, side - side // 6, side // 2), fill="black", width=width)
    else:
        draw.ellipse(box, fill=(250, 220, 40))
    return image


CLEAN = {
    **{p.stem: open_photo(p).image for p in sorted(PICTURES.iterdir())},
    "a solid shape": shape(96),
    "a large one": shape(700),
    "lines": shape(105, 3),
    "thin lines": shape(300, 3),
    "the smallest": shape(28),
}


def kinds(image: Image.Image) -> list[str]:
    return [c.kind for c in inspect(Photo(image))]


def blurred(image: Image.Image, share: float = 0.04) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(share * max(image.size)))


@pytest.mark.parametrize("image", CLEAN.values(), ids=CLEAN)
def test_a_clean_picture_raises_no_concern(image: Image.Image) -> None:
    assert kinds(image) == []


@pytest.mark.parametrize("name", [n for n in CLEAN if n != "the smallest"])
def test_spoilt_pictures_raise_theirs(name: str) -> None:
    image = CLEAN[name]
    # Thin lines become nearly white when they are blurred, and that is told first.
    assert kinds(blurred(image))[-1] == "blurred"
    assert kinds(blurred(image, 0.1))[-1] in ("blurred", "blank"), "beyond every step"
    assert kinds(ImageEnhance.Brightness(image).enhance(0.15))[0] in ("dark", "blank")
    assert "bright" in kinds(image.point(lambda v: 225 + v * 30 // 255))
    assert kinds(image.point(lambda v: 120 + v // 20)) == ["blank"]


def test_a_tiny_picture_is_told_and_a_garment_of_28_pixels_is_not() -> None:
    assert "tiny" in kinds(shape(20))
    assert "tiny" not in kinds(shape(28))
    assert kinds(Image.new("RGB", (16, 16), "white")) == ["blank", "tiny"]


def test_a_blurred_background_is_no_fault() -> None:
    scene = CLEAN["photo_bear"].resize((320, 240))
    soft = blurred(scene, 0.04)
    assert kinds(soft) == ["blurred"]
    soft.paste(open_photo(DRAWINGS[0]).image.resize((110, 110)), (100, 60))
    assert kinds(soft) == []


def test_sharpness_does_not_depend_on_size_or_contrast() -> None:
    for image in (shape(96), CLEAN["photo_bear"]):
        faint = image.point(lambda v: 100 + v // 3)
        values = [sharpness(Photo(i)) for i in (image, faint, blurred(image), blurred(faint))]
        sharp, sharp_faint, soft, soft_faint = (v for v in values if v is not None)
        assert sharp == pytest.approx(sharp_faint, abs=0.12) and sharp > 0.6
        assert soft == pytest.approx(soft_faint, abs=0.12) and soft < 0.45
    assert sharpness(Photo(Image.new("RGB", (64, 64), "grey"))) is None


@pytest.mark.parametrize("name", SETS)
def test_the_rates_hold_on_a_sample_of_the_data(name: str) -> None:
    data = os.environ.get("BENCH_DATA")
    if not data:
        pytest.skip("BENCH_DATA names no folder of picture sets")
    images = pictures(Path(data), name, 40)
    assert rate("blurred dark blank tiny", images) == 0
    assert rate("bright", images) <= 0.05
    spoil = SPOILT["blur 5 %"][1]
    assert rate("blurred", [spoil(i) for i in images]) >= 0.85


def test_a_copy_is_a_copy_in_pixels_too() -> None:
    image = open_photo(DRAWINGS[0]).image
    photo = Photo(image)
    again = Photo(image.resize((60, 60), Image.Resampling.LANCZOS))
    darker = Photo(ImageEnhance.Brightness(image).enhance(0.8))
    assert thumbnail_difference(photo, again) < 4 and thumbnail_difference(photo, darker) < 4
    others = [Photo(open_photo(p).image) for p in DRAWINGS[1:]]
    assert min(thumbnail_difference(photo, o) for o in others) > 12


# --- sentences ------------------------------------------------------------------------------------


def concern(kind: str, photo: str = "a", label: str = "", probability: float = 0.0) -> Concern:
    return Concern(kind, photo, label, probability=probability)  # type: ignore[arg-type]


COPY = concern("copy", label="zorb")
LIKE = concern("like", label="blick", probability=0.93)
ASK = "the same thing or a new one?"
BETTER = "a clearer picture would teach me more."


@pytest.mark.parametrize(
    ("concerns", "pictures", "same_as", "sentence"),
    [
        ([], 1, "", ""),
        ([concern("blurred")], 1, "", f"It is blurred: {BETTER}"),
        ([concern("blurred"), concern("dark")], 1, "", f"It is very dark and blurred: {BETTER}"),
        (
            [concern("tiny"), concern("blurred"), concern("dark")],
            1,
            "",
            f"It is very dark and blurred: {BETTER}",
        ),
        (
            [COPY],
            1,
            "",
            "It is nearly a copy of one you showed me: another view would teach me more.",
        ),
        (
            [COPY, concern("blurred")],
            1,
            "",
            "It is blurred and nearly a copy of one you showed me: another view would teach "
            "me more.",
        ),
        (
            [concern("like", label="Rex", probability=0.8)],
            1,
            "Rex",
            f"It looks like Rex (80 %): {ASK}",
        ),
        ([LIKE], 1, "blick", f"It looks like your blick (93 %): {ASK}"),
        (
            [LIKE, concern("blurred")],
            1,
            "blick",
            f"It is blurred and looks like your blick (93 %): {ASK}",
        ),
        (
            [LIKE],
            1,
            "",
            "It looks like your blick (93 %): if that is what it is, say “it's a blick”.",
        ),
        (
            [concern("copy", label="Rex")],
            1,
            "Rex",
            f"It is nearly the picture you showed me as Rex: {ASK}",
        ),
        (
            [concern("blurred", "a"), concern("blurred", "b")],
            5,
            "",
            "Two of these five are blurred.",
        ),
        ([concern("blurred", "a"), concern("blurred", "b")], 2, "", "Both are blurred."),
        (
            [concern("blurred", "a"), concern("dark", "b"), concern("dark", "c")],
            3,
            "",
            "Two of these three are very dark, and one is blurred.",
        ),
        (
            [concern("blurred", "a"), concern("copy", "b", "zorb")],
            12,
            "",
            "One of these 12 is blurred, and one is nearly a copy of what you showed me.",
        ),
        (
            [concern("like", "a", "blick", 0.9), concern("like", "b", "blick", 0.8)],
            2,
            "blick",
            f"They look like your blick: {ASK}",
        ),
        (
            [concern("like", "a", "blick", 0.9), concern("dark", "b")],
            2,
            "blick",
            f"One of these two is very dark, and most of them look like your blick: {ASK}",
        ),
        ([concern("like", "a", "blick", 0.9)], 5, "", ""),
    ],
)
def test_one_sentence_of_the_most_important(
    concerns: list[Concern], pictures: int, same_as: str, sentence: str
) -> None:
    assert warning(concerns, "zorb", pictures, same_as) == sentence


def test_it_is_asked_about_the_label_that_half_of_the_pictures_look_like() -> None:
    like = [concern("like", str(i), "blick") for i in range(2)]
    assert same_thing_as([*like, concern("like", "9", "mop")], "zorb", 4) == "blick"
    assert same_thing_as(like, "zorb", 5) == ""
    assert same_thing_as(like, "Blick", 2) == "", "its own name is not another thing"


# --- in chat --------------------------------------------------------------------------------------


def change_of(reply: Reply) -> Change:
    change = reply.artifacts[0]
    assert isinstance(change, Change)
    return change


def test_teaching_warns_stores_the_concerns_and_goes_on(pocket_imprint: Imprint) -> None:
    chat = pocket_imprint.conversation()
    first = open_photo(PICTURES / "dragon_noto.png").image
    assert chat.send("this is a zorb", [first]).text == "Learned zorb (1 picture)."
    other = open_photo(PICTURES / "dragon_fluent.png").image
    reply = chat.send("this is a zorb", [blurred(other)])
    assert reply.text == f"Learned zorb (2 pictures). It is blurred: {BETTER}"
    concerns = change_of(reply).concerns
    assert [(c.kind, c.photo_id) for c in concerns] == [("blurred", chat.photo_ids[1])]
    assert from_json(to_json(change_of(reply))) == change_of(reply)
    again = first.resize((66, 66), Image.Resampling.LANCZOS)
    reply = chat.send("this is a zorb", [again])
    assert "It is nearly a copy of one you showed me" in reply.text
    assert change_of(reply).concerns[0].other_photo_id == chat.photo_ids[0]
    assert change_of(reply).count == 3, "a warning keeps no picture out"
    things = [open_photo(PICTURES / f"{x}_noto.png").image for x in ("rocket", "turtle", "guitar")]
    several = [blurred(things[0]), things[1], blurred(things[2])]
    reply = chat.send("these are zorbs", several)
    assert reply.text == "Learned zorb (6 pictures). Two of these three are blurred."
    assert chat.send("this is a zorb", [first]).text == "I already know this picture as zorb."


def test_pictures_of_one_message_may_copy_each_other(pocket_imprint: Imprint) -> None:
    first = open_photo(PICTURES / "rocket_noto.png").image
    again = first.resize((66, 66), Image.Resampling.LANCZOS)
    reply = pocket_imprint.conversation().send("these are zorbs", [first, again])
    assert reply.text.endswith("One of these two is nearly a copy of what you showed me.")


def test_different_drawings_are_no_copies_and_no_rivals(pocket_imprint: Imprint) -> None:
    chat = pocket_imprint.conversation()
    for thing in ("dragon", "rocket", "turtle", "guitar"):
        for style in ("noto", "fluent"):
            reply = chat.send(f"this is a {thing}er", [PICTURES / f"{thing}_{style}.png"])
            assert not any(c.kind == "copy" for c in change_of(reply).concerns), reply.text


def test_a_correction_is_checked_too(imprint: Imprint) -> None:
    chat = imprint.conversation()
    chat.send("this is a zorb", [drawing("red")])
    chat.send("what is this?", [blurred(drawing("red", jitter=2))])
    reply = chat.send("no, it's a blick")
    assert reply.text.endswith(f"I now have 1 picture of blick. It is blurred: {BETTER}")


def test_a_lost_picture_does_not_keep_a_new_one_out(imprint: Imprint) -> None:
    chat = imprint.conversation()
    chat.send("this is a zorb", [drawing("red")])
    for path in imprint.memory.photos.path(chat.photo_ids[0]).parent.glob("*.png"):
        path.unlink()
    reply = chat.send("this is a zorb", [drawing("red", jitter=1)])
    assert reply.text.startswith("Learned zorb (2 pictures).")


@pytest.mark.parametrize("answer", ["the same", "same thing", "It's the same thing.", "a blick"])
def test_the_same_thing_is_merged(imprint: Imprint, answer: str) -> None:
    chat = imprint.conversation()
    chat.send("this is a blick", [drawing("red")])
    reply = chat.send("this is a gromp", [drawing("red", jitter=1)])
    assert change_of(reply).same_as == "blick" and reply.text.endswith(ASK)
    assert reply.options == ("the same thing", "a new one", "undo")
    merged = chat.send(answer)
    assert [c.name for c in merged.tool_calls] == ["merge_labels"], merged.text
    assert [x.name for x in imprint.memory.state.labels.values()] == ["blick"]
    assert len(imprint.memory.state.exemplars) == 2
    assert "two labels again" in chat.send("undo").text


@pytest.mark.parametrize("answer", ["new", "a new one", "different", "no", "a gromp"])
def test_a_new_one_is_kept(imprint: Imprint, answer: str) -> None:
    chat = imprint.conversation()
    chat.send("this is a blick", [drawing("red")])
    chat.send("this is a gromp", [drawing("red", jitter=1)])
    reply = chat.send(answer)
    assert reply.text == "All right: gromp and blick stay two things." and not reply.tool_calls
    assert len(imprint.memory.state.labels) == 2
    # The question is closed: the same word means something else now.
    assert [c.name for c in chat.send("same thing").tool_calls] == ["compare_images"]


def test_yes_is_no_answer_and_a_new_picture_neither(imprint: Imprint) -> None:
    chat = imprint.conversation()
    chat.send("this is a blick", [drawing("red")])
    chat.send("this is a gromp", [drawing("red", jitter=1)])
    assert chat.send("yes").text == f"Gromp and blick: {ASK}"
    assert chat.send("the same").tool_calls[0].name == "merge_labels"
    chat.send("this is a mop", [drawing("red", jitter=-1)])
    reply = chat.send("same", [drawing("blue")])
    assert "merge_labels" not in [c.name for c in reply.tool_calls]


def test_of_a_label_that_has_pictures_it_is_not_asked(imprint: Imprint) -> None:
    chat = imprint.conversation()
    chat.send("this is a blick", [drawing("red")])
    chat.send("this is a gromp", [drawing("blue", "cross")])
    reply = chat.send("this is a gromp", [drawing("red", jitter=1)])
    assert change_of(reply).same_as == "" and reply.text.endswith("say “it's a blick”.")
    moved = chat.send("it's a blick")
    assert "I had it as gromp before" in moved.text
    assert len(imprint.memory.state.of(imprint.memory.label("blick").id)) == 2


def test_a_weak_doubt_about_a_label_that_has_pictures_is_not_told(imprint: Imprint) -> None:
    chat = imprint.conversation()
    chat.send("this is a blick", [drawing("red")])
    chat.send("this is a gromp", [drawing("blue", "cross")])
    found = {j: imprint.classify(drawing("red", jitter=j)) for j in range(6, 12)}
    known = {j: f.candidates[0].probability for j, f in found.items() if f.label == "blick"}
    strong = next(j for j, p in known.items() if p > 0.92)
    weak = next(j for j, p in known.items() if p < 0.88)
    assert chat.send("this is a gromp", [drawing("red", jitter=weak)]).text.endswith("2 pictures).")
    chat.send("undo")
    told = chat.send("this is a gromp", [drawing("red", jitter=strong)]).text
    assert "It looks like your blick (" in told and told.endswith("say “it's a blick”.")
    chat.send("undo")
    asked = chat.send("this is a wug", [drawing("red", jitter=weak)]).text
    assert asked.endswith(ASK), "of a new label it is asked all the same"


def test_a_transcript_from_before_the_gate_still_opens() -> None:
    stored = to_json(Change("taught", "zorb", ("p",), 1))
    del stored["concerns"], stored["same_as"]
    assert from_json(stored) == Change("taught", "zorb", ("p",), 1)


def test_inspecting_is_quick() -> None:
    import time

    photo = Photo(Image.fromarray(np.zeros((1280, 1280, 3), np.uint8)))
    started = time.perf_counter()
    inspect(photo)
    assert time.perf_counter() - started < 1.0
