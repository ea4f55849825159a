"""How well what was taught is known: each picture judged by the others, in words and as data."""

from pathlib import Path

import pytest
from PIL import Image

from assistant.build import Imprint
from assistant.turns import Reply
from tests.conftest import PICTURES
from tests.fakes import drawing
from tools.artifacts import from_json, to_json
from tools.errors import UnknownLabel
from tools.knowledge import wilson
from tools.report import KnowledgeReport, LabelReport


def picture(name: str) -> Path:
    return next(PICTURES.glob(f"{name}.*"))


def report_of(reply: Reply) -> KnowledgeReport:
    report = reply.artifacts[0]
    assert isinstance(report, KnowledgeReport)
    return report


def ask(imprint: Imprint, text: str = "what should I show you next?") -> Reply:
    reply = imprint.conversation("main").send(text)
    assert [(c.name, c.ok) for c in reply.tool_calls] == [("report_knowledge", True)], reply.text
    return reply


def teach(imprint: Imprint, label: str, *pictures: object) -> None:
    for shown in pictures:
        imprint.call("teach_label", [shown], label=label)


def row(report: KnowledgeReport, name: str) -> LabelReport:
    return next(x for x in report.labels if x.name == name)


def test_wilson_s_interval() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263 and 0 of 20.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(20, 20) == pytest.approx((0.8389, 1.0), abs=1e-4)


def test_nothing_taught(imprint: Imprint) -> None:
    reply = ask(imprint)
    assert reply.text.startswith("Nothing yet.")
    assert report_of(reply).labels == ()


def test_one_picture_is_too_few_and_the_next_one_is_wanted(imprint: Imprint) -> None:
    teach(imprint, "zorb", drawing("red"))
    reply = ask(imprint)
    assert reply.text == (
        "I know 1 thing from 1 picture: too few to tell how well. "
        "Most worth showing next: another zorb, because I have only one picture of it."
    )
    assert report_of(reply).overall.asked == 0


def test_a_label_without_pictures_left(imprint: Imprint) -> None:
    teach(imprint, "zorb", drawing("red"))
    teach(imprint, "blick", drawing("red"))  # moves the only picture
    assert "Most worth showing next: a zorb, because I have no picture of it." in ask(imprint).text


def test_two_pictures_are_too_few_and_three_are_not(imprint: Imprint) -> None:
    teach(imprint, "zorb", drawing("red"), drawing("red", jitter=3))
    report = report_of(ask(imprint))
    accuracy = row(report, "zorb").accuracy
    assert (accuracy.asked, accuracy.low) == (2, None) and row(report, "zorb").worst is None
    teach(imprint, "zorb", drawing("red", jitter=-3))
    reply = ask(imprint)
    accuracy = row(report_of(reply), "zorb").accuracy
    assert (accuracy.right, accuracy.asked) == (3, 3)
    assert (accuracy.low, accuracy.high) == wilson(3, 3)
    assert "I get 3 of 3 right (100 %, likely between 44 and 100 %)" in reply.text


def test_near_copies_say_little_and_another_side_is_wanted(imprint: Imprint) -> None:
    teach(imprint, "zorb", *(drawing("red", jitter=j) for j in (0, 1, 2)))
    reply = ask(imprint)
    assert row(report_of(reply), "zorb").alike
    assert reply.text.endswith(
        "Most worth showing next: a zorb from another side or in another style, "
        "because its 3 pictures are nearly the same."
    )


def test_labels_that_are_mixed_up_are_named_with_the_picture(imprint: Imprint) -> None:
    # A blick that looks like the zorbs, and zorbs that do not look like each other's rivals.
    teach(imprint, "zorb", *(drawing("red", jitter=j) for j in (0, 2, 4)))
    teach(imprint, "blick", *(drawing("blue", "cross", jitter=j) for j in (0, 2, 4)))
    teach(imprint, "blick", drawing("red", jitter=3))
    reply = ask(imprint, "which ones do you mix up?")
    report = report_of(reply)
    mixed = report.confusion
    assert mixed is not None
    assert (mixed.label, mixed.other, mixed.taken, mixed.reverse) == ("blick", "zorb", 1, 0)
    stray = imprint.conversation("x")
    stray.send("", [drawing("red", jitter=3)])
    assert mixed.photo_id == stray.photo_ids[0]
    worst = report.worst
    assert worst is not None and worst.photo_id == mixed.photo_id and worst.probability < 0.5
    assert row(report, "blick").accuracy.right == 3 and row(report, "zorb").accuracy.right == 3
    assert "I took 1 picture of blick for zorb." in reply.text
    assert "The picture that fits least is this blick (" in reply.text
    assert reply.text.endswith(
        "another blick like the one I took for a zorb, because I mix up the two."
    )


