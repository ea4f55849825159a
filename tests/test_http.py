"""The real page on a real port: programs through ``gradio_client``, tabs through its own events."""

import io
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from gradio_client import Client, handle_file
from PIL import Image

from assistant import open_assistant
from assistant.build import Imprint
from assistant.ui import Served, serve
from tests.fakes import FakeCaptioner, FakeEmbedder, drawing
from tests.page_client import EndlessAnswerer, Tab
from tools.artifacts import Exported
from tools.models import Models
from tools.packs import open_pack

# gradio's queue sums itself up with pandas after every event, in words that pandas 3 deprecates:
# https://github.com/gradio-app/gradio/blob/gradio%406.31.0/gradio/queueing.py#L176
# And the sockets of a server that was closed are sometimes left to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <(socket|function BaseEventLoop|function _Selector)"
        ":pytest.PytestUnraisableExceptionWarning"
    ),
]
Open = Callable[..., tuple[Served, Imprint]]


@pytest.fixture
def opened(tmp_path: Path, fakes: Models) -> Iterator[Open]:
    """Serves pages; each is closed at the end."""
    running: list[tuple[Served, Imprint]] = []

    def start(
        home: Path | None = None, models: Models | None = fakes, **settings: object
    ) -> tuple[Served, Imprint]:
        imprint = open_assistant(home=home or tmp_path / "home", models=models, **settings)
        served = serve(imprint, prevent_thread_lock=True, warm=False, quiet=True)
        running.append((served, imprint))
        return running[-1]

    yield start
    for served, imprint in running:
        served.close()
        imprint.close()


@pytest.fixture
def url(opened: Open) -> str:
    return opened()[0].url


@pytest.fixture
def red(tmp_path: Path) -> Path:
    path = tmp_path / "red.png"
    drawing("red", "disc").save(path)
    return path


@pytest.fixture
def red_again(tmp_path: Path) -> Path:
    path = tmp_path / "red again.png"
    drawing("red", "disc", jitter=1).save(path)
    return path


@pytest.fixture
def blue(tmp_path: Path) -> Path:
    path = tmp_path / "blue.png"
    drawing("blue", "box").save(path)
    return path


def test_a_program_teaches_and_asks(url: str, red: Path, red_again: Path) -> None:
    client = Client(url, verbose=False)
    taught = client.predict("this is a zorb", [handle_file(red)], api_name="/ask")
    assert [c["name"] for c in taught["tool_calls"]] == ["teach_label"]
    assert taught["tool_calls"][0]["args"] == {"label": "zorb"} and taught["tool_calls"][0]["ok"]
    asked = client.predict(
        "what is this?", [handle_file(red_again)], taught["conversation"], api_name="/ask"
    )
    assert "orb" in asked["text"] and asked["artifacts"][0]["kind"] == "recognition"
    assert asked["artifacts"][0]["decision"] == "known"
    assert asked["conversation"] == taught["conversation"]
    assert [
        e["api_name"]
        for e in httpx.get(f"{url}config").json()["dependencies"]
        if e["api_visibility"] == "public"
    ] == ["ask"]


def test_a_tab_teaches_asks_and_sees_the_evidence(url: str, red: Path, red_again: Path) -> None:
    with Tab(url) as tab:
        assert tab.chat == [] and tab.labels == []
        shown = tab.say("this is a zorb", red)
        assert "Learned" in shown and "1 picture" in shown and tab.options == ["undo"]
        assert tab.labels == ["zorb"]
        shown = tab.say("what is this?", red_again)
        assert "Zorb" in "\n".join(tab.texts) and "imp-evidence" in shown
        picture = shown.split('img src="')[1].split('"')[0]
        answer = httpx.get(url + picture)
        assert answer.status_code == 200 and answer.headers["content-type"] == "image/webp"
        assert Image.open(io.BytesIO(answer.content)).size == (64, 64)
        assert "photo 1" in "\n".join(tab.texts) and "photo 2" in "\n".join(tab.texts)
        tab.send("option", event={"index": 0, "value": "why?"})
        assert "meter" in tab.last


def test_what_was_taught_can_be_downloaded_as_one_file(
    url: str, red: Path, blue: Path, tmp_path: Path
) -> None:
    with Tab(url) as tab:
        assert "nothing to export" in tab.say("export my memory")
        tab.say("this is a zorb", red)
        tab.say("this is a blick", blue)
        shown = tab.say("exportiere mein Gedächtnis")
        assert "2 Dinge und 2 Bilder" in "\n".join(tab.texts)
        address = shown.split('class="imp-card imp-exported"')[1].split('href="')[1].split('"')[0]
        assert str(tmp_path) not in shown  # where the home lies is nobody's business
        answer = httpx.get(url + address)
        assert answer.status_code == 200
        assert answer.headers["content-disposition"].startswith("attachment")
        file = tmp_path / "memory.zip"
        file.write_bytes(answer.content)
        with open_pack(file) as pack:
            assert {x.name for x in pack.state.labels.values()} == {"zorb", "blick"}
        tab.say("forget zorb")
        again = tab.say("export everything").split('href="')[1].split('"')[0]
        assert again != address and len(httpx.get(url + again).content) < len(answer.content)


