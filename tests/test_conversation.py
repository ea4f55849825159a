"""Conversations and the Python API: turns, transcripts, bad pictures, restarts."""

import re
from pathlib import Path

import numpy as np
import pytest

from assistant import open_assistant
from assistant.build import Imprint
from tests.fakes import drawing
from tools.artifacts import Change, LabelList, Matches, Recognition, from_json, to_json
from tools.errors import BadCall, PhotoError, SettingsError, ToolError
from tools.models import Models


def say(imprint: Imprint, text: str, *photos: object, chat: str = "main"):  # type: ignore[no-untyped-def]
    return imprint.conversation(chat).send(text, photos)


def test_the_main_job(imprint: Imprint) -> None:
    reply = say(imprint, "this is a zorb", drawing("red"))
    assert reply.text == "Learned zorb (1 picture)." and reply.options == ("undo",)
    change = reply.artifacts[0]
    assert isinstance(change, Change) and change.action == "taught" and change.count == 1
    reply = say(imprint, "what is this?", drawing("red", jitter=2))
    found = reply.artifacts[0]
    assert isinstance(found, Recognition) and found.label == "zorb"
    assert reply.text.startswith("Zorb, ") and "you showed me" in reply.text
    assert found.evidence[0].label == "zorb"
    reply = say(imprint, "what is this?", drawing("blue", "cross"))
    assert reply.text.startswith("I don't know this.") and reply.text.endswith("What is it?")
    reply = say(imprint, "a blick")
    assert [c.name for c in reply.tool_calls] == ["teach_label"]
    assert say(imprint, "what is this?", drawing("blue", "cross")).artifacts[0].label == "blick"
    reply = say(imprint, "no, it's a gromp")
    assert reply.text == "Fixed: this is a gromp, not a blick. I now have 1 picture of gromp."
    assert say(imprint, "what is this?", drawing("blue", "cross")).artifacts[0].label == "gromp"
    reply = say(imprint, "what do you know?")
    assert isinstance(reply.artifacts[0], LabelList)
    assert "zorb (1 picture)" in reply.text and "gromp (1 picture)" in reply.text


def test_it_is_still_known_after_a_restart(home: Path, fakes: Models) -> None:
    with open_assistant(home=home, models=fakes) as first:
        say(first, "this is a zorb", drawing("red"))
        say(first, "what is this?", drawing("red", jitter=1))
    with open_assistant(home=home, models=fakes) as second:
        turns = second.conversation("main").turns
        assert [t.text for t in turns] == ["this is a zorb", "what is this?"]
        assert second.conversation("main").photo(2).size == (64, 64)
        # The recognition is still open for contradiction.
        reply = say(second, "no, that's a blick")
        assert reply.text.startswith("Fixed: this is a blick, not a zorb.")
        assert second.classify(drawing("red", jitter=1)).label == "blick"


def test_earlier_photos_stay_addressable(imprint: Imprint) -> None:
    say(imprint, "", drawing("red"))
    say(imprint, "", drawing("blue"))
    assert say(imprint, "describe the first picture").text == "A red thing."
    assert say(imprint, "describe it").text == "A red thing."
    assert say(imprint, "describe the last picture").text == "A blue thing."
    assert "ifferent" in say(imprint, "are they the same?").text
    two = say(imprint, "describe these", drawing("green"), drawing("grey"))
    assert two.text == "Photo 3: A green thing.\nPhoto 4: A grey thing."


def test_every_change_by_talking(imprint: Imprint) -> None:
    say(imprint, "this is a zorb", drawing("red"))
    say(imprint, "this is a blick", drawing("blue"))
    assert "now called gromp" in say(imprint, "rename zorb to gromp").text
    assert "part of blick" in say(imprint, "merge gromp into blick").text
    assert "two labels again" in say(imprint, "undo").text
    assert say(imprint, "forget blick").text.startswith("Forgot blick and its 1 picture.")
    assert "blick is back" in say(imprint, "undo").text
    found = say(imprint, "show me the gromps").artifacts[0]
    assert isinstance(found, Matches) and [i.label for i in found.items] == ["gromp"]
    assert "Learned" in say(imprint, "this is a zorb", drawing("green")).text
    reply = say(imprint, "that's not a zorb")
    assert reply.text.endswith("What is it?")
    assert imprint.classify(drawing("green")).label != "zorb"
    assert "why" not in reply.options


def test_saying_it_again_and_moving_it_are_said(imprint: Imprint) -> None:
    say(imprint, "this is a zorb", drawing("red"))
    assert say(imprint, "this is a zorb", drawing("red")).text.startswith("I already know")
    moved = say(imprint, "this is a blick", drawing("red")).text
    assert "I had it as zorb before" in moved
    near = say(imprint, "this is a gromp", drawing("red", jitter=1)).text
    assert near.endswith(
        "It is nearly the picture you showed me as blick: the same thing or a new one?"
    )


