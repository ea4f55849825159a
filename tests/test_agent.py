"""The agent: events, errors a brain can read, a fallback, one turn after another."""

import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import PrivateAttr

from assistant import open_assistant
from assistant.build import Imprint
from assistant.turns import Reply, Token, ToolFinished, ToolStarted
from tests.fakes import FakeAnswerer, drawing
from tools.errors import BadCall, SettingsError
from tools.models import Models
from tools.registry import TOOLS, call_tool, public_arguments


class ScriptedBrain(BaseChatModel):
    """Says what it was given to say, and keeps what it was shown."""

    _script: list[AIMessage] = PrivateAttr(default_factory=list)
    _seen: list[list[BaseMessage]] = PrivateAttr(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self

    def enqueue(self, *messages: AIMessage) -> None:
        self._script.extend(messages)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self._seen.append(list(messages))
        return ChatResult(generations=[ChatGeneration(message=self._script.pop(0))])


def calling(name: str, **args: Any) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": args, "id": "1", "type": "tool_call"}])


def with_brain(home: Any, fakes: Models) -> tuple[Imprint, ScriptedBrain]:
    brain = ScriptedBrain()
    return open_assistant(home=home, models=fakes, brain=brain), brain


def test_a_turn_yields_its_events_in_order(imprint: Imprint) -> None:
    events = list(imprint.conversation().stream("describe this", photos=[drawing("blue")]))
    kinds = [type(e) for e in events]
    assert kinds[0] is ToolStarted and kinds[-2:] == [ToolFinished, Reply]
    tokens = [e.text for e in events if isinstance(e, Token)]
    assert "".join(tokens).strip() == "a blue thing"
    reply = events[-1]
    assert isinstance(reply, Reply) and reply.text == "A blue thing."
    assert [c.name for c in reply.tool_calls] == ["caption_image"]
    assert reply.tool_calls[0].ok and reply.tool_calls[0].seconds >= 0


def test_a_brain_s_words_are_the_reply(home: Any, fakes: Models) -> None:
    imprint, brain = with_brain(home, fakes)
    with imprint:
        brain.enqueue(calling("caption_image"), AIMessage("I see a red thing, I think."))
        reply = imprint.conversation().send("well?", photos=[drawing("red")])
        assert reply.text == "I see a red thing, I think."
        shown = brain._seen[-1]
        assert "A red thing." in [m.text for m in shown]
        assert "[photo 1]" in shown[1].text


@pytest.mark.parametrize(
    ("name", "args", "words"),
    [
        ("caption_picture", {}, "Did you mean caption_image"),
        ("caption_image", {"image": "/etc/passwd"}, "takes no argument"),
        ("caption_image", {"desk": "mine"}, "takes no argument"),
        ("teach_label", {}, "label"),
        ("caption_image", {"photos": "first"}, "photos"),
        ("caption_image", {"photos": [7]}, "no photo 7"),
        ("answer_question", {"question": " "}, "empty"),
    ],
)
def test_a_wrong_call_is_an_error_the_brain_can_read(
    home: Any, fakes: Models, name: str, args: dict[str, Any], words: str
) -> None:
    imprint, brain = with_brain(home, fakes)
    with imprint:
        brain.enqueue(calling(name, **args), AIMessage("Sorry."))
        reply = imprint.conversation().send("x", photos=[drawing()])
        assert not reply.tool_calls[0].ok
        error = brain._seen[-1][-1]
        assert words in error.text and error.status == "error"


def test_after_two_wrong_calls_the_router_takes_over(home: Any, fakes: Models) -> None:
    imprint, brain = with_brain(home, fakes)
    with imprint:
        brain.enqueue(calling("nonsense"), calling("nonsense"))
        reply = imprint.conversation().send("describe this", photos=[drawing("green")])
        assert reply.text == (
            "The language model did not answer (it called tools wrongly twice), "
            "so I answered by my own rules.\nA green thing."
        )
        assert [c.ok for c in reply.tool_calls] == [False, False, True]


def test_a_brain_that_never_stops_is_stopped(home: Any, fakes: Models) -> None:
    imprint, brain = with_brain(home, fakes)
    with imprint:
        brain.enqueue(*[calling("list_labels") for _ in range(20)])
        reply = imprint.conversation().send("go")
        assert len(reply.tool_calls) == imprint.settings.max_calls
        assert reply.text.count("Nothing yet") == 1
        assert reply.text.endswith("I stopped after 6 calls of tools, the most for one message.")


def test_a_bug_in_a_tool_is_told_with_an_incident_and_logged(
    home: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(FakeAnswerer):
        def answer(self, *args: Any, **kwargs: Any) -> str:
            raise RuntimeError("a bug")

    with open_assistant(home=home, models=Models.of(answerer=Broken())) as imprint:
        reply = imprint.conversation().send("how old is it?", photos=[drawing()])
    assert "incident" in reply.text and "a bug" not in reply.text
    incident = reply.text.split("incident ")[1][:6]
    assert any(incident in r.message and r.exc_info for r in caplog.records)


def test_stopping_ends_a_long_answer_and_keeps_what_was_done(home: Any) -> None:
    began, ended = threading.Event(), threading.Event()

    class Slow(FakeAnswerer):
        def answer(
            self, photo: Any, question: str, *, on_token: Any = None, stop: Any = None
        ) -> str:
            began.set()
            while not stop.is_set():
                on_token("and ")
                time.sleep(0.01)
            ended.set()
            return "and"

    with open_assistant(home=home, models=Models.of(answerer=Slow())) as imprint:
        talk = imprint.conversation()
        stream = talk.stream("how old is it?", photos=[drawing()])
        for event in stream:
            if isinstance(event, Token):
                break
        stream.close()
        assert began.is_set() and ended.wait(5)
        assert talk.turns[-1].stopped


def test_the_photo_of_another_conversation_cannot_be_named(imprint: Imprint) -> None:
    imprint.conversation("one").send("", photos=[drawing("red")])
    reply = imprint.conversation("two").send("what is in photo 1?")
    assert not reply.tool_calls or not reply.tool_calls[0].ok


def test_every_tool_has_a_schema_without_injected_arguments() -> None:
    for tool in TOOLS:
        assert "desk" not in public_arguments(tool)
        assert tool.description
    with pytest.raises(BadCall, match="no tool called"):
        call_tool("rm", {}, None)  # type: ignore[arg-type]


def test_an_unknown_brain_or_setting_is_an_error(home: Any) -> None:
    with pytest.raises(SettingsError, match="no brain called"):
        open_assistant(home=home, brain="gpt")
    with pytest.raises(SettingsError, match="colour"):
        open_assistant(home=home, colour="blue")
    with pytest.raises(SettingsError, match="--workspace"):
        open_assistant(home=home, workspace="../up")
