"""The router's grammar, languages and doubts; the set of utterances is measured by the bench."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from assistant import open_assistant
from assistant.build import Imprint
from assistant.router import Router, deciding
from assistant.router.actions import Action, Context
from assistant.router.deciding import decide
from assistant.router.grammar import Template
from assistant.router.guessing import meant
from assistant.router.judging import Fit
from assistant.router.language import LANGUAGES, language
from assistant.router.learned import Guess
from assistant.router.lines import parse
from assistant.router.names import named
from assistant.router.reading import Clause
from assistant.router.spelling import Spelling, near
from tests.bench.understanding.playing import cases, play, router_with_all_tools
from tests.fakes import drawing
from tools.artifacts import Candidate, Change, LabelList, LabelSummary, Recognition
from tools.models import Models
from tools.registry import TOOLS

ZORB = Recognition("p", "known", (Candidate("zorb", 0.9),), "taught")
TAUGHT = Context(("zorb", "blick"), (), 1)
SHOWN = Context(("zorb", "blick"), (2,), 2)
TEXT = (
    "this is a zorb not no , . ? the first picture forget what and when i ask say it's das ist "
    "kein 这 是 吗 \" ( : same merge rename to 2 l'un all of them"
)
SAID = Context(("zorb", "blick"), (), 1, False, ZORB)


def fit(template: str, text: str, **classes: str) -> dict[str, str] | None:
    """The slots of a template in a text."""
    known: dict[str, Template] = {}
    for name, line in classes.items():
        known[name] = parse(line, known)
    sentence = Spelling({}, (), frozenset()).read(text)
    found = parse(template, known).match(sentence)
    return None if found is None else {k: sentence.raw_of(v) for k, v in found.items()}


def calls(text: str, context: Context) -> list[tuple[str, dict[str, Any] | None]]:
    return [(a.tool, a.args) for a in decide(text, context)]


@pytest.mark.parametrize(
    ("template", "text", "slots"),
    [
        ("undo [that|it]", "Undo that", {}),
        ("undo [that|it]", "undo this", None),
        ("(show|find) [me] {query}", "find me red things", {"query": "red things"}),
        ("colou?rs? *", "Color of the hat", {}),
        ("it is {a} : {b}", "it is Rex: my dog", {"a": "Rex", "b": "my dog"}),
        ("it is {a} : {b}", "it is Rex my dog", None),
        ("rename {a} to {b}", 'rename "big bob" to Bob', {"a": '"big bob"', "b": "Bob"}),
        ("{a} and {b} are one", "a and b and c are one", {"a": "a", "b": "b and c"}),
        ("say {question} is {a}", "say what size is it is M8",
         {"question": "what size is it", "a": "M8"}),
        ("这是{label}吗", "这是zorb吗？", {"label": "zorb"}),
        ("[so|very]+ (big|red)+ {a}", "very so big red dog", {"a": "dog"}),
        ("[so|very]+ (big|red)+ {a}", "very dog", None),
        ("this [_] toy is {a}", "this lil toy is a dog", {"a": "a dog"}),
        ("this _ toy", "this very lil toy", None),
    ],
)  # fmt: skip
def test_templates(template: str, text: str, slots: dict[str, str] | None) -> None:
    assert fit(template, text) == slots


def test_classes_stand_for_their_words() -> None:
    assert fit("<this> is {label}", "that one is a zorb", this="this|that [one]") == {
        "label": "a zorb"
    }


def test_a_slot_may_take_only_names_of_taught_labels() -> None:
    sentence = named(
        language("en").read("lose everything on Zorbs and the red dog"), ["zorb", "red dog"]
    )
    found = parse("* {!a} * {!b}", {}).match(sentence)
    assert found is not None
    assert {k: sentence.raw_of(v) for k, v in found.items()} == {"a": "Zorbs", "b": "red dog"}
    assert parse("* on {!a}", {}).match(sentence) is None


def test_accents_and_what_only_sounds_do_not_count() -> None:
    assert (
        language("es").read("¿De qué color ES").words
        == language("es").read("de que color es").words
    )
    assert language("de").read("rueckgaengig").words == language("de").read("rückgängig").words
    assert language("zh").read("這張圖").words == language("zh").read("这张图").words
    assert language("en").read("this lol is a zorb haha").words == ["this", "is", "a", "zorb"]
    assert language("en").read("lol").words == ["lol"]


@pytest.mark.parametrize(
    ("text", "context", "wanted"),
    [
        ("I would so like you to forget about the zorbs again, ok", TAUGHT,
         [("forget_label", {"label": "zorb"})]),
        ("could you dig out everything you ever saw of my zorbs", TAUGHT,
         [("find_similar", {"query": "zorb"})]),
        ("vergiss den zorb wieder, den brauche ich nicht", TAUGHT,
         [("forget_label", {"label": "zorb"})]),
        ("everything I sent so far is a gromp", Context((), (), 3),
         [("teach_label", {"label": "gromp", "photos": [1, 2, 3]})]),
        ("the left one is a zorb", Context(("zorb",), (2, 3), 3),
         [("teach_label", {"photos": [2], "label": "zorb"})]),
        ("dog or cat", Context((), (1,), 1), [("classify_image", {"labels": ["dog", "cat"]})]),
        ("put boxes around all dogs", Context((), (1,), 1),
         [("detect_objects", {"labels": ["dog"]})]),
        ("no, three", Context((), (), 1, answered="how many eyes?"),
         [("teach_answer", {"question": "how many eyes?", "answer": "three"})]),
        ("it's a zorb, how many eyes has it got", Context((), (1,), 1),
         [("teach_label", {"label": "zorb"}),
          ("answer_question", {"question": "how many eyes has it got?"})]),
    ],
)  # fmt: skip
def test_what_strangers_say(
    text: str, context: Context, wanted: list[tuple[str, dict[str, Any]]]
) -> None:
    assert calls(text, context) == wanted


TWO = Context(("zorb", "blick"), (2, 3), 3)


@pytest.mark.parametrize(
    ("text", "context", "wanted"),
    [
        # Talk before and after, with a comma, a dash, a small picture or nothing between.
        ("ok so this lil guy is called a snorble, remember that pls", Context((), (1,), 1),
         [("teach_label", {"label": "snorble"})]),
        ("this, my dear, is a grommet", Context((), (1,), 1),
         [("teach_label", {"label": "grommet"})]),
        ("meet biscuit 🐶 he's my dog", Context((), (1,), 1),
         [("teach_label", {"label": "biscuit"})]),
        ("i looked again thats not a zorb after all", Context(("zorb",), (), 1),
         [("reject_label", {"label": "zorb"})]),
        ("ugh hit send too early, take that back", TAUGHT, [("undo", {})]),
        ("grommet. remember it.", Context((), (1,), 1), [("teach_label", {"label": "grommet"})]),
        # Several pictures, each with its name.
        ("first a zorb, then a blick", TWO,
         [("teach_label", {"photos": [2], "label": "zorb"}),
          ("teach_label", {"photos": [3], "label": "blick"})]),
        ("1 = spring washer, 2 = lock washer", Context((), (1, 2), 2),
         [("teach_label", {"photos": [1], "label": "spring washer"}),
          ("teach_label", {"photos": [2], "label": "lock washer"})]),
        # Who is not sure asks.
        ("this is a zorb. is it?", Context((), (1,), 1),
         [("classify_image", {"labels": ["zorb"]})]),
        ("my brother says this is a zorb, but i am not sure", Context((), (1,), 1),
         [("classify_image", {"labels": ["zorb"]})]),
        ("das ist ein zorb, aber ich bin nicht sicher", Context((), (1,), 1),
         [("classify_image", {"labels": ["zorb"]})]),
        ("did i take the same teapot twice in these", Context((), (1, 2), 2),
         [("compare_images", {})]),
    ],
)  # fmt: skip
def test_clauses_beside_talk(
    text: str, context: Context, wanted: list[tuple[str, dict[str, Any]]]
) -> None:
    assert calls(text, context) == wanted


@pytest.mark.parametrize(
    "text",
    ["nobody believes me that this is a zorb", "i wish this was a zorb",
     "the left one is bigger and the right one is smaller", "if that is a zorb, i am the queen",
     "i drew this, took me an hour", "das ist leider ziemlich unscharf geworden, sorry",
     "she said it is a zorb, but i am not so sure"],
)  # fmt: skip
def test_a_clause_in_doubt_teaches_nothing(text: str) -> None:
    assert "teach_label" not in [tool for tool, _ in calls(text, TWO)]


def test_everything_but_a_label_is_not_everything() -> None:
    wiping = Context(("zorb", "blick"), (), 1, wiping=True)
    assert calls("yes, everything except the zorb", wiping) == [
        ("forget_label", {"label": "blick"})
    ]


def test_only_a_label_may_be_forgotten_instead_of_everything() -> None:
    wiping = Context(("zorb", "blick"), (), 1, wiping=True)
    assert calls("not everything, only the zorbs", wiping) == [("forget_label", {"label": "zorb"})]


@pytest.mark.parametrize(
    "text",
    ["guck mal wie süß", "好可爱啊哈哈", "麻烦看一下", "this is blurry sorry",
     "trop mignon celui-là", "qué lindo está hoy", "wow look at that",
     "taken last summer in Lisbon"],
)  # fmt: skip
def test_a_remark_beside_a_picture_teaches_nothing(text: str) -> None:
    assert "teach_label" not in [tool for tool, _ in calls(text, Context((), (1,), 1))]


NEW = Context((), (), 0)
TALKED = Context(("zorb",), (), 1, shown=(1,))


@pytest.mark.parametrize(
    ("context", "code", "text", "key"),
    [
        (NEW, "en", "hi there", "hello"),
        (NEW, "en", "my name is Anna", "hello"),
        (NEW, "de", "hallo du", "hello"),
        (NEW, "fr", "salut toi", "hello"),
        (TALKED, "en", "it is raining here", "remark"),
        (TALKED, "de", "das Wetter ist schön", "remark"),
    ],
)
def test_small_talk_gets_an_answer_of_its_own(
    context: Context, code: str, text: str, key: str
) -> None:
    (action,) = decide(text, context)
    assert (action.tool, action.text) == ("", language(code).said(key))


@pytest.mark.parametrize("text", ["ok let us begin", "los geht's", "on y va ?", "我们开始吧"])
def test_who_wants_to_begin_is_told_how(text: str) -> None:
    (action,) = decide(text, NEW)
    assert not action.tool and "zorb" in action.text.casefold()


def test_what_is_certain_is_done_without_the_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures that are pointed at, several wishes and what is told beside a name are theirs."""
    here = Context(("zorb",), (2,), 2)
    monkeypatch.setattr(deciding, "_taken_apart", lambda *_: ([Action("tables")], Fit.LINE))
    monkeypatch.setattr(deciding, "judged", lambda message, found, actions, *_: actions)

    def through(text: str) -> list[str]:
        return [a.tool for a in decide(text, here)]

    assert through("what might this thing be?") == ["classify_image"]
    assert through("so would you call that a zorb?") == ["classify_image"]
    assert through("and the first one?") == through("wug: a round blue toy") == ["tables"]
    assert through("is it a zorb or a blick?") == ["tables"]


