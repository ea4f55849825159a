"""The product on the shipped models and real pictures: one test a tool, through the public API.

The drawings called ``*_fluent`` are of a style that the models were not trained on.
"""

from pathlib import Path

import numpy as np
import pytest

from assistant.build import Imprint
from assistant.conversation import Conversation
from assistant.turns import Reply
from tests.conftest import PICTURES
from tools.artifacts import Answer, Caption, Comparison, LabelList, Matches, Recognition

THINGS = ("dragon", "rocket", "turtle", "guitar")


def picture(name: str) -> Path:
    return next(PICTURES.glob(f"{name}.*"))


def tools_of(reply: Reply) -> list[tuple[str, bool]]:
    return [(c.name, c.ok) for c in reply.tool_calls]


@pytest.fixture
def chat(pocket_imprint: Imprint) -> Conversation:
    return pocket_imprint.conversation()


def test_teach_one_drawing_and_recognise_one_of_a_style_never_seen(chat: Conversation) -> None:
    reply = chat.send("this is a zorb", [picture("dragon_noto")])
    assert tools_of(reply) == [("teach_label", True)]
    reply = chat.send("what is this?", [picture("dragon_fluent")])
    assert tools_of(reply) == [("classify_image", True)]
    found = reply.artifacts[0]
    assert isinstance(found, Recognition) and found.label == "zorb", reply.text
    assert [e.label for e in found.evidence] == ["zorb"]
    for other in ("car_fluent", "apple_fluent"):
        reply = chat.send("what is this?", [picture(other)])
        assert reply.text.startswith("I don't know this."), reply.text


def test_correct_and_reject(chat: Conversation, pocket_imprint: Imprint) -> None:
    chat.send("this is a zorb", [picture("rocket_noto")])
    assert "Zorb" in chat.send("what is this?", [picture("rocket_noto")]).text
    reply = chat.send("no, it's a blick")
    assert tools_of(reply) == [("correct_label", True)]
    assert pocket_imprint.classify(picture("rocket_noto")).label == "blick"
    reply = chat.send("that's not a blick")
    assert tools_of(reply) == [("reject_label", True)]
    assert pocket_imprint.classify(picture("rocket_noto")).label != "blick"


def test_four_taught_things_are_told_apart_in_another_style(pocket_imprint: Imprint) -> None:
    for thing in THINGS:
        pocket_imprint.call("teach_label", [picture(f"{thing}_noto")], label=f"my {thing}")
    best = [pocket_imprint.classify(picture(f"{t}_fluent")).candidates[0].name for t in THINGS]
    assert sum(b == f"my {t}" for b, t in zip(best, THINGS, strict=True)) >= 3, best


def test_names_without_teaching(pocket_imprint: Imprint) -> None:
    found = pocket_imprint.classify(picture("car_fluent"), ["car", "turtle", "apple"])
    assert found.label == "car" and found.source == "labels"
    names = [c.name for c in pocket_imprint.classify(picture("guitar_noto")).candidates]
    assert any("guitar" in n for n in names), names


def test_captions_name_the_thing(chat: Conversation) -> None:
    reply = chat.send("describe this", [picture("guitar_fluent")])
    assert tools_of(reply) == [("caption_image", True)]
    caption = reply.artifacts[0]
    assert isinstance(caption, Caption) and not caption.outside
    assert "guitar" in reply.text.lower(), reply.text
    said = {t: chat.send("describe this", [picture(f"{t}_noto")]).text for t in THINGS}
    assert all(t in said[t].lower() for t in THINGS), said


def test_questions_are_answered(chat: Conversation) -> None:
    reply = chat.send("what colour is it?", [picture("apple_fluent")])
    assert tools_of(reply) == [("answer_question", True)]
    answer = reply.artifacts[0]
    assert isinstance(answer, Answer) and answer.text.lower().strip(".") == "red", answer.text
    assert chat.send("how many apples are there?").artifacts[0].text.strip(".") in ("1", "one")


def test_find_compare_list_and_explain(chat: Conversation) -> None:
    for thing in THINGS:
        chat.send(f"this is a {thing}er", [picture(f"{thing}_noto")])
    found = chat.send("find something similar", [picture("turtle_noto")]).artifacts[0]
    assert isinstance(found, Matches) and found.items[0].label == "turtleer"
    by_text = chat.send("show me a rocket").artifacts[0]
    assert isinstance(by_text, Matches) and "rocketer" in [i.label for i in by_text.items[:2]]
    both = chat.send("are these the same?", [picture("dragon_noto"), picture("guitar_noto")])
    compared = both.artifacts[0]
    assert isinstance(compared, Comparison) and not compared.same
    listed = chat.send("what do you know?").artifacts[0]
    assert isinstance(listed, LabelList) and len(listed.labels) == 4
    chat.send("what is this?", [picture("rocket_noto")])
    assert "rocketer" in chat.send("why?").text


def test_rename_merge_forget_undo(chat: Conversation, pocket_imprint: Imprint) -> None:
    chat.send("this is a zorb", [picture("dragon_noto")])
    chat.send("this is a blick", [picture("rocket_noto")])
    for text, tool in (
        ("rename zorb to gromp", "rename_label"),
        ("merge gromp into blick", "merge_labels"),
        ("undo", "undo"),
        ("forget blick", "forget_label"),
        ("undo", "undo"),
    ):
        assert tools_of(chat.send(text)) == [(tool, True)]
    assert pocket_imprint.classify(picture("dragon_noto")).label == "gromp"
    assert pocket_imprint.classify(picture("rocket_noto")).label == "blick"


@pytest.mark.parametrize("name", ["photo_bear", "photo_bedroom"])
def test_a_photo_is_outside_the_pocket_world_and_the_answer_says_how_to_switch(
    chat: Conversation, name: str
) -> None:
    for text in ("what is this?", "describe it", "what colour is it?"):
        reply = chat.send(text, [picture(name)])
        assert "--profile small" in reply.text and "photo" in reply.text, reply.text


def test_drawings_are_inside_the_pocket_world(pocket_imprint: Imprint) -> None:
    drawings = [*PICTURES.glob("*_fluent.png"), *PICTURES.glob("*_noto.png")]
    assert len(drawings) >= 10
    assert sum(pocket_imprint.classify(p).outside for p in drawings) <= 1


def test_vectors_and_similarities(pocket_imprint: Imprint) -> None:
    vector = pocket_imprint.embed(picture("apple_fluent"))
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-4)
    apple, car = pocket_imprint.similarity(picture("apple_fluent"), ["apple", "car"])
    assert apple > car


def test_odd_pictures_get_a_sentence_and_store_nothing(pocket_imprint: Imprint) -> None:
    chat = pocket_imprint.conversation()
    for data in (b"", b"not a picture", picture("apple_fluent").read_bytes()[:700], b"<svg></svg>"):
        reply = chat.send("this is a zorb", [data])
        assert reply.text.count("\n") == 0 and reply.text.endswith(".")
    assert not pocket_imprint.memory.state.labels and chat.photo_count == 0
