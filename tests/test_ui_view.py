"""The page's pure half: turns and events to messages, artifacts to cards, indexes to turns."""

import html
from html.parser import HTMLParser
from typing import Any

import gradio as gr
import pytest

from assistant.turns import Step, ToolCall, ToolStarted, Turn
from assistant.ui.cards import card, known_panel
from assistant.ui.examples import EXAMPLES, after, titled
from assistant.ui.guard import names_address
from assistant.ui.titles import title_of
from assistant.ui.view import Progress, View, chat_view, plain, unplain
from tools.artifacts import (
    Candidate,
    Change,
    Comparison,
    Concern,
    Explanation,
    LabelList,
    LabelSummary,
    Matches,
    Recognition,
    Shown,
)
from tools.images import open_photo
from tools.registry import TOOLS
from tools.report import Accuracy, Confusion, KnowledgeReport, LabelReport, WorstExemplar

EVIL = "<img src=x onerror=\"alert('x')\">**bold** ${x} {{y}}"
ALBUM = ["a" * 64, "b" * 64]


def picture(photo_id: str, side: int) -> str:
    return f"gradio_api/file=/tmp/{photo_id[:4]}-{side}.webp"


def recognition(decision: Any = "known", name: str = "zorb") -> Recognition:
    return Recognition(
        ALBUM[1],
        decision,
        (Candidate(name, 0.9), Candidate("blick", 0.06)),
        "taught",
        unknown=0.04,
        evidence=(Shown(ALBUM[0], name, 0.8),),
    )


def turn(text: str = "what is this?", **more: Any) -> Turn:
    call = ToolCall("classify_image", {}, True, 0.012)
    step = Step(call, "Zorb, 90 %.", (recognition(),))
    return Turn(text, (1,), reply="Zorb, 90 %.", steps=(step,), options=("why?",), **more)


def texts(message: gr.ChatMessage) -> list[str]:
    content = message.content if isinstance(message.content, list) else [message.content]
    return [c if isinstance(c, str) else str(c.value) for c in content]  # type: ignore[union-attr]


def everything(view: View) -> str:
    return "\n".join(t for m in view.messages for t in texts(m))


def test_a_turn_is_what_was_said_the_steps_and_the_answer_with_its_evidence() -> None:
    view = chat_view([turn()], ALBUM, picture)
    said, step, answer = view.messages
    assert [m.role for m in view.messages] == ["user", "assistant", "assistant"]
    assert "photo 1" in texts(said)[0] and "aaaa-1024" in texts(said)[0]
    assert texts(said)[1] == "what is this?"
    assert step.metadata == {
        "title": "Looked at the picture",
        "status": "done",
        "duration": 0.012,
    }
    assert "zorb 90 %" in texts(step)[0] and "something else 4 %" in texts(step)[0]
    assert texts(answer)[0] == "Zorb, 90 %."
    assert "aaaa-160" in texts(answer)[1] and "zorb" in texts(answer)[1]
    assert answer.options == [{"value": "why?", "label": "Why?"}]


def test_only_the_last_turn_offers_buttons() -> None:
    view = chat_view([turn(), turn("and this?")], ALBUM, picture, suggestions=["more"])
    assert [o["value"] for m in view.messages for o in m.options] == ["why?", "more"]
    assert view.messages[-1].options
    while_busy = chat_view([turn()], ALBUM, picture, progress=Progress("hello"))
    assert not any(m.options for m in while_busy.messages)


def test_an_index_names_its_turn_and_a_forged_one_names_none() -> None:
    view = chat_view([turn(), turn("again")], ALBUM, picture, progress=Progress("now"))
    assert view.turns == (0, 0, 0, 1, 1, 1, 2)
    assert view.turn_at(3) == 1 and view.turn_at([4, 0]) == 1 and view.turn_at((0, 1)) == 0
    for forged in (-1, 7, 10**9, None, "0", 0.5, True, [], {"index": 0}):
        assert view.turn_at(forged) is None


def test_text_and_labels_with_html_are_text_everywhere() -> None:
    steps = (
        Step(ToolCall("teach_label", {"label": EVIL}, True, 0.1), EVIL, (change(EVIL),)),
        Step(ToolCall("classify_image", {"labels": [EVIL]}, False, 0.1), EVIL, ()),
        Step(ToolCall(EVIL, {}, True, 0.1), EVIL, (recognition(name=EVIL),)),
    )
    evil = Turn(EVIL, (1,), reply=EVIL, steps=steps, options=(EVIL,))
    progress = Progress(EVIL, (2,), [steps[0]], ToolStarted(1, "teach_label", {"label": EVIL}))
    progress.tokens = EVIL
    view = chat_view([evil], ALBUM, picture, progress=progress, problem=EVIL)
    shown = everything(view) + "".join(m.metadata.get("title", "") for m in view.messages)
    assert "<img src=x" not in shown
    assert html.unescape(shown).count(EVIL) >= 9
    # What the page makes itself are pictures and layout, and no handler of any event.
    found = Tags()
    found.feed(shown)
    assert found.tags <= {"div", "figure", "a", "img", "figcaption", "p", "strong", "small", "span"}
    assert found.attributes <= {"class", "href", "target", "rel", "src", "alt", "title"}