@pytest.mark.parametrize("text", ["Smashing.", "Champion!", "Splendid!"])
def test_praise_after_an_answer_is_no_name(text: str) -> None:
    assert [tool for tool, _ in calls(text, SAID)] in ([], [""])


@pytest.mark.parametrize("line", ["undo [that", "undo that]", "(a|b"])
def test_a_line_with_a_bracket_too_many_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="bracket"):
        parse(line, {})


def test_one_letter_is_a_typo_two_are_not() -> None:
    assert near("zorb", "zrob", 1) and near("zorb", "zorbb", 1) and near("zorb", "orb", 1)
    assert not near("zorb", "bozr", 1) and not near("zorb", "z", 1)


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_language_has_words_for_what_is_said(code: str) -> None:
    tongue = language(code)
    for key in ("hello", "help", "not_understood", "wipe_ask", "same_or_new", "what_is_it"):
        said = tongue.said(key, names="a", label="a", other="b")
        assert said and (
            code == "en" or said != language("en").said(key, names="a", label="a", other="b")
        )


def test_an_order_to_forget_everything_asks_first_and_yes_does_it(
    home: Path, fakes: Models
) -> None:
    with open_assistant(home=home, models=fakes) as imprint:
        chat = imprint.conversation()
        chat.send("this is a zorb", [drawing("red")])
        asked = chat.send("forget everything")
        assert "zorb" in asked.text and asked.options == ("yes, forget everything", "no")
        assert imprint.memory.state.labels and not asked.tool_calls
        assert chat.send("no").text == "All right, I keep everything."
        assert not chat.send("yes").tool_calls, "nothing is asked any more"
        chat.send("forget everything")
        assert [c.name for c in chat.send("yes").tool_calls] == ["forget_everything"]
        assert not imprint.memory.state.labels


