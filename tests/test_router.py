"""The router: what people say, in which situation, and which calls come of it."""

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from assistant.router import Router
from assistant.router.actions import Context
from assistant.router.brain import _context
from assistant.router.deciding import decide
from assistant.router.handlers import HANDLERS
from assistant.router.language import LANGUAGES, language
from assistant.router.names import is_name, name_in, singular
from tools.artifacts import Candidate, Change, Recognition
from tools.registry import TOOLS

ZORB = Recognition("p", "known", (Candidate("zorb", 0.9),), "taught")
UNKNOWN = Recognition("p", "unknown", (Candidate("zorb", 0.1),), "taught")
TORN = Recognition("p", "ambiguous", (Candidate("zorb", 0.5), Candidate("blick", 0.4)), "taught")
GUESSED = Recognition("p", "unknown", (Candidate("dog", 0.2), Candidate("cat", 0.1)), "vocabulary")
DOUBTED = Change("taught", "gromp", ("p",), 1, same_as="blick")
APPLE = Recognition("p", "known", (Candidate("apple", 0.9),), "vocabulary")
LABELS = ("zorb", "blick")
SITUATIONS = {
    "new": Context(),
    "photo": Context((), (1,), 1),
    "taught": Context(LABELS, (), 1),
    "taught+photo": Context(LABELS, (2,), 2),
    "said zorb": Context(LABELS, (), 1, False, ZORB),
    "asked": Context(LABELS, (), 1, True, UNKNOWN),
    "said apple": Context((), (), 1, False, APPLE),
    "guessed": Context((), (), 1, True, GUESSED),
    "torn": Context(LABELS, (), 1, True, TORN),
    "doubt": Context((*LABELS, "gromp"), (), 1, doubt=DOUBTED),
}


def call(tool: str, **args: object) -> tuple[str, dict[str, object]]:
    return tool, args


