"""What the assistant says of itself in the languages it reads: questions first, and failures."""

from dataclasses import replace

import pytest
import yaml
from langchain_core.messages import HumanMessage

from assistant.build import Imprint
from assistant.consent import answered, question
from assistant.router.deciding import decide
from assistant.router.language import LANGUAGES, language
from assistant.router.telling import told
from tests.fakes import drawing
from tests.test_router import SITUATIONS
from tools.artifacts import Caption, Change, Matches
from tools.registry import TOOLS
from tools.training import Training

HELLO = {
    "en": "this is a zorb",
    "de": "das ist ein Zorb",
    "fr": "c'est un zorb",
    "es": "esto es un zorb",
    "zh": "这是zorb",
}


def tables(code: str, section: str) -> dict[str, str]:
    from importlib.resources import files

    text = files("assistant.router").joinpath(f"{code}.yaml").read_text(encoding="utf-8")
    found: dict[str, str] = yaml.load(text, Loader=yaml.BaseLoader)[section]
    return found


@pytest.mark.parametrize("code", LANGUAGES)
@pytest.mark.parametrize("section", ["buttons", "consent", "failures", "orders_said"])
def test_every_language_has_the_same_words(code: str, section: str) -> None:
    assert tables(code, section).keys() == tables("en", section).keys()


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_question_is_asked_in_the_language_that_is_spoken(code: str) -> None:
    said = [HumanMessage(HELLO[code])]
    asked = question("forget_label", {"label": "zorb"}, said)
    assert "“zorb”" in asked and asked == tables(code, "consent")["ask"].format(
        deed=tables(code, "consent")["forget_label"].format(label="“zorb”")
    )
    for tool in TOOLS:
        args = {k: k for k in tool.args if k not in ("photos", "desk")}
        assert "{" not in question(tool.name, {**args, "photos": [1, 2]}, said)


@pytest.mark.parametrize("code", LANGUAGES)
def test_what_is_offered_is_understood_when_it_is_taken(code: str) -> None:
    """A click sends what the button says: it does the same thing in every language."""
    names = {"label": "zorb", "new": "florp", "into": "blick", "alias": "florp"}
    tongue, said = language(code), replace(SITUATIONS["said zorb"], language=code)
    shown = replace(SITUATIONS["taught+photo"], language=code)
    for tool in tables(code, "orders_said"):
        here = shown if tool in ("teach_label", "forget_pictures") else said
        assert [a.tool for a in decide(tongue.order(tool, **names), here)] == [tool], tool
    offered = Training("zorb.1", "finished", ("zorb",), 24, offered=True)
    situations = {
        "same": SITUATIONS["doubt"],
        "new": SITUATIONS["doubt"],
        "it_is": SITUATIONS["asked"],
        "status": replace(said, training=offered),
        "use": replace(said, training=offered),
        "unuse": replace(said, training=offered),
    }
    for key in tables(code, "buttons").keys() - {"yes", "no"}:
        here = situations.get(key, said)
        clicked = decide(tongue.button(key, label="florp"), replace(here, language=code))
        english = decide(language("en").button(key, label="florp"), here)
        done = [(a.tool, a.args, a.language if not a.tool else "") for a in clicked]
        assert done == [(a.tool, a.args, code if not a.tool else "") for a in english], key
        assert [a.tool for a in clicked] == [""] or key != "new"


@pytest.mark.parametrize("code", LANGUAGES)
def test_buttons_speak_the_language_of_the_user(imprint: Imprint, code: str) -> None:
    chat = imprint.conversation()
    reply = chat.send(HELLO[code], photos=[drawing("red")])
    assert reply.options == (tables(code, "buttons")["undo"],)
    chat.send(
        HELLO[code].replace("zorb", "blick").replace("Zorb", "Blick"), photos=[drawing("blue")]
    )
    undo = reply.options[0]
    assert chat.send(undo).options == (undo,), "one more change can be taken back"
    assert chat.send(undo).options == () and not imprint.memory.state.labels


@pytest.mark.parametrize("code", ["de", "fr", "es", "zh"])
def test_a_search_that_finds_nothing_says_so(code: str) -> None:
    said = told(language(code), [Matches("rotes Haus", ())], {})
    assert said is not None and "rotes Haus" in said and said[0].isupper() | (code == "zh")