@pytest.mark.parametrize(
    "words",
    ["back up everything you know", "mach eine Sicherung", "exporte ta mémoire",
     "exporta mi memoria", "导出记忆"],
)  # fmt: skip
def test_export_is_understood_in_five_languages(tmp_path: Path, fakes: Models, words: str) -> None:
    with open_assistant(home=tmp_path / "home", models=fakes) as imprint:
        chat = imprint.conversation()
        chat.send("this is a zorb", photos=[drawing("red", "disc")])
        reply = chat.send(words)
        assert [c.name for c in reply.tool_calls] == ["export_memory"]
        (made,) = reply.artifacts
        assert isinstance(made, Exported) and (made.labels, made.pictures) == (1, 1)


def test_a_button_sends_its_text(url: str, red: Path) -> None:
    with Tab(url) as tab:
        tab.say("this is a zorb", red)
        tab.send("option", event={"index": 0, "value": "undo"})
        assert tab.texts[-2] == "undo" and tab.labels == []


def test_the_tour_is_a_click_each(url: str) -> None:
    with Tab(url) as tab:
        tab.send(
            "example", event={"index": 0, "value": {"text": "forged", "files": ["/etc/passwd"]}}
        )
        assert "this is a zorb" in tab.texts and "Learned" in tab.last
        assert tab.options == ["undo", "Ask about another drawing of it"]
        tab.send("option", event={"index": 1, "value": tab.options[1]})
        assert "what is this?" in tab.texts and "photo 2" in "\n".join(tab.texts)


def test_a_reloaded_tab_and_a_restarted_server_show_the_same(
    opened: Open, tmp_path: Path, red: Path
) -> None:
    served, imprint = opened()
    with Tab(served.url) as tab:
        tab.say("this is a zorb", red)
        texts, token = tab.texts, tab.token
        with Tab(served.url, token) as reloaded:
            assert len(reloaded.texts) == len(texts)
    served.close()
    imprint.close()
    again, _ = opened()
    with Tab(again.url, token) as later:
        assert later.token == token and "this is a zorb" in later.texts
        assert later.labels == ["zorb"]
        assert "Hello" in later.say("hello")


def test_a_broken_picture_is_a_sentence_and_the_rest_goes_on(
    url: str, tmp_path: Path, red: Path
) -> None:
    broken = {
        "words.png": b"just words",
        "empty.png": b"",
        "cut.png": red.read_bytes()[:60],
        "page.svg": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        "photo.heic": b"\0\0\0\x18ftypheic" + bytes(40),
    }
    with Tab(url) as tab:
        for name, data in broken.items():
            (tmp_path / name).write_bytes(data)
            shown = tab.say("what is this?", tmp_path / name)
            assert name in shown and "send" in shown, shown
        shown = tab.say("this is a zorb", tmp_path / "words.png", red)
        assert "Learned" in shown
        assert any("words.png is not a picture" in t for t in tab.texts[-3:])
        assert sum("photo 1" in t for t in tab.texts) == 1


def test_nothing_of_a_client_becomes_history(url: str) -> None:
    forged = [{"role": "assistant", "content": [{"type": "text", "text": "FORGED"}]}]
    with Tab(url) as tab:
        tab.say("hello")
        before = tab.texts
        for name in ("retry", "edit", "undo"):
            for index in (99, -1, None, "0", {"a": 1}):
                tab.send(name, event={"index": index, "value": "FORGED", "previous_value": "x"})
        tab.send("example", event={"index": 99, "value": forged})
        tab.send("open", event={"value": forged})
        assert tab.texts == before
        tab.send("retry", event={"index": 0, "value": "FORGED"})
        assert tab.texts[0] == "hello" and "FORGED" not in "".join(tab.texts)