def test_an_order_that_loses_something_is_asked_about_by_who_is_not_sure() -> None:
    tongue = language("en")
    clause = Clause(tongue.read("please stop all knowing of zorbs"), False, tongue)
    sure = Guess("forget", 0.9, {"label": "zorbs"}, {"label": 1.0})
    assert meant(sure, clause, TAUGHT) == Action("forget_label", {"label": "zorb"})
    said = meant(replace(sure, probability=0.6), clause, TAUGHT)
    assert said is not None
    assert said.tool == "" and said.text == "I understood: forget zorb. Is that what you want?"
    order, neither = said.options
    assert calls(order, TAUGHT) == [("forget_label", {"label": "zorb"})]
    assert calls(neither, TAUGHT)[0][0] == ""


def test_what_only_resembles_a_question_is_answered() -> None:
    text = "how trustworthy is your answer"
    assert calls(text, Context(("zorb",))) == [("report_knowledge", {})]


def test_a_tool_that_is_not_there_is_said_honestly() -> None:
    router = Router().bind_tools([t for t in TOOLS if t.name != "split_label"])
    for text, words in (("split zorb", "yet"),):
        said = router.invoke(
            [SystemMessage("", additional_kwargs={"labels": ["zorb"]}), HumanMessage(text)]
        )
        assert not said.tool_calls and words in said.text