SAYINGS = [
    ("photo", "this is a zorb", call("teach_label", label="zorb")),
    ("photo", "This is a Zorb.", call("teach_label", label="Zorb")),
    ("photo", "these are all zorbs", call("teach_label", label="zorb")),
    ("photo", "meet Rex", call("teach_label", label="Rex")),
    ("photo", "this is my dog Rex", call("teach_label", label="Rex")),
    ("photo", "zorb", call("teach_label", label="zorb")),
    ("photo", 'this is called "Big Bob"', call("teach_label", label="Big Bob")),
    ("photo", "please remember this as gromp", call("teach_label", label="gromp")),
    ("photo", "zorb: a blue toy", call("teach_label", label="zorb", description="a blue toy")),
    (
        "photo",
        "this is a zorb, a round toy",
        call("teach_label", label="zorb", description="a round toy"),
    ),
    ("photo", "what is this?", call("classify_image")),
    ("photo", "waht is this", call("classify_image")),
    ("photo", "?", call("classify_image")),
    ("photo", "I don't know what this is", call("classify_image")),
    ("photo", "", call("caption_image")),
    ("photo", "hello", call("caption_image")),
    ("photo", "this is great!", call("caption_image")),
    ("photo", "this is what I was talking about", call("caption_image")),
    ("photo", "describe this, please", call("caption_image")),
    ("photo", "what do you see?", call("caption_image")),
    ("photo", "What colour is it?", call("answer_question", question="what colour is it?")),
    (
        "photo",
        "how many apples are there",
        call("answer_question", question="how many apples are there?"),
    ),
    ("photo", "is it red or blue?", call("answer_question", question="is it red or blue?")),
    ("photo", "is this a dog?", call("classify_image", labels=["dog"])),
    ("photo", "is it a cat or a dog?", call("classify_image", labels=["cat", "dog"])),
    ("photo", "this is a zorb?", call("classify_image", labels=["zorb"])),
    ("taught", "forget the zorbs", call("forget_label", label="zorb")),
    ("taught", "forget it", call("undo")),
    ("taught", "undo that please", call("undo")),
    ("taught", "rename zorb to gromp", call("rename_label", label="zorb", new="gromp")),
    ("taught", "call zorb gromp from now on", call("rename_label", label="zorb", new="gromp")),
    ("taught", "merge zorb into blick", call("merge_labels", label="zorb", into="blick")),
    ("taught", "zorb and blick are the same", call("merge_labels", label="zorb", into="blick")),
    ("taught", "what do you know?", call("list_labels")),
    ("taught", "list your labels", call("list_labels")),
    ("taught", "why?", call("explain_answer")),
    ("taught", "how sure are you?", call("explain_answer")),
    ("taught", "show me all the zorbs", call("find_similar", query="zorb")),
    ("taught", "what does a zorb look like?", call("find_similar", query="zorb")),
    ("taught", "show me something red", call("find_similar", query="something red")),
    ("taught", "find something similar", call("find_similar")),
    ("taught", "are these the same?", call("compare_images")),
    ("taught", "compare the first picture and the second", call("compare_images", photos=[1, 2])),
    (
        "taught",
        "what colour is the first picture?",
        call("answer_question", question="what colour is this?", photos=[1]),
    ),
    ("taught+photo", "is this a zorb?", call("classify_image", labels=["zorb"])),
    ("taught+photo", "is this what a zorb looks like?", call("classify_image", labels=["zorb"])),
    ("taught+photo", "another zorb", call("teach_label", label="zorb")),
    ("taught+photo", "and this one?", call("classify_image")),
    ("taught+photo", "no, this is a blick", call("teach_label", label="blick")),
    ("taught+photo", "", call("classify_image")),
    ("said zorb", "no, that's a blick", call("correct_label", label="blick")),
    ("said zorb", "No. It's a blick.", call("correct_label", label="blick")),
    ("said zorb", "no, blick", call("correct_label", label="blick")),
    (
        "said zorb",
        "it's not a zorb, it's a blick",
        call("correct_label", label="blick", wrong="zorb"),
    ),
    (
        "said zorb",
        "It's not a zorb. It's a blick.",
        call("correct_label", label="blick", wrong="zorb"),
    ),
    (
        "said zorb",
        "that's a blick, not a zorb",
        call("correct_label", label="blick", wrong="zorb"),
    ),
    ("said zorb", "it's a gromp", call("correct_label", label="gromp", wrong="zorb")),
    ("said zorb", "sorry, I meant gromp", call("correct_label", label="gromp")),
    ("said zorb", "that's wrong, it's a blick", call("correct_label", label="blick")),
    ("said zorb", "no", call("reject_label", label="zorb")),
    ("said zorb", "that's not a zorb", call("reject_label", label="zorb")),
    ("asked", "blick", call("teach_label", label="blick")),
    ("asked", "a gromp", call("teach_label", label="gromp")),
    ("asked", "it's a gromp", call("teach_label", label="gromp")),
    ("asked", "a new thing called gromp", call("teach_label", label="gromp")),
    ("asked", "it's a new one, called Rex", call("teach_label", label="Rex")),
    ("asked", "something called gromp", call("teach_label", label="gromp")),
    ("asked", "neither, it's a gromp", call("teach_label", label="gromp")),
    ("asked", "a gromp, I think", call("teach_label", label="gromp")),
    ("torn", "blick", call("teach_label", label="blick")),
    ("torn", "it's a blick", call("teach_label", label="blick")),
    ("torn", "the first", call("teach_label", label="zorb")),
    ("torn", "The second one.", call("teach_label", label="blick")),
    ("torn", "I think it's the latter", call("teach_label", label="blick")),
    ("torn", "the former, please", call("teach_label", label="zorb")),
    ("torn", "neither, it's a gromp", call("correct_label", label="gromp", wrong="zorb")),
    ("torn", "Neither. It's a gromp.", call("correct_label", label="gromp", wrong="zorb")),
    ("torn", "none of them: gromp", call("correct_label", label="gromp", wrong="zorb")),
    ("torn", "a new thing called gromp", call("teach_label", label="gromp")),
    ("torn", "a new animal, a gromp", call("teach_label", label="gromp")),
    ("guessed", "the second", call("teach_label", label="cat")),
    ("torn", "why?", call("explain_answer")),
    ("torn", "the first picture", call("classify_image", photos=[1])),
    ("doubt", "the same", call("merge_labels", label="gromp", into="blick")),
    ("doubt", "Same thing!", call("merge_labels", label="gromp", into="blick")),
    ("doubt", "yes, they're the same", call("merge_labels", label="gromp", into="blick")),
    ("doubt", "it's a blick", call("merge_labels", label="gromp", into="blick")),
    ("doubt", "a new one called mop", call("rename_label", label="gromp", new="mop")),
    ("doubt", "it is Rex", call("teach_label", label="Rex")),
    ("doubt", "undo", call("undo")),
    ("doubt", "same thing?", call("compare_images")),
    ("taught", "same thing", call("compare_images")),
    ("taught", "how well do you know zorbs?", call("report_knowledge", label="zorb")),
    ("taught", "how well can you recognise the blicks?", call("report_knowledge", label="blick")),
    ("taught", "How good are you at this?", call("report_knowledge")),
    ("taught", "how good are you at zorbs?", call("report_knowledge", label="zorb")),
    ("taught", "what are you bad at?", call("report_knowledge")),
    ("taught", "what should I show you next?", call("report_knowledge")),
    ("taught", "what next?", call("report_knowledge")),
    ("taught", "which ones do you mix up?", call("report_knowledge")),
    ("taught", "do you mix up zorbs and blicks?", call("report_knowledge")),
    ("taught", "how accurate are you?", call("report_knowledge")),
    ("taught", "what would help you?", call("report_knowledge")),
    ("taught", "test yourself", call("report_knowledge")),
    ("taught", "give me a report on zorbs", call("report_knowledge", label="zorb")),
    ("taught", "how well do you know gromps?", call("report_knowledge", label="gromp")),
    ("said zorb", "how well do you know it?", call("report_knowledge", label="zorb")),
    ("taught", "how well do you know everything?", call("report_knowledge")),
    ("taught", "how much do you know?", call("list_labels")),
    ("taught", "how do you know?", call("explain_answer")),
    (
        "said apple",
        "it's not an apple, it's a zorb",
        call("correct_label", label="zorb", wrong="apple"),
    ),
]