def test_recognition_is_worded_by_what_was_shown(imprint: Imprint) -> None:
    say(imprint, "this is a zorb", drawing("red"))
    asked = drawing("red", jitter=1)
    for jitter, evidence in (
        (None, "It looks like the one you showed me."),
        (-2, "It looks most like these two you showed me."),
        (2, "It looks most like these three you showed me."),
        (3, "It looks most like these three you showed me."),
    ):
        if jitter is not None:
            say(imprint, "this is a zorb", drawing("red", jitter=jitter))
        text = say(imprint, "what is this?", asked).text
        assert re.fullmatch(rf"Zorb, \d+ %\. {evidence}", text), text
        text = say(imprint, "is it a zorb?", asked).text
        assert re.fullmatch(rf"Yes: zorb, \d+ %\. {evidence}", text), text
    unknown = say(imprint, "what is this?", drawing("blue", "cross"))
    assert unknown.text.startswith("I don't know this. The closest is zorb, and not close.")
    assert unknown.text.endswith("What is it?")


@pytest.mark.parametrize(
    ("answer", "label"),
    [("blick", "blick"), ("the first", None), ("neither, it's a gromp", "gromp"),
     ("a new thing called gromp", "gromp"), ("it's Rex", "Rex")],
)  # fmt: skip
def test_when_torn_the_answer_teaches(imprint: Imprint, answer: str, label: str | None) -> None:
    say(imprint, "this is a zorb", drawing("red", jitter=-3))
    say(imprint, "this is a blick", drawing("red", jitter=3))
    torn = say(imprint, "what is this?", drawing("red"))
    first, second = [c.name for c in torn.artifacts[0].candidates]
    assert torn.text == f"A {first} or a {second}? I can't tell them apart here."
    assert torn.options == (f"it's a {first}", f"it's a {second}")
    reply = say(imprint, answer)
    change = reply.artifacts[0]
    assert isinstance(change, Change) and change.label == (label or first), reply.text
    # Three labels have nearly the same picture now: it is the likeliest, if not the only one.
    assert imprint.classify(drawing("red")).candidates[0].name == (label or first)


def test_neither_alone_is_noted_and_the_name_may_follow(imprint: Imprint) -> None:
    say(imprint, "this is a zorb", drawing("red", jitter=-3))
    say(imprint, "this is Rex", drawing("red", jitter=3))
    torn = say(imprint, "what is this?", drawing("red"))
    assert torn.text.startswith(("A zorb or Rex? ", "Rex or a zorb? "))
    reply = say(imprint, "neither")
    assert sorted(reply.text.removesuffix(" What is it?").split("\n")) == [
        "All right, this is not Rex.",
        "All right, this is not a zorb.",
    ]
    assert reply.text.count("What is it?") == 1
    assert imprint.classify(drawing("red")).decision == "unknown"
    assert say(imprint, "gromp").text.startswith("Learned gromp (1 picture).")


def test_of_several_photos_the_unknown_one_is_taught(imprint: Imprint) -> None:
    say(imprint, "this is a zorb", drawing("red"))
    say(imprint, "what are these?", drawing("red", jitter=1), drawing("blue", "cross"))
    assert say(imprint, "a blick").text == "Learned blick (1 picture)."
    assert imprint.classify(drawing("blue", "cross")).label == "blick"
    assert imprint.classify(drawing("red", jitter=1)).label == "zorb"


def test_explaining_and_comparing(imprint: Imprint) -> None:
    assert "not recognised anything" in say(imprint, "why?").text
    say(imprint, "this is a zorb", drawing("red"))
    say(imprint, "what is this?", drawing("red", jitter=1))
    assert "nearest of what you showed me: a zorb" in say(imprint, "why?").text
    same = say(imprint, "are these the same?", drawing("red"), drawing("red"))
    assert same.text == "They are the very same picture."
    other = say(imprint, "are these the same?", drawing("red"), drawing("blue", "cross"))
    assert "ifferent" in other.text
    assert "I need 2 pictures" in say(imprint, "compare", chat="fresh").text


def test_a_bad_picture_gets_a_sentence_and_the_rest_goes_on(imprint: Imprint) -> None:
    reply = say(imprint, "describe this", b"nonsense", drawing("red"))
    assert reply.text == (
        "this picture is not a picture I can read: send a PNG, JPEG, WebP, GIF or BMP file.\n"
        "A red thing."
    )
    alone = say(imprint, "", b"")
    assert "0 bytes" in alone.text and not alone.tool_calls


def test_a_picture_that_fails_is_not_replaced_by_an_earlier_one(imprint: Imprint) -> None:
    say(imprint, "", drawing("red"))
    reply = say(imprint, "this is a zorb", b"nonsense")
    assert "not a picture" in reply.text and "Learned" not in reply.text
    assert not imprint.memory.state.labels