def test_a_label_s_report_tells_of_its_own_mistakes_only(imprint: Imprint) -> None:
    teach(imprint, "zorb", *(drawing("red", jitter=j) for j in (0, 2, 4)))
    teach(imprint, "blick", *(drawing("blue", "cross", jitter=j) for j in (0, 2)))
    teach(imprint, "blick", drawing("red", jitter=3))
    teach(imprint, "mop", *(drawing("green", "box", jitter=j) for j in (0, 3, 6)))
    for name, mixed in (("blick", True), ("zorb", True), ("mop", False)):
        report = report_of(ask(imprint, f"how well do you know {name}s?"))
        assert [x.name for x in report.labels] == [name]
        assert (report.confusion is not None) is mixed, name


@pytest.mark.parametrize(("name", "wanted"), [("Rex", "Rex"), ("scissors", "scissors")])
def test_names_that_take_no_article(imprint: Imprint, name: str, wanted: str) -> None:
    teach(imprint, name, drawing("red"))
    told = ask(imprint).text
    assert f"another picture of {wanted}, because I have only one" in told


def test_one_label_is_reported_alone(imprint: Imprint) -> None:
    teach(imprint, "zorb", *(drawing("red", jitter=j) for j in (0, 2, 4)))
    teach(imprint, "blick", drawing("blue", "cross"))
    reply = ask(imprint, "how well do you know zorbs?")
    assert reply.text.startswith("Zorb, 3 pictures: asked about each as if I had not seen it, ")
    assert "blick" not in reply.text
    report = report_of(reply)
    assert [x.name for x in report.labels] == ["zorb"] and report.overall.asked == 3
    with pytest.raises(UnknownLabel, match="zorb, blick"):
        imprint.call("report_knowledge", label="gromp")


def test_what_fits_nothing_is_said_to_be_missed(imprint: Imprint) -> None:
    stray = Image.new("RGB", (64, 64), "white")
    stray.paste((50, 80, 220), (8, 8, 20, 20))  # not like a blick, and less like a zorb
    teach(imprint, "zorb", drawing("red"), drawing("red", jitter=3), stray)
    teach(imprint, "blick", *(drawing("blue", "box", jitter=j) for j in (-3, 0, 3)))
    reply = ask(imprint)
    assert report_of(reply).confusion is None, "what is taken for nothing is mixed up with nothing"
    assert row(report_of(reply), "zorb").unrecognised >= 1
    assert "at all." in reply.text
    assert "another zorb, because I would have missed" in reply.text


def test_uneven_classes_are_told(imprint: Imprint) -> None:
    teach(imprint, "zorb", *(drawing("red", jitter=j) for j in range(-4, 5, 2)))
    teach(imprint, "zorb", drawing("red", side=96))
    teach(imprint, "blick", drawing("blue", "cross"))
    reply = ask(imprint)
    assert "The pictures are uneven: 6 of zorb, 1 of blick." in reply.text
    assert "Of blick I have too few to tell." in reply.text
    assert "another blick, because I have only one picture of it." in reply.text


def test_it_survives_json_and_changes_nothing(imprint: Imprint) -> None:
    teach(imprint, "zorb", *(drawing("red", jitter=j) for j in (0, 2, 4)))
    teach(imprint, "blick", drawing("blue", "cross"), drawing("red", jitter=3))
    revision = imprint.memory.revision
    report = report_of(ask(imprint))
    assert from_json(to_json(report)) == report
    assert imprint.memory.revision == revision


def test_a_negative_is_no_picture_of_a_label(imprint: Imprint) -> None:
    chat = imprint.conversation("main")
    teach(imprint, "zorb", *(drawing("red", jitter=j) for j in (0, 2, 4)))
    chat.send("what is this?", [drawing("red", jitter=1)])
    chat.send("no")
    report = report_of(ask(imprint))
    assert row(report, "zorb").count == 3 and report.overall.asked == 3


def test_with_the_shipped_models(pocket_imprint: Imprint) -> None:
    for thing in ("dragon", "rocket"):
        teach(pocket_imprint, f"{thing}er", picture(f"{thing}_noto"), picture(f"{thing}_fluent"))
    stranger = picture("apple_fluent")
    teach(pocket_imprint, "dragoner", stranger)
    report = report_of(ask(pocket_imprint, "how good are you at this?"))
    assert report.overall.asked == 5 and report.overall.right <= 4
    worst = row(report, "dragoner").worst
    assert worst is not None
    chat = pocket_imprint.conversation("x")
    chat.send("", [stranger])
    assert worst.photo_id == chat.photo_ids[0], "the apple fits the dragons least"
    assert row(report, "rocketer").accuracy.low is None
