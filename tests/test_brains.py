"""Language models as the brain, against a real server: what is asked, and all that can go wrong."""

import base64
import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage
from PIL import Image
from typer.testing import CliRunner

from assistant import open_assistant
from assistant.build import Imprint
from assistant.cli import app
from assistant.turns import Reply, Token, ToolFinished
from tests.fakes import drawing
from tests.openai_server import (
    OpenAIServer,
    breaks_off,
    calls,
    endless,
    fails,
    keeps_silent,
    says,
    sends,
)
from tests.test_agent import ScriptedBrain
from tools.errors import SettingsError
from tools.models import Models

KEY = "sk-very-secret"
ROOT = Path(__file__).parents[1]
Open = Callable[..., Imprint]


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    """A server that says what it is given to say."""
    with OpenAIServer() as running:
        yield running


@pytest.fixture
def opened(
    home: Path, fakes: Models, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Open]:
    """Opens the assistant with the server as its brain."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    made: list[Imprint] = []

    def make(suffix: str = "", **settings: Any) -> Imprint:
        brain = f"openai:some/model:4b@{server.url}{suffix}"
        made.append(open_assistant(home=home, models=fakes, brain=brain, **settings))
        return made[-1]

    yield make
    for imprint in made:
        imprint.close()


def pictures(message: dict[str, Any]) -> list[Image.Image]:
    """The pictures in a message of a request."""
    parts = message["content"] if isinstance(message["content"], list) else []
    urls = [p["image_url"]["url"] for p in parts if p["type"] == "image_url"]
    assert all(u.startswith("data:image/jpeg;base64,") for u in urls)
    return [Image.open(io.BytesIO(base64.b64decode(u.partition(",")[2]))) for u in urls]


def taught(imprint: Imprint) -> list[str]:
    """The names of the labels."""
    return [x.name for x in imprint.memory.state.labels.values()]


# --- what goes well ------------------------------------------------------------------------------


def test_it_calls_and_then_says_it_in_its_own_words(opened: Open, server: OpenAIServer) -> None:
    server.enqueue(
        calls(("caption_image", {"photos": [1]})), says("It shows a red thing, I think.")
    )
    events = list(opened().conversation().stream("well?", [drawing("red")]))
    reply = events[-1]
    assert isinstance(reply, Reply) and reply.text == "It shows a red thing, I think."
    finished = [i for i, e in enumerate(events) if isinstance(e, ToolFinished)]
    after = [e.text for e in events[finished[-1] :] if isinstance(e, Token)]
    assert "".join(after) == reply.text and len([t for t in after if t]) > 3
    assert [(c.name, c.ok) for c in reply.tool_calls] == [("caption_image", True)]
    first, second = server.requests
    assert first["model"] == "some/model:4b" and first["stream"] is True
    assert {"teach_label", "undo"} <= {t["function"]["name"] for t in first["tools"]}
    assert "desk" not in json.dumps(first["tools"])
    asked, result = second["messages"][-2:]
    assert asked["tool_calls"][0]["id"] == result["tool_call_id"]
    assert result["content"] == "A red thing."
    assert server.keys == [f"Bearer {KEY}"] * 2


def test_tokens_arrive_while_they_are_made(opened: Open, server: OpenAIServer) -> None:
    server.enqueue(says("one two three four five", pause=0.1))
    came = [
        (time.monotonic(), e.text)
        for e in opened().conversation().stream("count")
        if isinstance(e, Token) and e.text
    ]
    assert [t for _, t in came] == ["one ", "two ", "three ", "four ", "five"]
    assert came[-1][0] - came[0][0] > 0.3


def test_the_page_sees_the_words_grow_without_what_the_tools_said(
    opened: Open, server: OpenAIServer
) -> None:
    from assistant.ui.running import Running

    server.enqueue(calls(("caption_image", {})), says("one two three", pause=0.1))
    talk = opened().conversation()
    running = Running("count", lambda: talk.stream("count", [drawing()]))
    seen = set()
    while not running.done.wait(0.02):
        seen.add(running.progress.tokens)
    assert {"one ", "one two ", "one two three"} <= seen and talk.turns[-1].reply == "one two three"
    assert not any("thingone" in tokens for tokens in seen)


def test_what_a_model_thinks_is_not_said(opened: Open, server: OpenAIServer) -> None:
    server.enqueue(says("<think> the user says hi </think> Hello, a<b and <i>you</i>."))
    events = list(opened().conversation().stream("hi"))
    assert events[-1].text == "Hello, a<b and <i>you</i>."  # type: ignore[union-attr]
    assert "".join(e.text for e in events if isinstance(e, Token)).strip() == events[-1].text  # type: ignore[union-attr]


def test_calls_in_parallel_are_all_answered(opened: Open, server: OpenAIServer) -> None:
    server.enqueue(
        calls(("caption_image", {}), ("list_labels", {}), text="Let me look."), says("So.")
    )
    reply = opened().conversation().send("well?", [drawing("blue")])
    assert [c.name for c in reply.tool_calls] == ["caption_image", "list_labels"]
    asked, *results = server.messages()[-3:]
    assert [c["id"] for c in asked["tool_calls"]] == [r["tool_call_id"] for r in results]
    assert asked["content"] == "Let me look." and reply.text == "So."


def test_it_sees_small_copies_of_this_turn_s_pictures(opened: Open, server: OpenAIServer) -> None:
    server.enqueue(says("Two."))
    talk = opened().conversation()
    talk.send("look", [drawing("red", side=1200), drawing("blue")])
    message = server.messages()[-1]
    seen = pictures(message)
    assert [p.size for p in seen] == [(768, 768), (64, 64)]
    assert seen[1].getpixel((32, 32))[2] > 180  # type: ignore[index]
    words = [p["text"] for p in message["content"] if p["type"] == "text"]
    assert words == ["look\n[photo 1] [photo 2]", "photo 1:", "photo 2:"]


def test_only_the_newest_pictures_go_and_none_is_kept(
    opened: Open, server: OpenAIServer, home: Path
) -> None:
    imprint = opened()
    imprint.conversation("other").send("", ())
    talk = imprint.conversation("main")
    for number in range(1, 6):
        server.enqueue(says(f"Number {number}."))
        talk.send(f"picture {number}", [drawing("red", jitter=number)])
    sent = {m["content"] if isinstance(m["content"], str) else m["content"][0]["text"]: pictures(m)
            for m in server.messages() if m["role"] == "user"}  # fmt: skip
    assert [len(p) for p in sent.values()] == [0, 0, 1, 1, 1]
    kept = (home / "memory" / "default" / "conversations" / "main.json").read_text()
    assert "base64" not in kept and "data:" not in kept
    assert str(home) not in json.dumps(server.requests)


def test_a_brain_of_text_is_sent_none(opened: Open, server: OpenAIServer) -> None:
    server.enqueue(says("Well."))
    opened("#text").conversation().send("look", [drawing()])
    assert server.messages()[-1]["content"] == "look\n[photo 1]"


def test_a_long_conversation_is_cut_at_its_beginning(opened: Open, server: OpenAIServer) -> None:
    talk = opened("#text").conversation()
    for number in range(15):
        server.enqueue(says("Yes."))
        talk.send(f"message {number}")
    sent = server.messages()
    assert sent[0]["role"] == "system"
    assert next(m["content"] for m in sent if m["role"] == "user") == "message 3"


# --- what goes wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (("caption_image", '{"photos": [1'), "not a JSON object"),
        (("teach_label", '{"label": "zo'), "not a JSON object"),
        (("caption_image", "[1, 2]"), "not a JSON object"),
        (("caption_picture", {}), "Did you mean caption_image"),
        (("caption_image", {"size": 3}), "takes no argument"),
        (("caption_image", {"image": "/etc/passwd"}), "takes no argument"),
        (("teach_label", {"label": "zorb", "desk": "mine"}), "takes no argument"),
        (("teach_label", {}), "label"),
        (("classify_image", {"photos": [9]}), "no photo 9"),
    ],
)
def test_a_wrong_call_is_an_error_it_can_read(
    opened: Open, server: OpenAIServer, wrong: tuple[str, Any], words: str
) -> None:
    server.enqueue(calls(wrong), says("Sorry."))
    imprint = opened()
    reply = imprint.conversation().send("this is a zorb", [drawing()])
    assert reply.text == "Sorry." and [c.ok for c in reply.tool_calls] == [False]
    assert words in server.messages()[-1]["content"]
    sent = server.messages()[-2]["tool_calls"][0]["function"]["arguments"]
    assert isinstance(json.loads(sent), dict)  # some servers choke on anything else
    assert not taught(imprint)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([calls(("no", {})), calls(("nor", {}))], "it called tools wrongly twice"),
        ([calls(("no", {}), ("caption_image", "{"))], "it called tools wrongly twice"),
        ([keeps_silent()], "timed out after 1 s"),
        ([keeps_silent(alive=True)], "timed out after 1 s"),
        ([fails(500, "out of memory")], "HTTP 500: out of memory"),
        ([fails(401, f"no such key {KEY}")], "refused the key, HTTP 401: set OPENAI_API_KEY"),
        ([fails(429, f"slow down, {KEY}")], "HTTP 429: slow down, …"),
        ([fails(400, "no images, please")], "end --brain with #text"),
        ([breaks_off({"content": "It is"})], "broke off"),
        ([breaks_off({"content": "It is"}, politely=True)], "ended before the answer did"),
        ([says("")], "its answer was empty"),
        ([sends("<html>hello</html>", "text/html")], "sent no chat completion"),
        ([sends("hello", "text/event-stream")], "sent no chat completion"),
        ([sends("data: {half\n\n", "text/event-stream")], "not JSON"),
        ([sends('data: ["a"]\n\n', "text/event-stream")], "it failed, incident"),
        (
            [sends('data: {"error": {"message": "busy"}}\n\n', "text/event-stream")],
            "reported: busy",
        ),
    ],
)
def test_the_user_is_answered_and_told(
    opened: Open,
    server: OpenAIServer,
    answers: list[Any],
    words: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server.enqueue(*answers)
    talk = opened(brain_timeout=1 if "timed out" in words else 30).conversation()
    started = time.monotonic()
    reply = talk.send("describe this", [drawing("green")])
    assert time.monotonic() - started < 10
    told, answer = reply.text.split("\n")
    assert told.startswith("The language model did not answer (") and words in told
    assert told.endswith("), so I answered by my own rules.")
    assert answer == "A green thing."
    assert KEY not in reply.text + caplog.text
    # The next turn is asked anew.
    server.enqueue(says("Hello!"))
    assert talk.send("hello").text == "Hello!"


def test_a_server_that_is_not_there(home: Path, fakes: Models) -> None:
    with OpenAIServer() as gone:
        address = gone.url
    with open_assistant(home=home, models=fakes, brain=f"openai:m@{address}") as imprint:
        told, answer = imprint.conversation().send("hello").text.split("\n")
    assert f"there is no connection to {address}" in told and answer.startswith("Hello!")


def test_one_that_never_stops_calling_is_stopped(opened: Open, server: OpenAIServer) -> None:
    server.enqueue(calls(*[("list_labels", {})] * 4), *[calls(("list_labels", {}))] * 9)
    reply = opened().conversation().send("go")
    assert len(reply.tool_calls) == 6 and len(server.requests) == 4
    assert reply.text.startswith("Nothing yet") and "I stopped after 6 calls" in reply.text


def test_calls_beyond_the_limit_are_answered_too(opened: Open, server: OpenAIServer) -> None:
    server.enqueue(calls(*[("list_labels", {})] * 9), says("Enough."))
    reply = opened().conversation().send("go")
    assert reply.text == "Enough." and len(reply.tool_calls) == 6
    results = [m for m in server.messages() if m["role"] == "tool"]
    assert len(results) == 9 and "too many" in results[-1]["content"]


def test_one_that_never_stops_talking_is_stopped(opened: Open, server: OpenAIServer) -> None:
    server.enqueue(endless(" ".join(f"blah{n}" for n in range(1_000)), pause=0.0))
    reply = opened().conversation().send("go")
    assert 20_000 < len(reply.text) < 32_000 and server.left.wait(5)


def test_one_that_says_the_same_for_ever_is_stopped(opened: Open, server: OpenAIServer) -> None:
    server.enqueue(endless("I am here to assist you with that. ", pause=0.0))
    reply = opened().conversation().send("what can you do?")
    assert "said the same again and again" in reply.text and server.left.wait(5)
    assert "I can say what a picture shows" in reply.text or "send me a picture" in reply.text


def test_a_list_is_not_the_same_for_ever(opened: Open, server: OpenAIServer) -> None:
    text = "| a | b |\n|---|---|\n" + "-" * 120 + " one two three four. one two three five."
    server.enqueue(says(text))
    assert opened().conversation().send("tell me").text.split() == text.split()


@pytest.mark.parametrize("sees", ["", "#text"])
def test_what_it_only_says_that_it_did_is_done(
    opened: Open, server: OpenAIServer, sees: str
) -> None:
    server.enqueue(says("Done! I have learned that this is a zorb."))
    imprint = opened(sees)
    reply = imprint.conversation().send("this is a zorb", [drawing("red")])
    assert "it used no tool for what you asked" in reply.text and "Learned zorb" in reply.text
    assert taught(imprint) == ["zorb"]


def test_one_that_asks_back_is_let_be(opened: Open, server: OpenAIServer) -> None:
    server.enqueue(says("The round one or the square one?"))
    imprint = opened()
    reply = imprint.conversation().send("this is a zorb", [drawing("red")])
    assert reply.text == "The round one or the square one?" and taught(imprint) == []


def test_a_picture_that_it_never_saw_is_looked_at(opened: Open, server: OpenAIServer) -> None:
    for suffix, told in (("", "A type of fastener."), ("#text", "A red thing.")):
        server.enqueue(says("A type of fastener."))
        reply = opened(suffix).conversation().send("describe this", [drawing("red")])
        assert told in reply.text
        assert ("used no tool" in reply.text) == bool(suffix)


def test_it_is_not_told_of_its_own_failures(opened: Open, server: OpenAIServer) -> None:
    server.enqueue(says("Done!"), says("Two."))
    chat = opened().conversation()
    assert "by my own rules" in chat.send("this is a zorb", [drawing("red")]).text
    chat.send("how many are there?")
    said = [m["content"] for m in server.messages() if m["role"] == "assistant"]
    assert "Learned zorb (1 picture)." in said and "own rules" not in str(server.requests)


def test_what_needs_no_tool_is_its_own(opened: Open, server: OpenAIServer) -> None:
    server.enqueue(says("The capital of France is Paris."))
    reply = opened("#text").conversation().send("What is the capital of France?")
    assert reply.text == "The capital of France is Paris."


@pytest.mark.parametrize("message", ["this is a zorb", "describe this. it is a zorb"])
def test_what_was_done_before_the_router_takes_over_is_not_done_again(
    opened: Open, server: OpenAIServer, message: str
) -> None:
    server.enqueue(calls(("teach_label", {"label": "zorb"})), fails(500, "gone"))
    imprint = opened()
    reply = imprint.conversation().send(message, [drawing("red")])
    assert [c.name for c in reply.tool_calls].count("teach_label") == 1
    assert "Learned zorb (1 picture)." in reply.text and "I already know" not in reply.text
    assert ("A red thing." in reply.text) is ("describe" in message)
    imprint.call("undo")
    assert not taught(imprint)


def test_stopping_closes_the_request(opened: Open, server: OpenAIServer) -> None:
    server.enqueue(endless("and "))
    talk = opened().conversation()
    stream = talk.stream("go")
    for event in stream:
        if isinstance(event, Token) and event.text:
            break
    stream.close()  # type: ignore[attr-defined]
    assert server.left.wait(5) and talk.turns[-1].stopped


def test_a_silent_one_can_be_stopped_at_once(opened: Open, server: OpenAIServer) -> None:
    server.enqueue(keeps_silent())
    stream = opened().conversation().stream("go")
    started = time.monotonic()
    assert next(stream) == Token("")
    stream.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 2


def test_a_bug_in_somebody_s_model_is_logged_and_the_router_answers(
    home: Path, fakes: Models, caplog: pytest.LogCaptureFixture
) -> None:
    with open_assistant(home=home, models=fakes, brain=ScriptedBrain()) as imprint:
        told, answer = imprint.conversation().send("hello").text.split("\n")  # nothing enqueued
    incident = told.split("incident ")[1][:6]
    assert answer.startswith("Hello!") and "pop from empty list" not in told
    assert any(incident in r.message and r.exc_info for r in caplog.records)


def test_an_empty_answer_after_results_is_the_results(home: Path, fakes: Models) -> None:
    brain = ScriptedBrain()
    call = {"name": "caption_image", "args": {}, "id": "1", "type": "tool_call"}
    brain.enqueue(AIMessage("", tool_calls=[call]), AIMessage(""))
    with open_assistant(home=home, models=fakes, brain=brain) as imprint:
        assert imprint.conversation().send("?", [drawing("grey")]).text == "A grey thing."


# --- how one is chosen ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec",
    ["gpt", "openai", "openai:", "local:", "router:x", "openai:m@localhost:11434/v1", "#text", ""],
)
def test_a_spec_that_is_none_names_those_that_are(home: Path, fakes: Models, spec: str) -> None:
    with pytest.raises(SettingsError, match=r"no brain called.*router.*openai:MODEL.*local:MODEL"):
        open_assistant(home=home, models=fakes, brain=spec)


def test_a_chat_model_is_shown_pictures_if_it_says_that_it_sees(home: Path, fakes: Models) -> None:
    for profile, kind in (({"image_inputs": True}, list), ({}, str)):
        brain = ScriptedBrain(profile=profile)
        brain.enqueue(AIMessage("Well."))
        with open_assistant(home=home, models=fakes, brain=brain) as imprint:
            imprint.conversation().send("look", [drawing()])
        assert isinstance(brain._seen[0][-1].content, kind)


def test_a_chat_model_without_tools_is_refused(home: Path, fakes: Models) -> None:
    with pytest.raises(SettingsError, match="FakeListChatModel calls no tools"):
        open_assistant(home=home, models=fakes, brain=FakeListChatModel(responses=["hi"]))


def test_openai_itself_wants_a_key(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(SettingsError, match="set OPENAI_API_KEY"):
        open_assistant(home=home, brain="openai:gpt-5")


def test_a_server_of_one_s_own_needs_none(
    home: Path, fakes: Models, server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("IMPRINT_BRAIN", f"openai:m@{server.url}")
    server.enqueue(says("Hi."))
    with open_assistant(home=home, models=fakes) as imprint:
        assert imprint.conversation().send("hello").text == "Hi."


def test_the_key_is_in_no_repr(opened: Open) -> None:
    imprint = opened()
    assert KEY not in repr(imprint._brain) + repr(imprint) + repr(imprint.settings)


def test_without_the_extra_one_sentence_says_what_to_install(home: Path) -> None:
    code = (
        "import sys; sys.modules['langchain_openai'] = None\n"
        "from assistant import open_assistant\n"
        f"open_assistant({str(home)!r}, brain='openai:m@http://127.0.0.1:9/v1')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert "SettingsError" in done.stderr and "imprint-assistant[llm]" in done.stderr


def test_the_terminal_takes_it_before_and_after_the_command(
    home: Path, server: OpenAIServer
) -> None:
    for before, after in ((True, False), (False, True)):
        server.enqueue(says("Hello from afar."))
        option = ["--brain", f"openai:m@{server.url}"]
        args = ["--home", str(home), *option * before, "ask", "hello", *option * after]
        done = CliRunner().invoke(app, args)
        assert done.exit_code == 0 and done.stdout == "Hello from afar.\n", done.output
    wrong = CliRunner().invoke(app, ["--home", str(home), "--brain", "gpt", "ask", "hello"])
    assert wrong.exit_code == 1 and "no brain called" in wrong.stderr


def test_nothing_of_it_is_imported_unasked() -> None:
    code = (
        "import sys, assistant.agent, assistant.build\n"
        "print(sorted({'openai', 'langchain_openai', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


def test_two_conversations_ask_at_once(opened: Open, server: OpenAIServer) -> None:
    imprint = opened(brain_timeout=20)
    server.enqueue(*[says("Both are here.", requests=2)] * 2)
    replies: list[str] = []
    threads = [
        threading.Thread(target=lambda: replies.append(imprint.conversation().send("go").text))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert replies == ["Both are here."] * 2
