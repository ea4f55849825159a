"""An answer to a question that a small model cannot read is called a guess."""

from contextlib import closing
from pathlib import Path

import pytest

from assistant.build import Imprint
from tests.conftest import PICTURES
from tests.desk import Workbench
from tests.fakes import FakeAnswerer, FakeCaptioner, FakeEmbedder, drawing
from tests.tiny_models import built
from tools.artifacts import Answer, Recognition, from_json, to_json
from tools.config import ModelChoice
from tools.errors import ModelFailed
from tools.models import Models
from tools.models.answerer import load_answerer
from tools.models.sources import locate
from tools.questions import unread
from tools.vocabulary import read_words

CAR = PICTURES / "car_fluent.png"
KNOWN = {"car", "traffic light", "red", "color", "objects"}


@pytest.mark.parametrize(
    ("question", "left"),
    [
        ("what color is the car?", ()),
        ("How many CARS are there?", ()),
        ("is there a traffic light?", ()),
        ("are there traffic lights?", ()),
        ("is there a light?", ("light",)),
        ("how many legs does the car have?", ("legs", "have")),
        ("how many cars has it?", ("has",)),
        ("is it happy or sad, happy or sad?", ("happy", "sad")),
        ("what is this?", ()),
        ("", ()),
    ],
)
def test_what_is_not_read(question: str, left: tuple[str, ...]) -> None:
    assert unread(question, KNOWN) == left


def test_a_guess_says_why(home: Path) -> None:
    answerer = FakeAnswerer("1", "red", "2", words=KNOWN)
    models = Models.of(embedder=FakeEmbedder(), captioner=FakeCaptioner(), answerer=answerer)
    with closing(Workbench(home, models)) as bench:
        picture = drawing("red", 0)
        said = bench.call("answer_question", picture, question="how many legs does it have?")
        assert said == "I know whole things, not what they have; my guess: 1."
        (kept,) = bench.artifacts
        assert isinstance(kept, Answer) and kept.text == "1" and kept.unread == ("legs", "have")
        assert from_json(to_json(kept)) == kept
        said = bench.call("answer_question", picture, question="is it a happy red car?")
        assert said == "I don't know the word “happy”; my guess: red."
        said = bench.call("answer_question", picture, question="are you familiar with it?")
        assert said.startswith("I don't know the word “familiar”. ")
        assert isinstance(bench.artifacts[0], Recognition), "what it shows, in place of a guess"
        bench.call("teach_label", picture, label="zorb")
        said = bench.call("answer_question", drawing("blue", 1), question="how many zorbs?")
        assert said == "2.", "a taught name is asked about as an object"


def test_the_pocket_answerer_knows_what_it_was_asked_about(pocket_imprint: Imprint) -> None:
    chat = pocket_imprint.conversation()
    assert "my guess" in chat.send("how many wheels does it have?", [CAR]).text
    assert "don't know the word “happy”" in chat.send("is it happy?").text
    for asked in ("what colour is it?", "is there a guitar?", "how many cars are there?"):
        assert "guess" not in chat.send(asked).text


def test_words_lie_beside_the_weights(tmp_path: Path, pocket: Models) -> None:
    assert {"red apple", "apples", "colour", "bigger"} <= pocket.answerer.words
    assert "leg" not in pocket.answerer.words
    large = load_answerer(locate(ModelChoice(str(built("llava")))))
    assert large.words == frozenset()
    (tmp_path / "words.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ModelFailed, match="not a list of words"):
        read_words(tmp_path / "words.txt")