def test_a_no_is_answered_in_its_language() -> None:
    from langchain_core.messages import AIMessage

    asked = AIMessage("?", additional_kwargs={"asked": [{"name": "undo", "args": {}}]})
    for no, code in (("nein", "de"), ("non", "fr"), ("no", "en"), ("不要", "zh")):
        said = HumanMessage(no, additional_kwargs={"text": no})
        told = answered([HumanMessage(HELLO[code]), asked, said])
        assert told is not None and told.text == tables(code, "consent")["refused"]


def test_failures_are_told_in_the_language_that_is_spoken(imprint: Imprint) -> None:
    """The English of each is what the tools really say, or nothing would be translated."""
    told = set()

    def say(text: str, *photos: object, chat: str = "a") -> None:
        told.add(imprint.conversation(chat).send(text, photos).text)

    say("undo")
    say("what is this?")
    say("compare")
    say("why?")
    say("forget gromp")
    say("export my memory")
    say("forget what i taught you today")
    say("show me something red")
    say("forget this picture", drawing("red"))
    say("this is a zorb", drawing("red"))
    say("this is a blick", drawing("blue", "cross"))
    say("forget gromp")
    say("forget blikc2")
    say("rename zorb to blick")
    told |= {imprint_failure(imprint)}
    for code in LANGUAGES[1:]:
        other = {language(code).failed(text) for text in told}
        own = tables(code, "failures")
        met = {k for k, v in own.items() if any(_fits(v, text) for text in other - told)}
        assert met >= own.keys() - {"nothing_to_forget"}, (own.keys() - met, told)


@pytest.mark.parametrize(
    ("correct", "undo", "told"),
    [("no, that's a gromp", "undo", "It is a blick again."),
     ("nein, das ist ein gromp", "rückgängig", "Davor war es blick, und das ist es jetzt wieder."),
     ("non, c'est un gromp", "annule", "C'est de nouveau ce que c'était avant : blick."),
     ("no, es un gromp", "deshacer", "Vuelve a ser lo que era antes: blick."),
     ("不对，这是gromp", "撤销", "它又是之前的blick了。")],
)  # fmt: skip
def test_who_takes_a_correction_back_is_told_what_it_is_again(
    imprint: Imprint, correct: str, undo: str, told: str
) -> None:
    chat = imprint.conversation()
    chat.send("this is a blick", [drawing("blue")])
    chat.send(correct)
    assert told in chat.send(undo).text


def imprint_failure(imprint: Imprint) -> str:
    from tools.errors import ToolError

    with pytest.raises(ToolError) as caught:
        imprint.call("forget_label", label="blikc")
    return str(caught.value)


def _fits(template: str, text: str) -> bool:
    import re

    pattern = re.sub(r"\\{\w+\\}", ".+?", re.escape(template))
    return re.fullmatch(pattern, text, re.S) is not None


@pytest.mark.parametrize(
    ("said", "told"),
    [("vergiss Blorp", "Blorp kenne ich nicht: ich habe noch nichts gelernt."),
     ("rückgängig", "Es gibt nichts rückgängig zu machen: noch hat sich nichts geändert."),
     ("oublie blorp", "Je ne connais pas blorp : je n'ai encore rien appris."),
     ("olvida blorp", "No conozco blorp: todavía no he aprendido nada."),
     ("忘记blorp", "我不认识blorp：我还什么都没学会。")],
)  # fmt: skip
def test_a_conversation_fails_in_its_language(imprint: Imprint, said: str, told: str) -> None:
    assert imprint.conversation().send(said).text == told


@pytest.mark.parametrize("code", ["de", "fr", "es", "zh"])
def test_a_description_says_that_it_is_in_english_and_not_that_there_is_none(code: str) -> None:
    tongue = language(code)
    shown = told(tongue, [Caption("p", "a red teapot", "Joséphine")], {}) or ""
    assert "a red teapot" in shown and "Joséphine" in shown
    assert shown.startswith(told(tongue, [Caption("p", "a red teapot")], {}) or "-")
    unknown = told(tongue, [Caption("p", "Something I have no name for.")], {}) or ""
    assert unknown and "no name" not in unknown
    assert told(tongue, [Caption("p", "a cup", outside=True)], {}) is None


@pytest.mark.parametrize("code", ["de", "fr", "es", "zh"])
def test_who_takes_the_only_picture_back_is_not_told_of_none(code: str) -> None:
    undone = told(language(code), [Change("undone", "zorb", ("p",), 0)], {}) or ""
    assert "zorb" in undone and "0" not in undone
