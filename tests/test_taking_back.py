"""Messages taken back, said again or edited: memory and conversation agree afterwards."""

from pathlib import Path

import pytest

from assistant import open_assistant
from assistant.build import Imprint
from assistant.conversation import Conversation
from assistant.turns import Reply
from tests.fakes import drawing
from tools.errors import ToolError
from tools.images import open_photo
from tools.memory import Memory, MemoryHome, retraction
from tools.models import Models


@pytest.fixture
def talk(imprint: Imprint) -> Conversation:
    return imprint.conversation("main")


def known(talk: Conversation) -> dict[str, int]:
    """Pictures by label."""
    state = talk.recall.memory.state
    return {x.name: len(state.of(x.id)) for x in state.labels.values()}


def again(talk: Conversation, index: int, text: str | None = None) -> str:
    *_, reply = talk.again(index, text)
    assert isinstance(reply, Reply)
    return reply.text


def test_an_edited_teaching_leaves_no_wrong_label(talk: Conversation) -> None:
    talk.send("this is a zrob", [drawing("red")])
    said = again(talk, 0, "this is a zorb")
    assert said == "Took back 1 picture of zrob.\nLearned zorb (1 picture)."
    assert known(talk) == {"zorb": 1} and talk.photo_count == 1
    assert [t.text for t in talk.turns] == ["this is a zorb"]
    talk.send("undo")
    assert known(talk) == {}  # once: nothing of it is left to undo


def test_said_again_it_is_taught_once(talk: Conversation) -> None:
    talk.send("this is a zorb", [drawing("red")])
    assert again(talk, 0) == "Learned zorb (1 picture)."
    assert known(talk) == {"zorb": 1}
    talk.send("undo")
    assert again(talk, 1).startswith("Undone: 1 picture of zorb taken back.")
    assert known(talk) == {}


def test_edited_to_a_question_it_teaches_nothing(talk: Conversation) -> None:
    talk.send("this is a zorb", [drawing("red")])
    assert "Took back 1 picture of zorb." in again(talk, 0, "describe this")
    assert known(talk) == {}


def test_what_later_messages_built_on_it_goes_too_and_the_rest_is_told(talk: Conversation) -> None:
    talk.send("this is a zrob", [drawing("red")])
    talk.send("rename zrob to blick")
    talk.send("this is a gromp", [drawing("blue", "cross")])
    said = again(talk, 0, "this is a zorb")
    assert "the renaming of zrob to blick" in said
    assert "I keep what the messages after it taught me: 1 picture of gromp." in said
    assert known(talk) == {"gromp": 1, "zorb": 1}


def test_a_text_that_is_too_long_takes_nothing_back(talk: Conversation) -> None:
    talk.send("this is a zorb", [drawing("red")])
    with pytest.raises(ToolError, match="too long"):
        again(talk, 0, "word " * 2000)
    assert known(talk) == {"zorb": 1} and len(talk.turns) == 1


def test_taking_a_teaching_back_offers_to_undo_it(talk: Conversation) -> None:
    talk.send("hello")
    talk.send("this is a zorb", [drawing("red")])
    taken = talk.rewind(1)
    assert taken.turn.text == "this is a zorb" and known(talk) == {"zorb": 1}
    assert taken.offer is not None and taken.offer == talk.turns[-1]
    assert taken.offer.reply.endswith("1 picture of zorb. Shall I undo that too?")
    assert taken.offer.options == ("yes", "no")
    assert talk.send("yes").text == "Took back 1 picture of zorb."
    assert known(talk) == {}


def test_several_changes_are_undone_at_once_and_told(talk: Conversation) -> None:
    talk.send("this is a zorb", [drawing("red")])
    talk.send("this is a blick", [drawing("blue", "cross")])
    talk.send("rename blick to gromp")
    said = talk.send("undo the last two").text
    assert said.splitlines() == [
        "Undone: gromp is called blick again.",
        "Undone: 1 picture of blick taken back. I don't know blick now."
        " “Undo” once more takes back 1 picture of zorb.",
    ]
    assert known(talk) == {"zorb": 1}
    assert talk.send("undo 5 times").text.splitlines() == [
        "Undone: 1 picture of zorb taken back. I don't know zorb now.",
        "That was all: there was no more than 1 change.",
    ]
    assert "nothing to undo" in talk.send("undo twice").text


def test_the_offer_may_be_refused_or_left(talk: Conversation) -> None:
    talk.send("this is a zorb", [drawing("red")])
    talk.rewind(0)
    assert talk.send("no").text == "All right, I changed nothing."
    assert known(talk) == {"zorb": 1}
    talk.send("this is a blick", [drawing("blue", "cross")])
    talk.rewind(2)
    talk.send("what do you know?")
    assert known(talk) == {"zorb": 1, "blick": 1}


@pytest.mark.parametrize(
    "deed",
    ["no, it's a blick", "rename zorb to gromp", "forget zorb", "that's not a zorb",
     "a zorb is also called a florp", "forget what I taught you today",
     "when I ask which size, the answer is M8", "undo"],
)  # fmt: skip
def test_any_change_is_undone_exactly(talk: Conversation, deed: str) -> None:
    talk.send("this is a zorb", [drawing("red"), drawing("red", jitter=2)])
    before = talk.recall.memory.state
    talk.send(deed)
    assert talk.recall.memory.state != before
    offer = talk.rewind(1).offer
    assert offer is not None, deed
    assert talk.send("yes").text.startswith("Took back ")
    assert talk.recall.memory.state == before


