"""What people who were told nothing typed on their way through the first steps."""

import re
from typing import Any

import pytest

from assistant import Imprint
from assistant.router.actions import Context
from assistant.router.deciding import decide
from assistant.router.language import language
from tests.fakes import drawing
from tests.test_understanding import calls
from tools.artifacts import Change

NEW = Context((), (1,), 1)
TAUGHT = Context(("zorb",), (), 1, changed=Change("taught", "zorb", ("p",), 1))
SHOWN = Context(("zorb",), (2,), 2)


@pytest.mark.parametrize(
    ("text", "context", "wanted"),
    [
        # What gives a name counts, and not what says the kind of thing.
        ("no its a dino silly. its name is Rexipoo", NEW, [("teach_label", {"label": "Rexipoo"})]),
        ("That's not right, love. It's my ball of wool, and I call it Fluffkin.", NEW,
         [("teach_label", {"label": "Fluffkin"})]),
        ("it is a scooter, but at home its name is Hulaja", NEW,
         [("teach_label", {"label": "Hulaja"})]),
        # Of two pictures each keeps its own.
        ("photo 1 is a dino. photo 2 is called Rex", Context((), (1, 2), 2),
         [("teach_label", {"photos": [1], "label": "dino"}),
          ("teach_label", {"photos": [2], "label": "Rex"})]),
        # A name and what it is not: one correction, and one undo takes it back.
        ("Oh dear me. The name is Fluffkin, not zorb.", TAUGHT,
         [("correct_label", {"label": "Fluffkin", "wrong": "zorb"})]),
        # Nobody is called dear, and what exclaims does not ask.
        ("Hello dear, what is this?", NEW, [("classify_image", {})]),
        ("Oh how lovely. This is Gumbly", NEW, [("teach_label", {"label": "Gumbly"})]),
        # Who spells a name has typed it right.
        ("No, I meant zorbo.", SHOWN, [("teach_label", {"label": "zorbo"})]),
        ("Among my colleagues, this sculpture is affectionately known as Old Bartholomew.", NEW,
         [("teach_label", {"label": "Old Bartholomew"})]),
        ("These are the Weeping Twins.", NEW, [("teach_label", {"label": "Weeping Twins"})]),
        ("ok so this is my dino his name is Chomperoo ok", NEW,
         [("teach_label", {"label": "Chomperoo"})]),
        # The last thing is not everything, and what takes it back is no name.
        ("Oh dear, I made a mistake with the last one. Please strike it out again.", TAUGHT,
         [("undo", {})]),
        ("Sorry, the last was error from me. Put away please.", TAUGHT, [("undo", {})]),
        ("Please delete what I teached last.", TAUGHT, [("undo", {})]),
        ("undo!! i dont want zorb no more", TAUGHT, [("undo", {})]),
        ("undo, and forget zorb", Context(("zorb",)),
         [("undo", {}), ("forget_label", {"label": "zorb"})]),
        ("what all you have learned until now?", TAUGHT, [("list_labels", {})]),
        # With a new picture nothing has been answered of it yet.
        ("why is it zorb", SHOWN, [("classify_image", {}), ("explain_answer", {})]),
        ("why is it zorb", TAUGHT, [("explain_answer", {})]),
    ],
)  # fmt: skip
def test_what_newcomers_say(
    text: str, context: Context, wanted: list[tuple[str, dict[str, Any]]]
) -> None:
    assert calls(text, context) == wanted


def test_a_name_that_is_only_supposed_is_asked_about() -> None:
    assert calls("Everyone in the class says hi to Pistachio", NEW) == [
        ("teach_label", {"label": "Pistachio"})
    ]
    (action,) = decide("Suppose it answers to Pistachio", NEW)
    assert not action.tool and action.options[0] == "this is called Pistachio"
    assert calls(action.options[0], NEW) == [("teach_label", {"label": "Pistachio"})]
    for plain in ("EVERYBODY LOVES THIS SO MUCH", "my friend drew it", "Anna met Bob at Clara's"):
        assert not any(a.options for a in decide(plain, NEW)), plain


@pytest.mark.parametrize(
    ("reply", "learned"),
    [("yes!!", True), ("Yes, please.", True), ("yep exactly", True), ("no", False)],
)
def test_a_yes_to_what_was_understood_does_it(imprint: Imprint, reply: str, learned: bool) -> None:
    chat = imprint.conversation()
    asked = chat.send("Suppose it answers to Pistachio", [drawing("red")])
    assert asked.text == "I understood: this is called Pistachio. Is that what you want?"
    said = chat.send(reply)
    assert [c.name for c in said.tool_calls] == (["teach_label"] if learned else [])
    assert (said.text == "Learned Pistachio (1 picture).") is learned
    again = chat.send("yes")
    assert not again.tool_calls, "what was asked is asked once"


@pytest.mark.parametrize("code", ["en", "de", "fr", "es", "zh"])
@pytest.mark.parametrize("key", ["not_understood", "cant_answer"])
def test_what_it_says_can_be_said_can_be_said(code: str, key: str) -> None:
    """Who was not understood is told other words: they work, and each does something else."""
    said = re.findall("[“„«](.+?)[”“»]", language(code).said(key))
    done = []
    for words in said:
        teaches = re.search("(?i)blick|(?:this is|das ist|c'est|esto es|这是)", words)
        here = Context(("zorb",), (2,) if teaches else (), 2, language=code)
        (action,) = decide(words.strip(), here)
        assert action.language == code
        assert action.tool or action.text == language(code).said("help"), words
        done.append((action.tool, str((action.args or {}).get("label", "")).casefold()))
    assert len(set(done)) == len(done) >= 2