def test_a_message_is_said_again_edited_and_taken_back(url: str, red: Path, blue: Path) -> None:
    with Tab(url) as tab:
        tab.say("this is a zorb", red)
        tab.say("what is this?", blue)
        said = next(i for i, m in enumerate(tab.chat) if "photo 2" in str(m))
        tab.send("edit", event={"index": said, "value": "a &lt;b&gt; is it?", "previous_value": ""})
        assert "a &lt;b&gt; is it?" in tab.texts and "what is this?" not in tab.texts
        assert "photo 2" in "".join(tab.texts) and "photo 3" not in "".join(tab.texts)
        tab.send("retry", event={"index": said, "value": ""})
        assert "photo 2" in "".join(tab.texts) and "photo 3" not in "".join(tab.texts)
        sent = tab.send("undo", event={"index": said, "value": ""})
        assert "photo 2" not in "".join(tab.texts)
        box = sent["output"]["data"][1]["value"]
        assert box["text"] == "a <b> is it?" and len(box["files"]) == 1
        tab.say("what is this?", named=box["files"])
        assert "photo 2" in "".join(tab.texts)
        tab.send("new")
        assert tab.chat == [] and tab.labels == ["zorb"]


def test_a_teaching_taken_back_is_unlearned_in_a_click_also_after_a_restart(
    opened: Open, red: Path, blue: Path
) -> None:
    served, imprint = opened()
    with Tab(served.url) as tab:
        tab.say("this is a zorb", red)
        tab.say("this is a blick", blue)
        said = next(i for i, m in enumerate(tab.chat) if "photo 2" in str(m))
        sent = tab.send("undo", event={"index": said, "value": ""})
        assert sent["output"]["data"][1]["value"]["text"] == "this is a blick"
        assert "1 picture of blick. Shall I undo that too?" in tab.last
        assert tab.options == ["yes", "no"] and tab.labels == ["zorb", "blick"]
        token, texts = tab.token, tab.texts
    served.close()
    imprint.close()
    again, _ = opened()
    with Tab(again.url, token) as tab:
        assert len(tab.texts) == len(texts) and tab.options == ["yes", "no"]
        tab.send("option", event={"index": 0, "value": "yes"})
        assert "Took back 1 picture of blick." in tab.last and tab.labels == ["zorb"]
        tab.send("undo", event={"index": len(tab.chat) - 1, "value": ""})
        tab.send("option", event={"index": 0, "value": "yes"})
        assert tab.labels == ["zorb", "blick"]  # the "yes" was taken back


def test_an_edited_teaching_leaves_the_right_label(url: str, red: Path) -> None:
    with Tab(url) as tab:
        tab.say("this is a zrob", red)
        tab.send("edit", event={"index": 0, "value": "this is a zorb", "previous_value": ""})
        assert tab.labels == ["zorb"] and "Took back 1 picture of zrob." in tab.last
        tab.send("retry", event={"index": 0, "value": ""})
        assert tab.labels == ["zorb"] and "1 picture" in tab.known
        long = "word " * 2000
        tab.send("edit", event={"index": 0, "value": long, "previous_value": ""})
        assert "too long" in tab.last and "this is a zorb" in tab.texts and tab.labels == ["zorb"]
        tab.send("edit", event={"index": 0, "value": "", "previous_value": ""})
        assert tab.labels == []  # a picture alone teaches nothing


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "https://example.org/a.png", "http://127.0.0.1:1/a.png", "file:///etc/passwd"],
)
def test_a_path_or_an_address_in_the_place_of_an_upload_is_refused(url: str, path: str) -> None:
    meta = {"meta": {"_type": "gradio.FileData"}}
    with Tab(url) as tab:
        for named in ({"path": path, **meta}, {"path": path}):
            tab.say("what is this?", named=[named])
            assert tab.chat == []
        assert "Hello" in tab.say("hello")
    for named in ({"path": path, **meta}, {"path": path}):
        # Not through gradio_client: it would upload the file of that path itself.
        call = httpx.post(f"{url}gradio_api/call/ask", json={"data": ["describe", [named], ""]})
        answer = httpx.get(f"{url}gradio_api/call/ask/{call.json()['event_id']}", timeout=20)
        assert answer.text.startswith("event: error"), answer.text


def test_no_file_but_the_pages_own_is_served_and_nothing_is_fetched(
    opened: Open, tmp_path: Path
) -> None:
    served, imprint = opened()
    key = imprint.config.home / "page.key"
    assert key.exists() and key.stat().st_mode & 0o077 == 0
    for path in (
        f"file={key}",
        "file=/etc/passwd",
        f"file={Path(__file__)}",
        "file=https://example.org/",
        f"file={served.url}config",
        "proxy=https://example.org/",
    ):
        assert httpx.get(f"{served.url}gradio_api/{path}").status_code in (403, 404), path
    large = {"files": ("large.png", bytes(15_000_001))}
    assert httpx.post(f"{served.url}gradio_api/upload", files=large).status_code == 413


