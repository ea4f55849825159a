"""Train on what was taught, follow it, stop it, use the result: real processes, a tiny model."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from assistant import open_assistant
from assistant.build import Imprint
from tests.finetune_data import picture
from tests.training_parts import (
    ASK,
    assistant,
    colour_only,
    end_processes,
    teach,
    trained,
    until,
)
from tools.artifacts import Answer, Recognition
from tools.errors import BadCall, ToolError

pytestmark = pytest.mark.filterwarnings(
    # forked and gone before anything of this process is used: assistant/detached.py
    "ignore:This process .* is multi-threaded:DeprecationWarning"
)


@pytest.fixture(autouse=True)
def _ended(home: Path) -> Iterator[None]:
    yield
    end_processes(home)


def test_what_is_missing_is_said_before_anything_starts(imprint: Imprint) -> None:
    chat = imprint.conversation()
    assert "you have taught me nothing yet" in chat.send("train on what I taught you").text
    chat.send("this is a zorb", [picture("disc", 0)])
    assert "I only know a zorb" in chat.send("train on what I taught you").text
    chat.send("this is a zorb", [picture("disc", 1)])
    chat.send("this is a blick", [picture("box", 0)])
    told = chat.send("train on zorbs and blicks").text
    assert "one picture of blick, and I need two of each" in told
    assert "you named only a zorb" in chat.send("train on zorbs").text
    assert "don't know a label called gromps" in chat.send("train on gromps").text
    assert "I have not trained anything yet" in chat.send(ASK).text
    assert "nothing to stop" in chat.send("stop the training").text
    assert "nothing to stop using" in chat.send("stop using the adapter").text
    assert "I have not trained anything yet" in chat.send("use the adapter").text
    with pytest.raises(ToolError, match="a classifier on the embedder"):
        imprint.call("train_adapter", method="linear")
    with pytest.raises(BadCall, match="no method 'lore': there is lora, qlora"):
        imprint.call("train_adapter", method="lore")
    assert not (imprint.config.home / "runs").exists()


def test_strangers_train_nothing(home: Path) -> None:
    with assistant(home, public=True) as imprint:
        chat = imprint.conversation()
        teach(chat, 2)
        assert "switched off here" in chat.send("train on what I taught you").text
        assert not (home / "runs").exists()


def test_a_training_is_followed_over_a_restart_and_offered_only_when_better(home: Path) -> None:
    with assistant(home, epochs=8) as imprint:
        chat = imprint.conversation("a")
        teach(chat)
        reply = chat.send("train on zorbs and blicks")
        assert "has begun" in reply.text and reply.options == (ASK, "stop the training")
        assert trained(reply).pictures == 16
        assert "is not over yet" in chat.send("train on what I taught you").text
        imprint.close()  # the training goes on
        settings = (home / "runs" / "default.1.json").read_text()
        assert json.loads(settings)["labels"] == ["zorb", "blick"]
    with assistant(home) as imprint:
        chat = imprint.conversation("a")
        running = trained(until(chat, lambda t: bool(t.losses) or not t.goes_on))
        assert running.state == "running" and 0 < running.progress < 1
        reply = until(chat, lambda t: not t.goes_on)
        assert "is no better than the recogniser with the same pictures" in reply.text
        found = trained(reply)
        assert found.state == "finished" and not found.offered and not reply.options
        assert [f.n for f in found.figures] == [16, 16, 16]
        assert [f.name for f in found.figures] == ["trained", "base", "exemplars"]
        assert "no better" in chat.send("use it").text
        assert not (home / "adapters").exists()
        assert "Good." in chat.send("yes").text  # nothing was offered


def test_a_better_one_is_offered_used_and_given_back(home: Path) -> None:
    """The embedder sees no shapes: the trained model is right more often than the exemplars."""
    shown = picture("disc", 77)
    with assistant(home, embedder=str(colour_only())) as imprint:
        chat = imprint.conversation("a")
        teach(chat, 12)
        chat.send("train on what I taught you")
        reply = until(chat, lambda t: not t.goes_on)
        assert "Worth using: 100.0 %" in reply.text and reply.options == ("use it",)
        assert "Shall I use it?" in reply.text
        reply = chat.send("yes")
        assert "From now on default.1 has a vote" in reply.text
        assert reply.options == ("stop using it",)
        # To this embedder every picture is new, and an adapter does not overrule that.
        found = chat.send("what is this?", [shown]).artifacts[0]
        assert isinstance(found, Recognition) and found.decision == "unknown" and not found.vote
    with assistant(home) as imprint:  # another embedder, and the same answerer
        chat = imprint.conversation("b")
        reply = chat.send("what is this?", [shown])
        found = reply.artifacts[0]
        assert isinstance(found, Recognition)
        assert (found.decision, found.adapter, found.vote) == ("known", "default.1", "zorb")
        assert "Default.1 says so too." in reply.text and "I now use" in reply.text
        assert "I now use" not in chat.send("what is this?", [shown]).text
        step = imprint.call("answer_question", [shown], question="What is this?")
        (answer,) = step.artifacts
        assert isinstance(answer, Answer)
        assert (answer.text, answer.adapter) == ("zorb", "default.1")
        imprint.call("rename_label", label="zorb", new="gromp")  # it knows zorbs, called gromps now
        assert imprint.call("answer_question", [shown], question="what is it?").sentence == "Gromp."
        assert "I use it" in chat.send(ASK).text
        assert "I no longer use default.1" in chat.send("stop using it").text
        found = chat.send("what is this?", [shown]).artifacts[0]
        assert isinstance(found, Recognition) and not found.adapter
        assert "From now on default.1" in chat.send("use the adapter").text


def test_of_dozens_of_pictures_every_one_measures(home: Path) -> None:
    with open_assistant(home=home, profile="pocket") as imprint:
        chat = imprint.conversation("a")
        teach(chat, 16)
        reply = chat.send("train on zorbs and blicks with qlora")
        assert "start Imprint with --quantize" in reply.text
        chat.send("train on what I taught you")
        run = home / "runs" / "default.1"
        until(chat, lambda t: run.is_dir())
        settings = yaml.safe_load((run / "settings.yaml").read_text())
        assert settings["data"]["source"] == "memory:default" and settings["method"] == "lora"
        assert settings["data"]["only"] == ["zorb", "blick"]
        assert settings["model"] == {
            "answerer": "pocket:llava", "captioner": "pocket:blip", "embedder": "pocket:clip"
        }  # fmt: skip
        folds = json.loads((run / "data.json").read_text())["plan"]["folds"]
        assert len(folds) == 3 and sum(len(fold["test"]) for fold in folds) == 32


def test_one_trains_while_another_waits_and_both_can_be_stopped(home: Path) -> None:
    with assistant(home, epochs=5000) as imprint:
        first = imprint.conversation("a")
        second = imprint.conversation("a", workspace="other")
        teach(first, 2)
        teach(second, 2)
        first.send("train on what I taught you")
        reply = second.send("train on what I taught you")
        assert "next in line" in reply.text and trained(reply).state == "queued"
        until(first, lambda t: len(t.losses) > 2)
        assert trained(second.send(ASK)).state == "queued"
        assert "was stopped" in second.send("stop the training").text
        assert "nothing to stop" in second.send("stop the training").text
        reply = first.send("stop the training")
        assert "was stopped" in reply.text and "runs resume default.1" in reply.text
        assert trained(reply).state == "cancelled" and trained(reply).resumable
        saved = home / "runs" / "default.1"
        assert json.loads((saved / "training_metadata.json").read_text())["status"] == "stopped"
        assert list(saved.glob("checkpoints/fold-1/checkpoint-*/trainer_state.json"))
        first.send("train on what I taught you")
        until(first, lambda t: bool(t.losses))
        pid = int((home / "runs" / "default.2.log").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        reply = until(first, lambda t: not t.goes_on)
        assert trained(reply).state == "failed" and "ended from outside" in reply.text


def test_a_process_says_its_number_then_whether_it_has_begun(tmp_path: Path) -> None:
    """Before the one that starts it returns, however slow either of them is."""
    slow = """
import os, sys, time
from assistant import detached
say, first, slow = detached._say, os.getpid(), sys.argv[1] == "parent"
def late(line):
    time.sleep(0.5 if slow == (os.getpid() == first) else 0)
    say(line)
detached._say = late
detached.main([sys.argv[2], sys.executable, "-c", "import os; print(os.getpid())"])
"""

    def said(who: str, log: Path, turn: Path) -> list[str]:
        with log.open("wb") as file:
            subprocess.run(
                [sys.executable, "-c", slow, who, str(turn)],
                cwd=Path(__file__).parents[1],
                stdout=file,
                check=True,
            )
        return log.read_text().split()

    for who in ("parent", "child"):
        # A turn each: the command of the first may still hold its own.
        number, begun, *_ = said(who, tmp_path / who, tmp_path / f"{who}.turn")
        assert number.isdigit() and begun == "begun"
    turn = tmp_path / "turn"
    with turn.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        (waiting,) = said("child", tmp_path / "waits", turn)
        assert waiting.isdigit()
    end = time.monotonic() + 30
    while len(lines := (tmp_path / "waits").read_text().split()) < 3 and time.monotonic() < end:
        time.sleep(0.05)
    assert lines == [waiting, "begun", waiting]