@pytest.mark.parametrize(
    ("situation", "text", "expected"), SAYINGS, ids=[f"{s}: {t}" for s, t, _ in SAYINGS]
)
def test_one_saying_one_call(
    situation: str, text: str, expected: tuple[str, dict[str, object]]
) -> None:
    actions = decide(text, SITUATIONS[situation])
    assert [(a.tool, a.args) for a in actions] == [expected]


@pytest.mark.parametrize(
    ("situation", "text", "tools"),
    [
        (
            "photo",
            "this is a gromp. how many eyes does it have?",
            ["teach_label", "answer_question"],
        ),
        ("torn", "neither", ["reject_label", "reject_label"]),
        ("torn", "no", ["reject_label", "reject_label"]),
        (
            "taught+photo",
            "describe this and tell me if it is a zorb",
            ["caption_image", "classify_image"],
        ),
    ],
)
def test_several_intents_in_one_message(situation: str, text: str, tools: list[str]) -> None:
    assert [a.tool for a in decide(text, SITUATIONS[situation])] == tools


@pytest.mark.parametrize(
    ("situation", "text", "words"),
    [
        ("new", "hi", "Hello"),
        ("new", "what can you do?", "this is a zorb"),
        ("taught", "what is the capital of France?", "can't answer"),
        ("taught", "forget everything", "zorb and blick"),
        ("taught", "thanks a lot", "welcome"),
        ("said zorb", "that's right", "Good"),
        ("said apple", "no", "What is it?"),
        ("asked", "no idea", "when you know"),
        ("asked", "a small blue thing", "did not understand"),
        ("asked", "a new one", "What is it?"),
        ("asked", "neither", "What is it?"),
        ("torn", "both", "A zorb or a blick: which one is it?"),
        ("torn", "yes", "which one is it?"),
        ("doubt", "new", "gromp and blick stay two things"),
        ("doubt", "No, a different one.", "gromp and blick stay two things"),
        ("doubt", "not the same", "gromp and blick stay two things"),
        ("doubt", "gromp", "gromp and blick stay two things"),
        ("doubt", "yes", "Gromp and blick: the same thing or a new one?"),
        ("doubt", "thanks", "welcome"),
    ],
)
def test_some_sayings_change_nothing(situation: str, text: str, words: str) -> None:
    actions = decide(text, SITUATIONS[situation])
    assert [a.tool for a in actions] == [""]
    assert words in actions[0].text


def test_no_teaching_without_a_name() -> None:
    for text in (
        "this is great", "this is so cool", "this is not what I wanted", "it is in the kitchen",
        "this is red", "this is my favourite", "this is a great picture", "this is wrong",
        "that is how it works", "these are the same", "this is for you", "it's getting late",
    ):  # fmt: skip
        for situation in SITUATIONS.values():
            tools = {a.tool for a in decide(text, situation)}
            assert not tools & {"teach_label", "correct_label"}, text


def test_names() -> None:
    assert name_in("the Zorbs", ["zorb"]) == "zorb"
    assert name_in("an old boot", []) == "old boot"
    assert name_in("“so what”", []) == "so what", "quotes make anything a name"
    assert name_in("just a test", []) is None
    assert [singular(x) for x in ("berries", "foxes", "zorbs", "glass", "bus")] == [
        "berry", "fox", "zorb", "glass", "bus",
    ]  # fmt: skip
    assert is_name("mop") and not is_name("very nice")


@pytest.mark.parametrize("text", ["a" * 5000, "no, " * 900, "is it " * 600 + "?", "(" * 3000])
def test_no_message_makes_it_slow(text: str) -> None:
    # A backtracking pattern would never return.
    assert decide(text, SITUATIONS["said zorb"])


