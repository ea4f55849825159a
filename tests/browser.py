"""A real Chromium for tests: found, started quietly, and driven as people drive it."""

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

__all__ = ["Screen", "chromium"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
_PATIENCE = 20_000  # milliseconds: a first answer may wait for the models
expect.set_options(timeout=_PATIENCE)  # of itself it gives up after five seconds


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running Chromium; skips without one, or fails where ``IMPRINT_REQUIRE_BROWSER`` is 1."""
    path = next((p for p in map(shutil.which, _NAMES) if p), None)
    if path is None:
        reason = "no Chromium on this machine: apt-get install chromium"
        if os.environ.get("IMPRINT_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=_ARGUMENTS)
        yield browser
        browser.close()


class Screen:
    """A page of Imprint in a browser tab."""

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        self._context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 800}, "permissions": ["camera"], **options}
        )
        self._context.set_default_timeout(_PATIENCE)
        self.page: Page = self._context.new_page()
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("pageerror", lambda e: self.errors.append(str(e)))
        self.page.on("request", lambda r: self.requests.append(r.url))
        self.page.on("dialog", lambda d: (self.errors.append(d.message), d.dismiss()))
        self.page.goto(url)
        self.wait()

    def __enter__(self) -> "Screen":
        return self

    def __exit__(self, *_: object) -> None:
        self._context.close()

    def wait(self) -> None:
        """Until the page is at rest: nothing works, a message may be sent."""
        self.page.wait_for_selector("#imp-box .submit-button")
        self.page.wait_for_selector("#imp-side .imp-known")

    def reload(self) -> None:
        """As the browser's button does."""
        self.page.reload()
        self.wait()

    def say(self, text: str = "", pictures: Sequence[Path] = ()) -> str:
        """Attach pictures, type, press Enter; returns the answer's text."""
        turns = self.page.locator("#imp-chat .user-row").count()
        if pictures:
            self.attach(pictures)
        if text:
            self.page.fill("#imp-box textarea", text)
        self.page.press("#imp-box textarea", "Enter")
        self.answered(after=turns)
        return self.answer

    def attach(self, pictures: Sequence[Path]) -> None:
        """Choose files with the paper clip."""
        attached = self.page.locator("#imp-box .thumbnail-item")
        before = attached.count()
        with self.page.expect_file_chooser() as chooser:
            self.page.click("#imp-box button[aria-label='Upload a file']")
        chooser.value.set_files([str(p) for p in pictures])
        expect(attached).to_have_count(before + len(pictures))

    def click(self, button: str) -> str:
        """Press a button under the last answer; returns the next answer's text."""
        turns = self.page.locator("#imp-chat .user-row").count()
        self.page.click(f"#imp-chat .option:text-is('{button}')")
        self.answered(after=turns)
        return self.answer

    def answered(self, after: int) -> None:
        """Wait until there are more user rows than ``after`` and the turn is done."""
        self.page.wait_for_function(
            "n => document.querySelectorAll('#imp-chat .user-row').length > n", arg=after
        )
        self.page.wait_for_selector("#imp-chat button[aria-label=Retry]:visible")
        self.page.wait_for_selector("#imp-box .submit-button")

    @property
    def answer(self) -> str:
        """The text of everything since the last thing the user said."""
        rows = self.page.locator("#imp-chat .message-row")
        texts: list[str] = []
        for i in reversed(range(rows.count())):
            if "user-row" in (rows.nth(i).get_attribute("class") or ""):
                break
            texts.insert(0, rows.nth(i).inner_text())
        return re.sub(r"\n+", "\n", "\n".join(texts))

    @property
    def options(self) -> list[str]:
        """The buttons under the last answer."""
        return self.page.locator("#imp-chat .option").all_inner_texts()

    @property
    def labels(self) -> list[str]:
        """The labels in the panel "What I know"."""
        return self.page.locator("#imp-side .imp-labels strong").all_inner_texts()

    def sees(self, selector: str) -> bool:
        """Whether every picture of a selector, and at least one, is loaded and drawn."""
        script = """s => { const all = [...document.querySelectorAll(s)];
            return all.length > 0 && all.every(i => i.complete && i.naturalWidth > 0) }"""
        self.page.wait_for_function(script, arg=selector)
        return True
