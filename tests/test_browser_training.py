"""The card of a training in a real Chromium: how far it is, and what it came to."""

import fcntl
import json
from pathlib import Path

import pytest
from playwright.sync_api import expect

from assistant import open_assistant
from assistant.ui import serve
from tests.browser import Screen, chromium
from tests.training_parts import ASK
from tools.models import Models
from tools.wording import capital

pytestmark = [
    pytest.mark.browser,
    # As in tests/test_browser.py.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <(socket|function BaseEventLoop|function _Selector)"
        ":pytest.PytestUnraisableExceptionWarning"
    ),
]
EVIL = "<img src=x onerror=alert(1)>"


def running_job(runs: Path) -> Path:
    """A job half way through the second of two models that measure; returns its log."""
    run = runs / "default.1"
    run.mkdir(parents=True)
    order = {"workspace": "default", "labels": ["zorb", EVIL], "pictures": 24, "stopped": False}
    (runs / "default.1.json").write_text(json.dumps(order))
    log = runs / "default.1.log"
    log.write_text("123\nbegun\n")
    fold = {"train": [], "val": [], "test": []}
    plan = {"final": fold, "folds": [{**fold, "test": [0]}, {**fold, "test": [1]}]}
    (run / "data.json").write_text(json.dumps({"plan": plan}))
    events = [
        {"event": "step", "fold": 2, "step": i, "steps": 60, "loss": 3 / i,
         "time": f"2026-01-01T10:00:{i:02}+00:00"}
        for i in range(1, 31)
    ]  # fmt: skip
    (run / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    return log


def finish(run: Path) -> None:
    shares = {"trained": (0.96, 0.8, 0.99), "base": (0.5, 0.3, 0.7), "exemplars": (0.7, 0.5, 0.85)}
    figures = {
        name: {"accuracy": dict(zip(("value", "low", "high"), x, strict=True)) | {"n": 24}}
        for name, x in shares.items()
    }
    results = {
        "figure": "accuracy", "figures": figures, "gains": {"base": {}, "exemplars": {}},
        "worth_using": True, "method": "lora", "verdict": "Worth using: 96.0 % right.",
    }  # fmt: skip
    (run / "results.json").write_text(json.dumps(results))
    (run / "training_metadata.json").write_text(json.dumps({"status": "finished"}))


def test_a_training_is_shown_as_it_goes_and_as_it_ended(
    home: Path, pocket: Models, tmp_path: Path
) -> None:
    log = running_job(home / "runs")
    imprint = open_assistant(home=home, models=pocket)
    served = serve(imprint, prevent_thread_lock=True, quiet=True)
    try:
        with chromium() as browser, Screen(browser, served.url) as screen:
            card = screen.page.locator(".imp-training")
            with log.open("rb") as held:
                fcntl.flock(held, fcntl.LOCK_EX)  # as its process does while it lives
                told = screen.say(ASK)
            assert "50 % done, loss 0.100, about 2 minutes left at most" in told
            assert screen.options == [capital(ASK), "Stop the training"]
            expect(card.locator("meter")).to_have_attribute("value", "0.500")
            expect(card.locator("polyline")).to_be_visible()
            screen.page.screenshot(path=tmp_path / "running.png")
            finish(home / "runs" / "default.1")
            told = screen.click(capital(ASK))
            assert "Worth using: 96.0 % right. Shall I use it?" in told
            assert screen.options == ["Use it"]
            rows = card.last.locator("tr")
            assert [r.locator("td").first.inner_text() for r in rows.all()] == [
                "trained",
                "before training",
                "your pictures, no training",
            ]
            assert EVIL in card.last.inner_text()
            screen.page.screenshot(path=tmp_path / "done.png")
            assert not screen.errors
    finally:
        imprint.close()
        served.close()
