"""What the project says of itself: commands, versions and licences agree with the code."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def command(name: str) -> str:
    found = re.search(rf"<!-- command: {name} -->\n```sh\n(.+)\n```", README)
    assert found, f"README has no one-line command {name!r}"
    return found[1]


def requirement(line: str) -> str:
    return re.split(r"[<>=!;\[ ]", line)[0].lower().replace("_", "-")


def test_the_two_commands_are_single_lines_that_make_their_own_environment() -> None:
    for name, ending in (("start", "app.py"), ("test", "-m pytest -n auto --dist loadfile")):
        line = command(name)
        assert line.startswith("python3 -m venv .venv && .venv/bin/pip install")
        assert "-c constraints.txt" in line and line.endswith(ending)


def test_constraints_pin_every_dependency_and_nothing_else_by_range() -> None:
    pins = {
        requirement(x): x
        for x in (ROOT / "constraints.txt").read_text().splitlines()
        if x and not x.startswith("#")
    }
    assert all("==" in x for x in pins.values())
    needed = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"]]
    assert {requirement(x) for x in needed} <= set(pins)


def test_the_space_installs_the_dependencies() -> None:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert [x for x in lines if not x.startswith("#")] == PROJECT["dependencies"]
    front = README.split("---")[1]
    assert "sdk: gradio" in front and "app_file: app.py" in front
    version = re.search(r"sdk_version: (\S+)", front)
    assert version and f"gradio=={version[1]}" in (ROOT / "constraints.txt").read_text()
    assert (ROOT / "app.py").exists()


def test_the_top_level_is_the_design_s() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout: the packed files are listed by the build")
    top = {x.split("/")[0] for x in listed.stdout.split("\n") if x}
    assert top <= {
        "pyproject.toml", "app.py", "assistant", "tools", "finetune", "tests", "README.md",
        "constraints.txt", "requirements.txt", "LICENSE", "NOTICE", "CHANGELOG.md", ".gitignore",
        ".ci",
    }  # fmt: skip


def test_every_command_of_the_readme_s_terminal_exists() -> None:
    from typer.main import get_command

    from assistant.cli import app

    commands = set(get_command(app).commands)  # type: ignore[attr-defined]
    named = re.search(r"lists the commands: (.+?)\. Each", README, re.S)
    assert named and set(re.findall(r"`(\w+)`", named[1])) == commands


def test_every_environment_variable_of_the_readme_is_a_setting() -> None:
    from assistant.settings import Settings
    from tools.config import Config

    fields = {f"IMPRINT_{n.upper()}" for n in (*Settings.model_fields, *Config.model_fields)}
    assert set(re.findall(r"`(IMPRINT_\w+)`", README)) == fields


def test_the_readme_s_terminal_conversation_runs(tmp_path: Path) -> None:
    lines = re.findall(r"^\.venv/bin/imprint (ask .+)$", README, re.M)
    assert len(lines) == 7
    answers = []
    for line in lines:
        done = subprocess.run(
            [sys.executable, "-m", "assistant", *shlex.split(line), "--home", str(tmp_path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        answers.append(done.stdout.strip())
    caption, taught, known, unknown, fixed, knows, undone = answers
    assert "car" in caption.split()[-1]
    assert taught.startswith("Learned zorb (1 picture).")
    assert known.startswith("Zorb, ") and "you showed me" in known
    assert unknown.startswith("I don't know this.")
    assert fixed.startswith("Learned blick (1 picture).")
    assert "zorb" in knows and "blick" in knows
    assert undone.startswith("Undone")


def test_the_notice_names_all_data_that_ships() -> None:
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    for name in ("Noto", "Twemoji", "Fluent", "Fashion-MNIST", "Omniglot", "easy-VQA", "Caltech"):
        assert name.lower() in notice.lower(), name