class Tags(HTMLParser):
    """Collects what a browser would make elements and attributes of."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def report(name: str = "zorb") -> KnowledgeReport:
    worst = WorstExemplar(ALBUM[1], name, 0.12)
    return KnowledgeReport(
        (
            LabelReport(name, 4, Accuracy(3, 4, 0.301, 0.954), worst=worst, alike=True),
            LabelReport("blick", 1, Accuracy(0, 0)),
        ),
        Accuracy(3, 4, 0.301, 0.954),
        Confusion(name, "blick", 1, 0, ALBUM[0]),
    )


def test_a_report_shows_shares_with_their_intervals_and_the_worst_picture() -> None:
    shown = card(report(), picture)
    for words in (
        "3 of 4, likely 30–95 %",
        "left:30.1%;width:65.3%",
        'value="0.750"',
        "too few to tell",
        "all nearly the same",
        "bbbb-160",
        "fits least, 12 %",
        "zorb, taken for blick",
        "aaaa-160",
    ):
        assert words in shown, words
    assert card(KnowledgeReport((), Accuracy(0, 0)), picture) == ""
    many = tuple(LabelReport(f"label {i}", 1, Accuracy(0, 0)) for i in range(100))
    assert "and 40 more" in card(KnowledgeReport(many, Accuracy(0, 0)), picture)


def test_a_report_of_labels_with_html_is_text() -> None:
    shown = card(report(EVIL), picture)
    assert "<img src=x" not in shown and html.unescape(shown).count(EVIL) >= 4
    found = Tags()
    found.feed(shown)
    assert found.tags <= {
        "div", "table", "thead", "tbody", "tr", "th", "td", "strong", "small", "meter", "span",
        "figure", "a", "img", "figcaption", "p",
    }  # fmt: skip
    assert found.attributes <= {
        "class", "min", "max", "value", "style", "title", "href", "target", "rel", "src", "alt",
    }  # fmt: skip


def test_the_learned_card_tells_what_the_pictures_lack() -> None:
    concerns = (
        Concern("like", ALBUM[0], "blick", probability=0.93),
        Concern("copy", ALBUM[0], EVIL, ALBUM[1]),
        Concern("blurred", ALBUM[0]),
        Concern("blurred", ALBUM[1]),
    )
    shown = card(Change("taught", "zorb", (ALBUM[0],), 2, concerns=concerns), picture)
    assert "looks like blick, 93 %; nearly a copy of a picture of &lt;img" in shown
    assert shown.count("blurred") == 1 and "<img src=x" not in shown
    for kind in ("blank", "dark", "bright", "blurred", "tiny"):
        lacking = Change("taught", "zorb", (), 1, concerns=(Concern(kind, "p"),))  # type: ignore[arg-type]
        assert card(lacking, picture) != card(Change("taught", "zorb", (), 1), picture)


def change(label: str, action: Any = "taught") -> Change:
    return Change(action, label, (ALBUM[0],), 1, other="blick")


def test_edited_text_comes_back_as_it_was_seen() -> None:
    for text in ("a < b & c > d", "<b>x</b>", "&lt;", "plain"):
        assert unplain(plain(text)) == text


def test_a_running_turn_shows_its_step_its_tokens_and_why_it_waits() -> None:
    started = ToolStarted(1, "caption_image", {})
    progress = Progress("describe it", (2,), [], started, "A red", "Waking up")
    messages = chat_view([], ALBUM, picture, progress=progress).messages
    assert "photo 2" in texts(messages[0])[0]
    assert messages[1].metadata["status"] == "pending"
    assert messages[1].metadata["title"] == "Describing the picture. Waking up"
    assert texts(messages[2]) == ["A red"]
    idle = chat_view([], ALBUM, picture, progress=Progress("hello")).messages
    assert len(idle) == 1


def test_a_stopped_turn_and_an_empty_one_say_something() -> None:
    stopped = Turn("describe", (), reply="", stopped=True)
    assert texts(chat_view([stopped], ALBUM, picture).messages[-1]) == ["Stopped."]
    silent = Turn("", ())
    view = chat_view([silent], ALBUM, picture)
    assert [texts(m) for m in view.messages] == [["Done."]]


def test_a_question_of_our_own_has_no_user_and_no_steps() -> None:
    asked = Step(ToolCall("undo", {"changes": [3]}, False, 0.0, asked=True), "")
    view = chat_view(
        [turn(), Turn("", (), "Undo it?", (asked,), options=("yes", "no"))], ALBUM, picture
    )
    assert [m.role for m in view.messages] == ["user", "assistant", "assistant", "assistant"]
    assert texts(view.messages[-1]) == ["Undo it?"] and view.turns[-1] == 1
    assert [o["value"] for o in view.messages[-1].options or []] == ["yes", "no"]


def test_a_failed_step_says_so() -> None:
    step = Step(ToolCall("caption_image", {}, False, 0.1), "No weights here.", ())
    messages = chat_view([Turn("describe", (), "No.", (step,))], ALBUM, picture).messages
    assert messages[1].metadata["title"] == "Described the picture: it did not work"
    assert "No weights here." in texts(messages[1])[0]


def test_a_step_that_waits_for_the_user_says_so() -> None:
    step = Step(ToolCall("forget_label", {"label": "zorb"}, False, 0.0, asked=True), "Not done.")
    turn = Turn("what is it?", (), "Shall I?", (step,), options=("yes", "no"))
    messages = chat_view([turn], ALBUM, picture).messages
    assert messages[1].metadata["title"] == "Forgetting “zorb”: you are asked first"
    assert [o["value"] for o in messages[-1].options] == ["yes", "no"]


def test_a_problem_of_no_turn_stands_at_the_end() -> None:
    view = chat_view([turn()], ALBUM, picture, problem="The disk is full.")
    assert texts(view.messages[-1]) == ["The disk is full."]
    assert len(view.turns) == len(view.messages)


@pytest.mark.parametrize(
    ("artifact", "words"),
    [
        (change("zorb"), ["Learned", "zorb", "1 picture", "aaaa-160"]),
        (change("zorb", "corrected"), ["Corrected", "zorb", "not blick"]),
        (change("zorb", "renamed"), ["Renamed", "zorb", "was blick"]),
        (change("zorb", "rejected"), ["not", "zorb"]),
        (recognition("unknown"), ["not close enough", "aaaa-160"]),
        (recognition("ambiguous"), ["Torn between", "aaaa-160"]),
        (Explanation(recognition()), ["meter", "90 %", "something else"]),
        (Matches("zorb", (Shown(ALBUM[0], "zorb", 0.5),)), ["Found", "similarity 0.50"]),
        (Comparison((ALBUM[0], ALBUM[1]), False, 0.1, 0.2), ["not the same, 90 %", "bbbb-160"]),
        (
            LabelList((LabelSummary("zorb", 2, 0, "small", (ALBUM[0],)),)),
            ["zorb", "2 pictures", "small"],
        ),
    ],
    ids=lambda x: type(x).__name__,
)
def test_each_artifact_has_its_card(artifact: Any, words: list[str]) -> None:
    shown = card(artifact, picture)
    for word in words:
        assert word in shown


def test_a_picture_that_is_gone_leaves_a_place() -> None:
    shown = card(change("zorb"), lambda *_: "")
    assert "not here" in shown and "<img" not in shown


def test_a_long_memory_is_cut_off_with_its_count() -> None:
    many = [LabelSummary(f"label {i}", 1, 0, "", ()) for i in range(100)]
    assert "and 40 more" in known_panel(many, picture)
    assert "Nothing yet" in known_panel([], picture)


def test_every_tool_has_a_title_in_words() -> None:
    for tool in TOOLS:
        assert title_of(tool.name, {k: "x" for k in tool.args}, done=True) != tool.name.replace(
            "_", " "
        ), tool.name
    assert title_of("new_tool", {}, done=True) == "new tool"
    assert title_of("teach_label", {"label": "{label} %s"}, done=False) == "Learning “{label} %s”"


def test_the_examples_lead_from_teaching_to_asking() -> None:
    first = EXAMPLES[0]
    assert first.text == "this is a zorb"
    following = after(open_photo(first.path).id)
    assert following is not None and following.text == "what is this?"
    assert open_photo(following.path) != open_photo(first.path)
    assert after("0" * 64) is None and titled("no such title") is None
    for example in EXAMPLES:
        assert open_photo(example.path).size
        assert not example.then or titled(example.then)


def test_addresses_are_found_wherever_they_hide() -> None:
    assert names_address([{"text": "x", "files": [{"path": "https://example.org/a.png"}]}])
    assert names_address({"a": [[{"path": "file:///etc/passwd"}]]})
    assert not names_address([{"text": "see https://example.org", "files": [{"path": "/tmp/a"}]}])
    deep: Any = "x"
    for _ in range(40):
        deep = [deep]
    assert names_address(deep)