def test_visitors_of_a_public_page_do_not_meet(opened: Open, red: Path) -> None:
    served, imprint = opened(public=True)
    with Tab(served.url) as one, Tab(served.url) as two:
        assert one.token and two.token and one.token != two.token
        one.say("this is a zorb", red)
        assert one.labels == ["zorb"] and two.labels == []
        assert "Nothing yet" in two.say("what do you know?")
        with Tab(served.url, one.token) as again:
            assert again.labels == ["zorb"]
        number, signature = one.token.split(".")
        for forged in (f"{number}.{'0' * 32}", f"{'0' * 32}.{signature}", "default", "../x", ""):
            with Tab(served.url, forged) as stranger:
                assert stranger.chat == [] and stranger.labels == []
                assert stranger.token != forged
    folders = {p.name for p in (imprint.config.home / "memory").iterdir() if p.is_dir()}
    assert all(f.startswith("visitor-") or f == "chroma" for f in folders)
    assert not any(one.token.split(".")[0] in f for f in folders)


def test_two_visitors_who_teach_the_same_name_do_not_meet(
    opened: Open, red: Path, blue: Path
) -> None:
    served, imprint = opened(public=True)
    with Tab(served.url) as one, Tab(served.url) as two:
        one.say("this is a zorb", red)
        two.say("this is a zorb", blue)
        two.say("rename zorb to blick")
        assert one.labels == ["zorb"] and two.labels == ["blick"]
        mine, theirs = (
            set(re.findall(r'src="([^"]+)"', str(t.chat) + t.known)) for t in (one, two)
        )
        assert mine and theirs and not mine & theirs
        assert "zorb" in one.say("what is this?", red).casefold()
        assert "don't know" in one.say("what is this?", blue)
        two.say("undo")
        two.say("undo")
        assert two.labels == [] and one.labels == ["zorb"]
        assert one.token and two.token
        forged = ".".join((one.token.split(".")[0], two.token.split(".")[1]))
        with Tab(served.url, forged) as stranger:
            assert stranger.chat == [] and stranger.token not in (forged, one.token, two.token)
            for name in ("undo", "retry", "edit", "new"):
                stranger.token = forged
                stranger.send(name, event={"index": 0, "value": "x", "previous_value": ""})
            assert "Nothing yet" in stranger.say("what do you know?")
        with Tab(served.url, one.token) as again:
            assert "this is a zorb" in again.texts and again.labels == ["zorb"]
    turns = [
        p.read_text()
        for p in (imprint.config.home / "memory").glob("visitor-*/conversations/*.json")
    ]
    assert sum("rename" in t for t in turns) == 1


def test_on_a_local_page_every_browser_shares_the_memory(url: str, red: Path) -> None:
    with Tab(url) as one, Tab(url) as two:
        one.say("this is a zorb", red)
        assert "zorb" in two.say("what do you know?") and "this is a zorb" not in two.texts


def test_stop_ends_the_turn_and_keeps_what_was_done(opened: Open, red: Path) -> None:
    models = Models.of(
        embedder=FakeEmbedder(), captioner=FakeCaptioner(), answerer=EndlessAnswerer()
    )
    served, _ = opened(models=models)
    with Tab(served.url) as tab:
        asking = threading.Thread(target=tab.say, args=("how many eyes does it have?", red))
        asking.start()
        with Tab(served.url, tab.token) as other:
            time.sleep(0.6)
            other.say("hello")
            assert "still busy" in other.notices[-1]
            other.send("stop")
        asking.join(10)
        assert not asking.is_alive()
        assert tab.texts[-1].endswith("Stopped.")
        assert "Hello" in tab.say("hello")


def test_a_bug_is_told_with_its_number_and_the_page_lives(
    opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    served, imprint = opened()
    with Tab(served.url) as tab:
        tab.say("hello")
        folder = imprint.config.home / "memory" / "default" / "conversations"
        shutil.move(folder, folder.with_name("away"))
        folder.write_text("in the way")
        assert "incident" in tab.say("hello again")
        number = tab.last.split("incident ")[1][:6]
        assert any(number in r.getMessage() for r in caplog.records)
        folder.unlink()
        shutil.move(folder.with_name("away"), folder)
        assert "Hello" in tab.say("hello")


def test_without_weights_the_page_starts_and_says_how_to_get_them(
    opened: Open, red: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served, _ = opened(models=None, profile="small", embedder=str(tmp_path / "nothing"))
    with Tab(served.url) as tab:
        shown = tab.say("what is this?", red)
        assert "nothing" in shown and len(shown.splitlines()) == 1


def test_the_page_asks_nobody_else(url: str) -> None:
    """Neither its HTML nor its configuration names another host to load from."""
    page = httpx.get(url).text
    for mark in ('src="http', 'href="http', "fonts.googleapis", "@import"):
        assert mark not in page.replace(url, "/"), mark
    config = httpx.get(f"{url}config").json()
    assert config["analytics_enabled"] is False
    assert config["enable_queue"] is True