def test_only_the_changes_of_the_turns_taken_back_are_undone(imprint: Imprint) -> None:
    talk, other = imprint.conversation("main"), imprint.conversation("other")
    talk.send("this is a zorb", [drawing("red")])
    other.send("this is a blick", [drawing("blue", "cross")])
    talk.send("this is a gromp", [drawing("green", "box")])
    other.send("this is a zorb", [drawing("red", jitter=3)])
    talk.rewind(0)
    said = talk.send("yes").text
    assert "1 picture of zorb" in said and "1 picture of gromp" in said
    assert known(talk) == {"blick": 1, "zorb": 1}
    assert "1 picture of zorb" in other.send("undo").text  # the other's own


def test_what_another_built_on_it_is_told_and_stays_whole(imprint: Imprint) -> None:
    talk, other = imprint.conversation("main"), imprint.conversation("other")
    talk.send("this is a zorb", [drawing("red")])
    other.send("rename zorb to blick")
    taken = talk.rewind(0)
    assert taken.offer is not None and taken.offer.options == ()
    assert taken.offer.reply == (
        "1 picture of zorb stays: something that I learned later rests on it."
    )
    assert known(talk) == {"blick": 1}


def test_an_offer_that_came_true_otherwise_is_told(imprint: Imprint) -> None:
    talk = imprint.conversation("main")
    talk.send("this is a zorb", [drawing("red")])
    talk.rewind(0)
    imprint.call("undo")
    reply = talk.send("yes")
    assert reply.text == "There is nothing left to take back: it is undone already."
    assert not reply.tool_calls[0].ok


def test_taking_the_taking_back_back_brings_it_back(talk: Conversation) -> None:
    talk.send("this is a zorb", [drawing("red")])
    talk.rewind(0)
    talk.send("yes")
    offer = talk.rewind(1).offer  # the "yes"
    assert offer is not None and "the taking back of 1 picture of zorb" in offer.reply
    talk.send("yes")
    assert known(talk) == {"zorb": 1}


def test_an_offer_that_is_taken_back_with_more_is_made_again(talk: Conversation) -> None:
    talk.send("this is a zorb", [drawing("red")])
    talk.send("this is a blick", [drawing("blue", "cross")])
    talk.rewind(1)
    assert "I keep what the messages after it taught me: 1 picture of blick." in again(talk, 0)
    talk.send("this is a gromp", [drawing("green", "box")])
    talk.rewind(1)
    offer = talk.rewind(0).offer
    assert offer is not None and "1 picture of zorb and 1 picture of gromp" in offer.reply


def test_the_offer_and_the_undoing_survive_a_restart(home: Path, fakes: Models) -> None:
    with open_assistant(home=home, models=fakes) as imprint:
        talk = imprint.conversation("main")
        talk.send("this is a zorb", [drawing("red")])
        talk.send("this is a blick", [drawing("blue", "cross")])
    with open_assistant(home=home, models=fakes) as imprint:
        imprint.conversation("main").rewind(1)
    with open_assistant(home=home, models=fakes) as imprint:
        talk = imprint.conversation("main")
        assert talk.turns[-1].options == ("yes", "no")
        assert talk.send("ja").text.startswith(("Took back 1 picture of blick", "Rückgängig"))
        assert known(talk) == {"zorb": 1}
    with open_assistant(home=home, models=fakes) as imprint:
        assert known(imprint.conversation("main")) == {"zorb": 1}
        assert imprint.classify(drawing("blue", "cross")).label != "blick"


@pytest.fixture
def memory(home: Path) -> Memory:
    from tools.config import load_config

    return MemoryHome(load_config(home=home)).workspace("default")


def last(memory: Memory) -> int:
    return memory.events[-1].seq


def test_what_rests_on_what(memory: Memory) -> None:
    red, blue = (open_photo(drawing(c)) for c in ("red", "blue"))
    memory.teach("zorb", [red])
    first = last(memory)
    memory.teach("zorb", [blue])
    assert retraction(memory.events, [first])  # the label is made by what was taught next
    memory.remember("which size?", "M8", [red])
    assert retraction(memory.events, [first])  # an answer is of the picture, not of its label
    memory.reject("zorb", [open_photo(drawing("green"))])
    assert retraction(memory.events, [first]).kept  # a negative needs its label
    memory.undo()
    memory.teach("blick", [red])
    assert retraction(memory.events, [first]).kept  # it was moved since
    moved = last(memory)
    assert retraction(memory.events, [first], along=[moved]).seqs == (first, moved)
    assert not retraction(memory.events, [])


def test_no_two_labels_get_one_name(memory: Memory) -> None:
    memory.teach("zorb", [open_photo(drawing("red"))])
    memory.rename("zorb", "blick")
    renamed = last(memory)
    memory.teach("zorb", [open_photo(drawing("blue"))])
    found = retraction(memory.events, [renamed])
    assert not found and [e.seq for e in found.kept] == [renamed]
    memory.forget("blick")
    forgotten = last(memory)
    memory.teach("blick", [open_photo(drawing("green"))])
    assert retraction(memory.events, [forgotten]).kept