@pytest.mark.parametrize(
    "name",
    ["x" * 10_000, "!!!", "", " ", "x" * 70],
    ids=["endless", "marks", "empty", "blank", "long"],
)
def test_a_name_that_is_none_teaches_nothing(imprint: Imprint, name: str) -> None:
    reply = say(imprint, f"this is a {name}", drawing())
    assert not imprint.memory.state.labels
    assert len(reply.text) < 400
    with pytest.raises(ToolError):
        imprint.call("teach_label", [drawing()], label=name)


def test_html_in_a_name_is_text(imprint: Imprint) -> None:
    say(imprint, "this is a <b>zorb</b>", drawing())
    assert [x.name for x in imprint.memory.state.labels.values()] == ["<b>zorb</b>"]


def test_limits_on_a_message(imprint: Imprint) -> None:
    many = say(imprint, "", *[drawing(jitter=i) for i in range(10)])
    assert "I look at 8 in one message" in many.text
    long = say(imprint, "a b " * 3000)
    assert "too long" in long.text and not long.tool_calls


def test_turns_can_be_taken_back(imprint: Imprint) -> None:
    talk = imprint.conversation("main")
    talk.send("", [drawing("red")])
    talk.send("what do you know?")
    dropped = talk.rewind(1)
    assert dropped.turn.text == "what do you know?" and dropped.offer is None
    assert len(talk.turns) == 1
    talk.clear()
    assert talk.turns == () and talk.photo_count == 0


def test_an_unreadable_transcript_is_moved_aside(home: Path, fakes: Models) -> None:
    with open_assistant(home=home, models=fakes) as imprint:
        say(imprint, "hello")
    path = home / "memory" / "default" / "conversations" / "main.json"
    path.write_text("{half")
    with open_assistant(home=home, models=fakes) as imprint:
        assert imprint.conversation("main").turns == ()
        assert list(path.parent.glob("main.unreadable-*"))


@pytest.mark.parametrize("name", ["../up", "", "a/b", "x" * 99, "né"])
def test_a_conversation_s_name_is_no_path(imprint: Imprint, name: str) -> None:
    if name:
        with pytest.raises(SettingsError):
            imprint.conversation(name)
    else:
        assert imprint.conversation(name).id


def test_two_workspaces_share_nothing(imprint: Imprint) -> None:
    imprint.conversation("c", workspace="anna").send("this is a zorb", [drawing()])
    reply = imprint.conversation("c", workspace="ben").send("what do you know?")
    assert reply.text.startswith("Nothing yet")
    assert imprint.conversation("c", workspace="ben").photo_count == 0


def test_single_tasks(imprint: Imprint) -> None:
    red = drawing("red")
    assert imprint.caption(red) == "a red thing"
    assert "how many" in imprint.answer(red, "how many?")
    vector = imprint.embed(red)
    assert vector.shape == (192,) and np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    near, far = imprint.similarity(red, ["a red disc", "a blue cross"])
    assert near > far
    assert imprint.similarity(red, []) == []
    chosen = imprint.classify(red, ["red disc", "blue box"])
    assert chosen.label == "red disc" and chosen.source == "labels"
    with pytest.raises(BadCall):
        imprint.answer(red, "  ")
    with pytest.raises(PhotoError):
        imprint.caption(b"")


def test_process_picks_the_task(imprint: Imprint) -> None:
    red = drawing("red")

    def task(**given: object) -> str:
        return imprint.process(red, **given).task  # type: ignore[arg-type]

    assert task() == "caption"
    assert task(labels=["red disc", "blue box"]) == "classify"
    assert task(prompt="what colour is it?") == "vqa"
    assert task(prompt="is there a box") == "vqa"
    assert task(prompt="describe it") == "caption"
    assert task(prompt="embedding") == "embed"
    assert task(prompt="a red disc") == "similarity"
    assert task(prompt=["a red disc", "a blue box"]) == "similarity"
    assert task(task="embed") == "embed"
    imprint.call("teach_label", [red], label="zorb")
    assert task() == "classify"
    with pytest.raises(BadCall, match="no task"):
        imprint.process(red, task="sing")  # type: ignore[arg-type]


def test_artifacts_survive_json(imprint: Imprint) -> None:
    say(imprint, "this is a zorb", drawing("red"))
    for text in ("what is this?", "describe it", "what colour is it?", "what do you know?", "why?",
                 "show me the zorbs", "undo"):  # fmt: skip
        for artifact in say(imprint, text).artifacts:
            assert from_json(to_json(artifact)) == artifact


def test_taught_names_are_put_in_words_the_answerer_knows(imprint: Imprint) -> None:
    say(imprint, "this is a zorb", drawing("red"))
    assert say(imprint, "what colour is the zorb?").text == "Red."  # seen, without being asked
    say(imprint, "how many eyes does the zorb have?")
    assert imprint.models.answerer.asked == ["how many eyes does the object have?"]  # type: ignore[attr-defined]
