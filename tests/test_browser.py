"""The page as people use it, in a real Chromium, on the shipped models."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from assistant import open_assistant
from assistant.ui import Served, serve
from tests.browser import Screen, chromium
from tests.conftest import PICTURES
from tests.fakes import FakeCaptioner, FakeEmbedder
from tests.page_client import CountingCaptioner, EndlessAnswerer
from tools.images import open_photo
from tools.models import Models

# gradio's queue sums itself up with pandas after every event, in words that pandas 3 deprecates:
# https://github.com/gradio-app/gradio/blob/gradio%406.31.0/gradio/queueing.py#L176
# And the sockets of a server that was closed are sometimes left to the garbage collector.
pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <(socket|function BaseEventLoop|function _Selector)"
        ":pytest.PytestUnraisableExceptionWarning"
    ),
]
ONE, OTHER, ELSE = (PICTURES / f"{n}.png" for n in ("dragon_noto", "dragon_fluent", "car_fluent"))
EVIL = "zorb <img src=x onerror=\"document.title='pwned'\">"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def start(home: Path, pocket: Models) -> Iterator[Callable[..., Served]]:
    """Serves the page on the same home each time it is called."""
    running: list[Callable[[], None]] = []

    def stop() -> None:
        while running:
            running.pop()()

    def begin(models: Models = pocket) -> Served:
        stop()
        imprint = open_assistant(home=home, models=models)
        served = serve(imprint, prevent_thread_lock=True, quiet=True)
        running.extend([imprint.close, served.close])
        return served

    yield begin
    stop()


def test_the_seven_steps(browser: Browser, start: Callable[..., Served]) -> None:
    url = start().url
    with Screen(browser, url) as screen:
        page = screen.page
        expect(page.get_by_text("Show me something, and tell me what it is.")).to_be_visible()
        screen.say("describe this", [ELSE])
        assert len(screen.answer.split()) > 3 and "Described the picture" in screen.answer
        assert "Learned zorb" in screen.say("this is a zorb", [ONE])
        assert "Undo" in screen.options and screen.labels == ["zorb"]
        assert screen.sees(".imp-card img")
        told = screen.say("what is this?", [OTHER])
        assert "zorb" in told.casefold()
        assert screen.sees(".imp-evidence img") and screen.sees(".imp-photos img")
        assert page.locator(".imp-photos figcaption").all_inner_texts() == [
            "photo 1",
            "photo 2",
            "photo 3",
        ]
        assert "blick" in screen.say("no, it's a blick")
        assert screen.labels == ["zorb", "blick"]
        assert "blick" in screen.say("what do you know?")
        screen.reload()
        assert page.locator("#imp-chat .user-row").count() > 7
        assert screen.sees(".imp-photos img")
        assert "Blick" in screen.say("what is photo 3?")
        assert not screen.errors
        strangers = [r for r in screen.requests if not r.startswith((url, "data:", "blob:"))]
        assert not strangers
        state = screen._context.storage_state()
    url = start().url
    with Screen(browser, url, storage_state=_at(state, url)) as later:
        assert "what do you know?" in later.page.locator("#imp-chat").inner_text()
        assert later.labels == ["zorb", "blick"]
        assert "Blick" in later.say("what is this?", [OTHER])


def test_undo_and_the_tour_are_a_click_each(browser: Browser, start: Callable[..., Served]) -> None:
    with Screen(browser, start().url) as screen:
        screen.page.click("#imp-chat .example:has-text('Teach me a creature')")
        screen.answered(after=0)
        assert "Learned zorb" in screen.answer and screen.labels == ["zorb"]
        told = screen.click("Ask about another drawing of it")
        assert "zorb" in told.casefold() and screen.sees(".imp-evidence img")
        screen.say("this is a blick", [ELSE])
        assert screen.labels == ["zorb", "blick"]
        assert "Blick" in screen.say("what is this?", [ELSE])  # the same file once more
        screen.say("this is a fump", [ONE])
        screen.click("Undo")
        screen.say("undo")
        assert screen.labels == ["zorb"]
        screen.page.click("#imp-new")
        expect(screen.page.get_by_text("Teach me a creature")).to_be_visible()
        assert screen.labels == ["zorb"]
        assert not screen.errors


def test_markup_is_shown_as_text(browser: Browser, start: Callable[..., Served]) -> None:
    """Whatever the router takes of it for a label: typed text and labels are never rendered."""
    served = start()
    with Screen(browser, served.url) as screen:
        page = screen.page
        screen.say("this is a **bold** <b>move</b>", [ONE])
        screen.say(f"{EVIL} **b** _i_ [l](http://example.org) $$x$$ ${{1+1}} {{{{value}}}}")
        screen.say("<script>document.title='pwned'</script><a href=x>y</a>")
        said = page.locator("#imp-chat .user-row").all_inner_texts()
        assert any("**b** _i_ [l](http://example.org) $$x$$ ${1+1} {{value}}" in t for t in said)
        assert any(EVIL in t for t in said)
        assert any("<script>document.title='pwned'</script>" in t for t in said)
        for tag in ("b", "em", "script", "img[src=x]", "a[href=x]", "a[href*=example]", "code"):
            assert page.locator(f"#imp-chat {tag}").count() == 0, tag
        assert page.title() == "Imprint" and not screen.errors


def test_labels_with_markup_are_text_in_cards_too(
    browser: Browser, home: Path, start: Callable[..., Served], pocket: Models
) -> None:
    with open_assistant(home=home, models=pocket) as imprint:
        for name, picture in ((EVIL, ONE), ("**bold** ${1+1} {{value}}", ELSE)):
            imprint.memory.teach(name, [open_photo(picture)])
    with Screen(browser, start().url) as screen:
        assert screen.labels == [EVIL, "**bold** ${1+1} {{value}}"]
        screen.say("what do you know?")
        screen.say("what is this?", [ONE])
        shown = screen.page.locator("#imp-chat").inner_text()
        assert shown.count(EVIL) >= 3 and "**bold** ${1+1} {{value}}" in shown
        assert screen.page.locator("img[src=x]").count() == 0
        assert screen.page.title() == "Imprint" and not screen.errors


def test_a_message_is_edited_said_again_and_taken_back(
    browser: Browser, start: Callable[..., Served]
) -> None:
    models = Models.of(embedder=FakeEmbedder(), captioner=CountingCaptioner())
    with Screen(browser, start(models).url) as screen:
        page = screen.page
        screen.say("hello")
        screen.say("this is a zorb", [ONE])
        # The panel is told last: an edit that begins before the page is at rest is lost to it.
        expect(page.locator("#imp-side .imp-labels strong")).to_have_text(["zorb"])
        page.locator("#imp-chat button[aria-label=Edit]").last.click()
        page.locator("#imp-chat textarea").fill("describe this")
        expect(page.locator("#imp-chat textarea")).to_have_value("describe this")
        page.click("#imp-chat button[aria-label=Submit]")
        expect(page.locator("#imp-chat")).to_contain_text("Look 1.")
        screen.wait()
        page.click("#imp-chat button[aria-label=Retry]:visible")
        expect(page.locator("#imp-chat")).to_contain_text("Look 2.")
        screen.answered(after=1)
        expect(page.locator(".imp-photos figcaption")).to_have_text(["photo 1"])
        page.click("#imp-chat button[aria-label=Undo]:visible")
        expect(page.locator("#imp-box textarea")).to_have_value("describe this")
        expect(page.locator("#imp-box .thumbnail-item")).to_have_count(1)
        expect(page.locator("#imp-chat .user-row")).to_have_count(1)
        assert not screen.errors


def test_a_teaching_that_is_taken_back_is_unlearned_in_a_click(
    browser: Browser, start: Callable[..., Served]
) -> None:
    with Screen(browser, start().url) as screen:
        page, chat = screen.page, screen.page.locator("#imp-chat")
        screen.say("this is a zrob", [ONE])
        page.locator("#imp-chat button[aria-label=Edit]").last.click()
        page.locator("#imp-chat textarea").fill("this is a zorb")
        page.click("#imp-chat button[aria-label=Submit]")
        expect(chat).to_contain_text("Took back 1 picture of zrob.")
        screen.wait()
        assert screen.labels == ["zorb"]
        page.click("#imp-chat button[aria-label=Undo]:visible")
        expect(chat).to_contain_text("1 picture of zorb. Shall I undo that too?")
        expect(page.locator("#imp-box textarea")).to_have_value("this is a zorb")
        screen.reload()
        assert screen.labels == ["zorb"] and screen.options == ["Yes", "No"]
        assert "Took back 1 picture of zorb." in screen.click("Yes")
        assert screen.labels == [] and not screen.errors


def test_a_long_answer_streams_and_is_stopped(
    browser: Browser, start: Callable[..., Served]
) -> None:
    models = Models.of(
        embedder=FakeEmbedder(), captioner=FakeCaptioner(), answerer=EndlessAnswerer()
    )
    with Screen(browser, start(models).url) as screen:
        page = screen.page
        screen.attach([ONE])
        page.fill("#imp-box textarea", "how many eyes does it have?")
        page.press("#imp-box textarea", "Enter")
        expect(page.locator("#imp-chat")).to_contain_text("and and and and")
        page.fill("#imp-box textarea", "hello")
        page.press("#imp-box textarea", "Enter")  # kept until the turn is over
        page.click("#imp-box .stop-button")
        expect(page.locator("#imp-chat")).to_contain_text("Stopped.")
        expect(page.locator("#imp-box textarea")).to_have_value("hello")
        assert "Hello!" in screen.say("hello")
        assert not screen.errors


def test_pictures_come_by_paste_drop_and_camera(
    browser: Browser, start: Callable[..., Served]
) -> None:
    script = """([kind, target]) => {
        const canvas = new OffscreenCanvas(64, 64), pen = canvas.getContext('2d');
        pen.fillStyle = 'teal'; pen.fillRect(8, 8, 40, 40);
        return canvas.convertToBlob().then(blob => {
            const data = new DataTransfer();
            data.items.add(new File([blob], 'teal.png', {type: 'image/png'}));
            const event = kind === 'paste'
                ? new ClipboardEvent('paste', {clipboardData: data, bubbles: true})
                : new DragEvent('drop', {dataTransfer: data, bubbles: true});
            document.querySelector(target).dispatchEvent(event);
        });
    }"""
    with Screen(browser, start().url) as screen:
        page = screen.page
        attached = page.locator("#imp-box .thumbnail-item")
        page.evaluate(script, ["paste", "#imp-box textarea"])
        expect(attached).to_have_count(1)
        page.evaluate(script, ["drop", "#imp-box .full-container"])
        expect(attached).to_have_count(2)
        screen.say("this is a teal box")
        expect(page.locator(".imp-photos figure")).to_have_count(2)
        page.click("#imp-side >> text=Camera")
        page.click("#imp-camera button:has-text('Webcam')")
        page.wait_for_function("document.querySelector('#imp-camera video')?.readyState >= 2")
        page.wait_for_timeout(500)  # gradio takes the size of the stream a moment later
        page.click("#imp-camera button[aria-label='capture photo']")
        expect(page.locator("#imp-camera img:visible")).to_have_count(1)
        screen.say("describe this")
        expect(page.locator(".imp-photos figure")).to_have_count(3)
        expect(page.locator("#imp-camera img:visible")).to_have_count(0)
        assert not screen.errors


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(browser: Browser, start: Callable[..., Served], scheme: str) -> None:
    options = {"viewport": {"width": 390, "height": 844}, "color_scheme": scheme}
    with Screen(browser, start().url, **options) as screen:
        screen.say("this is a zorb", [ONE])
        page = screen.page
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        for part in ("#imp-box textarea", "#imp-chat", "#imp-models"):
            box = page.locator(part).bounding_box()
            assert box and box["y"] + box["height"] <= 844, part
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        red = int(colour.split("(")[1].split(",")[0])
        assert red > 200 if scheme == "light" else red < 60


def _at(state: dict[str, object], url: str) -> dict[str, object]:
    """What a browser keeps, moved to another port: the origin of the restarted server."""
    origins = [{**o, "origin": url.rstrip("/")} for o in state["origins"]]  # type: ignore[attr-defined]
    return {**state, "origins": origins}
