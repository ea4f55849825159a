"""A transformers chat model as the brain: real files, templates and weights that say one thing."""

from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from assistant import open_assistant
from assistant.brains.local import LocalChat, read_calls
from assistant.turns import Token
from tests.fakes import drawing
from tests.tiny_chat import TEMPLATE, build_chat
from tests.tiny_models import built
from tools.errors import ModelFailed, ModelMissing
from tools.models import Models

LOOK = ["Let", " me", " look", "<tool_call>",
        '{"name": "caption_image", "arguments": {"photos": [1]}}', "</tool_call>"]  # fmt: skip
SAY = ["It", " is", " red", "."]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of text that looks first and then speaks."""
    return build_chat(tmp_path_factory.mktemp("reader"), first=LOOK, after=SAY)


@pytest.fixture(scope="module")
def seer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with eyes."""
    return build_chat(tmp_path_factory.mktemp("seer"), first=LOOK, after=SAY, vision=True)


@pytest.mark.parametrize("kind", ["reader", "seer"])
def test_it_calls_and_then_speaks(
    home: Path, fakes: Models, kind: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(kind)
    with open_assistant(home=home, models=fakes, brain=f"local:{folder}") as imprint:
        assert imprint._brain is not None and imprint._brain.sees is (kind == "seer")
        events = list(imprint.conversation().stream("well?", [drawing("red", side=900)]))
    reply = events[-1]
    assert reply.text == "It is red."  # type: ignore[union-attr]
    calls = [(c.name, c.args, c.ok) for c in reply.tool_calls]  # type: ignore[union-attr]
    assert calls == [("caption_image", {"photos": [1]}, True)]
    said = [e.text for e in events if isinstance(e, Token) and e.text]
    assert "".join(said) == "Let me looka red thingIt is red."


def test_pictures_reach_a_model_with_eyes(seer: Path) -> None:
    chat = LocalChat.at(str(seer)).load()
    picture = {"type": "image", "image": drawing("red")}
    message = {"role": "user", "content": [picture, {"type": "text", "text": "<image> <|end|>"}]}
    seen: list[dict[str, Any]] = []
    looked: list[Any] = []
    chat._model.register_forward_pre_hook(
        lambda module, args, inputs: seen.append(inputs), with_kwargs=True
    )
    tower = chat._model.get_submodule("model.vision_tower")
    tower.register_forward_pre_hook(lambda module, args: looked.append(args[0]))
    chat.reply([message], [])
    ids = seen[0]["input_ids"][0].tolist()
    tokenizer = chat._processor.tokenizer
    # A picture takes 16 places; what people write, be it "<image>" or "<|end|>", is words.
    assert ids.count(tokenizer.convert_tokens_to_ids("<image>")) == 16
    assert ids.count(tokenizer.convert_tokens_to_ids("<|end|>")) == 1
    assert [p.shape for p in looked] == [(1, 3, 32, 32)]


def test_a_call_in_what_people_say_is_no_call_of_the_template_s(reader: Path) -> None:
    chat = LocalChat.at(str(reader)).load()
    seen: list[dict[str, Any]] = []
    chat._model.register_forward_pre_hook(
        lambda module, args, inputs: seen.append(inputs), with_kwargs=True
    )
    chat.reply([{"role": "user", "content": "say <tool_call> and <|start|>"}], [])
    ids = seen[0]["input_ids"][0].tolist()
    convert = chat._processor.convert_tokens_to_ids
    assert convert("<tool_call>") not in ids and ids.count(convert("<|start|>")) == 1


def test_bad_json_of_its_own_is_an_error_and_then_the_router_s_turn(
    home: Path, fakes: Models, tmp_path: Path
) -> None:
    bad = ["<tool_call>", '{"name": "caption', "</tool_call>"]
    worse = [" <tool_call>", '{"name": "teach_label", "arguments": "{"}', "</tool_call> "]
    build_chat(tmp_path / "bad", first=bad, after=worse)
    with open_assistant(home=home, models=fakes, brain=f"local:{tmp_path / 'bad'}") as imprint:
        told, answer = imprint.conversation().send("describe it", [drawing()]).text.split("\n")
    assert "it called tools wrongly twice" in told and answer == "A red thing."


def test_a_conversation_that_is_too_long_is_said(home: Path, fakes: Models, tmp_path: Path) -> None:
    folder = build_chat(tmp_path / "short", first=LOOK, after=SAY)
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace("65536", "1000"))
    with open_assistant(home=home, models=fakes, brain=f"local:{folder}") as imprint:
        told, answer = imprint.conversation().send("describe it", [drawing()]).text.split("\n")
    assert "too long" in told and "of at most 1,000" in told and answer == "A red thing."


@pytest.mark.parametrize(
    ("template", "words"),
    [(TEMPLATE.replace("tools", "gadgets"), "takes no tools"), ("", "takes no tools")],
)
def test_a_template_without_tools_is_refused(tmp_path: Path, template: str, words: str) -> None:
    folder = build_chat(tmp_path / "plain", first=LOOK, after=SAY, template=template)
    with pytest.raises(ModelFailed, match=words):
        LocalChat.at(str(folder)).load()


def test_other_models_are_no_brains(home: Path) -> None:
    with pytest.raises(ModelFailed, match="can't be the brain"):
        LocalChat.at(str(built("clip"))).load()
    with pytest.raises(ModelMissing, match="hf download nobody/nothing"):
        open_assistant(home=home, brain="local:nobody/nothing")
    with pytest.raises(ModelMissing, match="no model '/nowhere'"):
        open_assistant(home=home, brain="local:/nowhere")


def test_a_model_that_cannot_be_loaded_leaves_the_turn_to_the_router(
    home: Path, fakes: Models
) -> None:
    with open_assistant(home=home, models=fakes, brain=f"local:{built('clip')}") as imprint:
        told, answer = imprint.conversation().send("hello").text.split("\n")
    assert "can't be the brain" in told and answer.startswith("Hello!")


def test_it_can_be_asked_without_streaming(reader: Path) -> None:
    said = LocalChat.at(str(reader)).invoke([HumanMessage("hello")])
    assert said.tool_calls[0]["name"] == "caption_image" and said.text == "Let me look"


@pytest.mark.parametrize(
    ("text", "words", "calls"),
    [
        ("Hello.", "Hello.", []),
        ('<tool_call>\n{"name": "undo", "arguments": {}}\n</tool_call>', "", [("undo", "{}")]),
        ('So. <tool_call>{"name": "a"}</tool_call>\n<tool_call>{"name": "b"}', "So.",
         [("a", "{}"), ("b", "{}")]),
        ('{"name": "a", "parameters": {"x": 1}}', "", [("a", '{"x": 1}')]),
        ('[{"name": "a", "arguments": "{\\"x\\": 1}"}]', "", [("a", '{"x": 1}')]),
        ("[photo 1] is red", "[photo 1] is red", []),
        ('{"colour": "red"}', '{"colour": "red"}', []),
        ("<tool_call>undo</tool_call>", "", [("", "undo")]),
        ("[]", "[]", []),
    ],
)  # fmt: skip
def test_calls_are_read_from_the_text(text: str, words: str, calls: list[Any]) -> None:
    assert read_calls(text) == (words, calls)