@pytest.mark.parametrize(
    ("text", "context", "expected"),
    [
        ("das ist ein Zorb", Context((), (1,), 1), [("teach_label", {"label": "Zorb"})]),
        ("Nein, das ist doch unsere kleine Tante Hildegard!", Context((), (), 1, True),
         [("teach_label", {"label": "Tante Hildegard"})]),
        ("esta es la tía Carmen, mírala", Context((), (1,), 1),
         [("teach_label", {"label": "tía Carmen"})]),
        ("nein, das ist ein Blick", SAID, [("correct_label", {"label": "blick"})]),
        ("combien y en a-t-il ?", SHOWN,
         [("answer_question", {"question": "how many are there?"})]),
        ("c'est l'okapi", Context((), (1,), 1), [("teach_label", {"label": "okapi"})]),
        ("¿qué es esto?", SHOWN, [("classify_image", {})]),
        ("no es un zorb", SAID, [("reject_label", {"label": "zorb"})]),
        ("Was kennst du?", Context(("zorb",), (), 1), [("list_labels", {})]),
        ("weißt du zufällig, was das ist?", Context((), (1,), 1), [("classify_image", {})]),
        ("这不是zorb", SAID, [("reject_label", {"label": "zorb"})]),
        ("这是一只熊猫", Context((), (1,), 1), [("teach_label", {"label": "熊猫"})]),
    ],
)  # fmt: skip
def test_other_languages(text: str, context: Context, expected: list[Any]) -> None:
    assert calls(text, context) == expected


