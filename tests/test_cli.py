"""The terminal: every command, for people and as JSON, with errors that help."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import assistant.cli.options as options
from assistant.cli import app
from assistant.cli.lines import photos_in
from tests.conftest import PICTURES
from tests.fakes import drawing

APPLE = str(PICTURES / "apple_fluent.png")


@pytest.fixture
def run(home: Path) -> Callable[..., Result]:
    """Runs a command on a clean home and the pocket models."""

    def invoke(*args: str, code: int = 0, stdin: str | None = None) -> Result:
        result = CliRunner().invoke(app, ["--home", str(home), *args], input=stdin)
        assert result.exit_code == code, result.output + repr(result.exception)
        return result

    return invoke


def test_the_last_message_is_said_again_or_taken_back(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    red = tmp_path / "red.png"
    drawing("red").save(red)
    assert "Nothing has been said" in run("again", code=1).stderr
    run("ask", "this is a zrob", "-p", str(red))
    assert "Learned zorb (1 picture)" in run("again", "this is a zorb").stdout
    taken = json.loads(run("rewind", "--json").stdout)
    assert taken["text"] == "this is a zorb" and "1 picture of zorb" in taken["asks"]
    assert "Took back 1 picture of zorb." in run("ask", "yes").stdout
    assert json.loads(run("labels", "--json").stdout)["artifacts"][0]["labels"] == []


def test_teaching_lives_from_command_to_command(run: Callable[..., Result], tmp_path: Path) -> None:
    red, blue = tmp_path / "red.png", tmp_path / "blue.png"
    drawing("red").save(red)
    drawing("blue", "cross").save(blue)
    assert "Learned zorb" in run("teach", "zorb", str(red)).stdout
    listed = json.loads(run("labels", "--json").stdout)
    assert listed["artifacts"][0]["labels"][0]["name"] == "zorb"
    found = json.loads(run("classify", str(red), "--json").stdout)
    assert found["artifacts"][0]["candidates"][0]["name"] == "zorb"
    for jitter in (1, 2):
        drawing("red", jitter=jitter).save(tmp_path / f"red{jitter}.png")
        run("teach", "zorb", str(tmp_path / f"red{jitter}.png"))
    told = run("report").stdout.splitlines()
    assert told[0].startswith("I know 1 thing from 3 pictures: ")
    assert told[1].split()[:3] == ["zorb", "3", "pictures"] and " of 3 right (" in told[1]
    known = json.loads(run("report", "zorb", "--json").stdout)["artifacts"][0]
    assert known["kind"] == "knowledge" and known["overall"]["asked"] == 3
    assert "gromp" in run("report", "gromp", code=1).stderr
    assert "Forgot zorb" in run("forget", "zorb").stdout
    assert "zorb is back" in run("undo").stdout
    # A conversation goes on from one command to the next.
    run("ask", "what is this?", "--photo", str(blue), "-p", str(red))
    fixed = json.loads(run("ask", "no, it's a blick", "--json").stdout)
    (call,) = fixed["tool_calls"]
    assert call["name"] == "teach_label" and call["ok"], "what was not known is taught"
    assert call["args"]["label"] == "blick"


def test_single_tasks(run: Callable[..., Result]) -> None:
    assert run("caption", APPLE).stdout.strip()
    assert json.loads(run("caption", APPLE, "--json").stdout)["artifacts"][0]["kind"] == "caption"
    assert run("answer", APPLE, "what colour is it?").stdout.strip()
    vector = json.loads(run("embed", APPLE, "--json").stdout)["vector"]
    assert sum(x * x for x in vector) == pytest.approx(1, abs=1e-3)
    values = json.loads(run("similarity", APPLE, "apple", "car", "--json").stdout)["similarity"]
    assert values["apple"] > values["car"]
    chosen = run("classify", APPLE, "--label", "apple", "--label", "car").stdout
    assert "apple" in chosen


def test_chat_reads_lines_and_finds_pictures_in_them(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    drawing().save(tmp_path / "a zorb.png")
    lines = f"this is a zorb '{tmp_path / 'a zorb.png'}'\nwhat's that?\n\n"
    out = run("chat", "--json", stdin=lines).stdout.splitlines()
    assert [json.loads(x)["tool_calls"][0]["name"] for x in out] == [
        "teach_label",
        "classify_image",
    ]
    assert photos_in("what's this") == ("what's this", [])


def test_errors_are_one_sentence_and_exit_1(run: Callable[..., Result], tmp_path: Path) -> None:
    missing = run("caption", str(tmp_path / "no.png"), code=1)
    assert missing.stderr == "imprint: There is no file no.png: check its path.\n"
    as_json = json.loads(run("forget", "zorb", "--json", code=1).stdout)
    assert as_json["kind"] == "UnknownLabel"
    assert "--profile" in run("--profile", "huge", "labels", code=1).stderr
    run("labels", "--colour", code=2)
    absent = run("--embedder", "nobody/nothing", "embed", APPLE, code=1).stderr
    assert "hf download nobody/nothing" in absent


def test_the_environment_sets_the_home(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "assistant", "labels"],
        env={**os.environ, "IMPRINT_HOME": str(tmp_path / "here")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("Nothing yet")
    assert (tmp_path / "here" / "memory" / "default" / "journal").exists()


def test_options_may_stand_on_either_side(home: Path, tmp_path: Path) -> None:
    common = options.Common(home=tmp_path, profile="pocket")
    assert common.over(home, None, "anna") == options.Common(home, "pocket", "anna")