def test_it_is_a_chat_model_that_calls_bound_tools_only() -> None:
    router = Router().bind_tools(list(TOOLS))
    messages = [
        SystemMessage("guide", additional_kwargs={"labels": ["zorb"]}),
        HumanMessage("what is this?", additional_kwargs={"photos": [1]}),
    ]
    said = router.invoke(messages)
    assert [c["name"] for c in said.tool_calls] == ["classify_image"]
    results = [said, ToolMessage("Zorb, 93 %.", tool_call_id=said.tool_calls[0]["id"])]
    assert router.invoke([*messages, *results]).text == "Zorb, 93 %."
    only_undo = Router().bind_tools([t for t in TOOLS if t.name == "undo"])
    refused = only_undo.invoke(messages)
    assert not refused.tool_calls and "switched off" in refused.text


def test_it_remembers_that_it_asked() -> None:
    messages = [
        SystemMessage("guide", additional_kwargs={"labels": []}),
        HumanMessage("what is this?", additional_kwargs={"photos": [1]}),
        AIMessage("I don't know this. What is it?"),
        HumanMessage("a blick"),
    ]
    said = Router().bind_tools(list(TOOLS)).invoke(messages)
    assert [(c["name"], c["args"]) for c in said.tool_calls] == [
        ("teach_label", {"label": "blick"})
    ]


def results(*found: Recognition, photos: list[int], text: str) -> Context:
    """What the router knows after a turn in which these photos were recognised."""
    call_of = {"name": "classify_image", "args": {}, "id": "1", "type": "tool_call"}
    return _context(
        [
            SystemMessage("guide", additional_kwargs={"labels": list(LABELS)}),
            HumanMessage("what is this?", additional_kwargs={"photos": photos}),
            AIMessage("", tool_calls=[call_of]),
            ToolMessage(text, tool_call_id="1", artifact=list(found)),
            AIMessage(text),
            HumanMessage("a gromp"),
        ],
        5,
    )


def test_it_asks_whenever_a_photo_was_not_known_whatever_is_said_after_that() -> None:
    assert results(UNKNOWN, photos=[1], text="I don't know this. This looks like a photo.").asked
    assert results(TORN, photos=[1], text="A zorb or a blick? I can't tell them apart here.").asked
    assert not results(ZORB, photos=[1], text="Zorb, 90 %.").asked


def test_of_several_photos_the_one_that_was_not_known_is_named() -> None:
    context = results(ZORB, UNKNOWN, photos=[4, 5], text="…")
    assert context.open_photos == (5,)
    for text in ("a gromp", "it's a gromp", "a new thing called gromp"):
        assert [(a.tool, a.args) for a in decide(text, context)] == [
            ("teach_label", {"label": "gromp", "photos": [5]})
        ]
    two = results(UNKNOWN, UNKNOWN, photos=[4, 5], text="…")
    for text in ("a gromp", "it's a gromp", "a new thing called gromp"):
        asked = decide(text, two)
        assert [a.tool for a in asked] == [""], "which of the two is not known"
        assert asked[0].text.startswith("Which one do you mean, photo 4 or photo 5?")
    for text, args in (
        ("photo 4 is a gromp", {"label": "gromp", "photos": [4]}),
        ("they are all a gromp", {"label": "gromp"}),
        ("these are gromps", {"label": "gromp"}),
    ):
        assert [a.args for a in decide(text, two)] == [args]
    assert len(decide("neither", results(TORN, TORN, photos=[4, 5], text="…"))) == 1
    torn = results(TORN, ZORB, photos=[4, 5], text="…")
    assert [a.args for a in decide("the second", torn)] == [{"label": "blick", "photos": [4]}]
    assert [a.args for a in decide("these are gromps", context)] == [{"label": "gromp"}]


def test_what_two_results_ask_is_asked_once() -> None:
    asked = ["All right, this is not a zorb. What is it?", "All right, not a blick. What is it?"]
    said = [
        HumanMessage("neither"),
        *(ToolMessage(text, tool_call_id=str(i)) for i, text in enumerate(asked)),
    ]
    assert Router().bind_tools(list(TOOLS)).invoke(said).text == (
        "All right, this is not a zorb.\nAll right, not a blick. What is it?"
    )


def test_what_a_picture_was_recognised_as_is_not_said_twice() -> None:
    said = "I don't know this. What is it?"
    tools = (
        ("classify_image", said, UNKNOWN),
        ("answer_question", f"I don't know the word “knowing”. {said}", UNKNOWN),
        ("answer_question", "I don't know the word “wee”. Zorb, 90 %.", ZORB),
    )
    messages = [
        HumanMessage("and this one, are you knowing it?"),
        *(ToolMessage(t, tool_call_id=t, name=n, artifact=[found]) for n, t, found in tools),
    ]
    told = Router().bind_tools(list(TOOLS)).invoke(messages).text
    assert told == f"{said}\nI don't know the word “wee”. Zorb, 90 %."


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_line_of_the_tables_is_well_formed_and_has_a_handler(code: str) -> None:
    lines = language(code).lines("intents")
    assert lines and {intent for intent, _ in lines} <= set(HANDLERS)