@pytest.mark.parametrize(
    ("text", "found", "told"),
    [
        ("was ist das?", ZORB, "Zorb, 90 %. Es sieht aus wie das, was du mir gezeigt hast."),
        ("qu'est-ce que c'est ?", Recognition("p", "unknown", (Candidate("zorb", 0.1),), "taught"),
         "Je ne connais pas cela. Le plus proche est zorb, mais de loin. Qu'est-ce que c'est ?"),
        ("olvida zorb", Change("forgotten", "zorb"), "Olvidado: zorb. «Deshacer» lo recupera."),
        ("你知道什么？", LabelList((LabelSummary("zorb", 2, 0, "", ()),)),
         "我认识1样东西：zorb (2张图片)。"),
        ("das ist ein Gromp", Change("taught", "gromp", ("p",), 1, same_as="zorb"),
         "Gelernt: gromp (1 Bild). Gromp und zorb: dasselbe oder etwas Neues?"),
        ("what is this?", ZORB, "said in English"),
    ],
)  # fmt: skip
def test_results_are_told_in_the_language_of_the_user(text: str, found: Any, told: str) -> None:
    router = Router().bind_tools(list(TOOLS))
    thread = [
        SystemMessage("", additional_kwargs={"labels": ["zorb"]}),
        HumanMessage(text, additional_kwargs={"photos": [1]}),
    ]
    said = router.invoke(thread)
    result = ToolMessage("said in English", tool_call_id=said.tool_calls[0]["id"], artifact=[found])
    assert router.invoke([*thread, said, result]).text == told


def test_a_failure_is_told_as_the_tool_words_it() -> None:
    call = {"name": "undo", "args": {}, "id": "1", "type": "tool_call"}
    thread = [
        HumanMessage("rückgängig"),
        AIMessage("", tool_calls=[call]),
        ToolMessage("There is nothing to undo.", tool_call_id="1", status="error"),
    ]
    assert Router().invoke(thread).text == "There is nothing to undo."


def test_a_conversation_in_german_stays_german(imprint: Imprint) -> None:
    chat = imprint.conversation()
    assert chat.send("das ist ein Zorb", [drawing("red")]).text == "Gelernt: Zorb (1 Bild)."
    assert chat.send("was ist das?", [drawing("blue", "cross")]).text.endswith("Was ist es?")
    assert chat.send("Wug").text.startswith("Gelernt: Wug (1 Bild).")
    assert chat.send("vergiss alles").text.endswith("Soll ich wirklich alles vergessen?")
    assert chat.send("nein").text == "In Ordnung, ich behalte alles."


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.text(max_size=120),
        st.lists(
            st.sampled_from(TEXT.split()),
            max_size=25,
        ).map(" ".join),
    ),
    st.sampled_from([Context(), TAUGHT, SHOWN, SAID, Context(("zorb",), (), 1, True, ZORB),
                     Context(("zorb",), wiping=True)]),
)  # fmt: skip
def test_no_text_makes_it_fail(text: str, context: Context) -> None:
    actions = decide(text, context)
    assert actions
    assert all(a.tool or a.text for a in actions)


@pytest.mark.parametrize(
    "text",
    ["a" * 5000, "no, " * 1250, "is it " * 800 + "?", "(" * 5000, "a b " * 1250, "why? " * 1000,
     "this is a zorb, " * 310, "the first " * 500, "这是" * 2500, "no " * 59,
     "and the first " * 20],
)  # fmt: skip
def test_five_thousand_characters_take_no_longer_than_a_blink(text: str) -> None:
    decide("what is this?", SAID)
    started = time.process_time()
    assert decide(text, SAID)
    assert time.process_time() - started < 1.0


def test_nothing_is_taught_by_small_talk() -> None:
    """Of the set: whatever is measured elsewhere, what must not change memory does not."""
    router = router_with_all_tools()
    lines = [
        c
        for c in cases()
        if c.expected == "harmless" and c.part == "development" and "third round" not in c.intent
    ]
    assert len(lines) > 40
    wrong = [c.text for c in lines if not play(router, c).tool]
    assert not wrong


def test_the_set_is_as_large_as_it_should_be_and_a_third_is_held_out() -> None:
    lines = cases()
    before = [c for c in lines if not c.intent.endswith(("(development)", "blind)"))]
    held = sum(c.part == "held out" for c in lines)
    assert sum(c.part == "blind" for c in lines) > 150
    assert sum(c.part == "later blind" for c in lines) > 250
    assert len(before) >= 400 and 0.3 < held / len(before) < 0.4
