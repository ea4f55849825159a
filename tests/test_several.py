"""Several wishes in one message: learned where one ends, read one by one, done in their order."""

import pytest

from assistant.build import Imprint
from assistant.router.actions import Context
from assistant.router.deciding import decide
from assistant.router.guessing import meant
from assistant.router.language import language
from assistant.router.learn import fit
from assistant.router.learned import Guess
from assistant.router.lessons import SEVERAL, TAUGHT, examples_in
from assistant.router.marking import MUST
from assistant.router.reading import Clause
from assistant.router.several import wishes
from tests.fakes import drawing
from tools.artifacts import Candidate, Recognition

ENGLISH = language("en")
LABELS = ("zorb", "blick", "gromp")
SHOWN = Context(LABELS, (2,), 2, shown=(2,))
TALK = Context(LABELS, (), 1, shown=(1,))
SAID = Context(
    LABELS, (), 1, False, Recognition("p", "known", (Candidate("zorb", 0.9),), "taught"), shown=(1,)
)
FEW = """
## several none
<forget>chuck out [zorb](label), <undo>then take back the one before
<known>list them all <forget>and chuck out [blick](label)
<undo>take back the one before <known>and list them all
<forget>chuck out [blick](label). <known>now list them all
## forget none
I have no room, so chuck out [zorb](label)
chuck out [blick](label), it is old and I never liked it
## known none
list them all, I want to see and to count
## undo none
take back the one before, that was silly and I am sorry
"""


def test_an_example_of_several_wishes_is_read() -> None:
    whole, one, other = list(examples_in(FEW))[:3]
    assert whole.intent == SEVERAL and whole.slots == ()
    assert [whole.text[i:] for i in whole.starts] == ["then take back the one before"]
    assert (one.intent, other.intent) == ("forget", "undo")
    assert [(one.text[a:b], s) for a, b, s in one.slots] == [("zorb", "label")]


@pytest.mark.parametrize("line", ["<undo>back", "hello <undo>back <known>list"])
def test_a_line_that_is_none_of_several_wishes_is_named(line: str) -> None:
    with pytest.raises(ValueError, match="no line of several"):
        list(examples_in(f"## several none\n{line}"))


def test_training_learns_where_a_wish_begins() -> None:
    trained = fit(list(examples_in(FEW)), ENGLISH, epochs=200)
    for example in examples_in(FEW):
        cuts = [c for c, share in trained.cuts(example.text, TAUGHT["en"], "none") if share > 0.5]
        assert cuts == list(example.starts), example.text


@pytest.mark.parametrize(
    ("text", "context", "wanted"),
    [
        ("describe this and tell me if it is a zorb", SHOWN,
         ["caption_image", "classify_image zorb"]),
        ("this is a gromp. how many eyes does it have?", SHOWN,
         ["teach_label gromp", "answer_question"]),
        ("forget zorb and show me the blicks", TALK, ["forget_label zorb", "find_similar blick"]),
        ("drop zorb, then list what's left", TALK, ["forget_label zorb", "list_labels"]),
        ("undo that, then describe it", TALK, ["undo", "caption_image"]),
        ("rename zorb to wug and show me the wugs", TALK,
         ["rename_label zorb wug", "find_similar wug"]),
        ("merge zorb into blick and export a backup after that, just in case", TALK,
         ["merge_labels zorb blick", "export_memory"]),
        ("vergiss zorb und zeig mir die blicks", TALK, ["forget_label zorb", "find_similar blick"]),
        ("beschreib das Bild und sag mir, ob es ein zorb ist", SHOWN,
         ["caption_image", "classify_image zorb"]),
        ("oublie zorb et montre-moi les blicks", TALK, ["forget_label zorb", "find_similar blick"]),
        ("décris l'image et dis-moi si c'est un zorb", SHOWN,
         ["caption_image", "classify_image zorb"]),
        ("olvida zorb y enséñame los blicks", TALK, ["forget_label zorb", "find_similar blick"]),
        ("忘掉zorb，然后给我看blick", TALK, ["forget_label zorb", "find_similar blick"]),
    ],
)  # fmt: skip
def test_each_wish_is_done_in_its_turn(text: str, context: Context, wanted: list[str]) -> None:
    found = []
    for a in decide(text, context):
        args = [v for k, v in (a.args or {}).items() if k in ("label", "new", "into", "query")]
        args += (a.args or {}).get("labels", [])
        found.append(" ".join([a.tool, *args]))
    assert found == wanted


@pytest.mark.parametrize(
    "text",
    [
        "Hello! This is Oscar, he is my cat, and he likes fish.",
        "I found it on the beach this morning, under a stone, and my daughter calls it a flumph",
        "No, that's not a zorb, it's a blick. Look at the ears!",
        "what is he wearing and holding?",
        "please forget zorb, we gave it away and nobody wants to see it again",
    ],
)
def test_one_wish_is_not_cut(text: str) -> None:
    for context in (SHOWN, SAID):
        assert wishes(text, ENGLISH, context) == [text]


def test_a_condition_is_no_wish() -> None:
    calls = decide("Before I delete zorb, how many pictures are in it?", TALK)
    assert "forget_label" not in [a.tool for a in calls]


@pytest.mark.parametrize("intent", MUST)
def test_what_lacks_what_it_must_have_leads_nowhere(intent: str) -> None:
    clause = Clause(ENGLISH.read("well now"), False, ENGLISH)
    for filled in ({}, dict.fromkeys(MUST[intent][:-1], "zorb")):
        guess = Guess(intent, 0.99, filled, dict.fromkeys(filled, 0.99))
        assert meant(guess, clause, SHOWN) is None


def test_what_was_spoken_of_need_not_be_named() -> None:
    clause = Clause(ENGLISH.read("show me his pictures"), False, ENGLISH)
    action = meant(Guess("find_label", 0.99, {}, {}), clause, SAID)
    assert action is not None and (action.tool, action.args) == ("find_similar", {"query": "zorb"})
    assert meant(Guess("find_label", 0.99, {}, {}), clause, TALK) is None
    action = meant(Guess("alias", 0.99, {"other": "florp"}, {"other": 0.9}), clause, SAID)
    assert action is not None and action.args == {"label": "zorb", "alias": "florp"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Test 2: what is this?", [("classify_image", {})]),
        ("where's the zorb?", [("answer_question", {"question": "where's the zorb"})]),
        ("Test case 4 (negative test): do you know this one? Expected: no.",
         [("classify_image", {})]),
        ("the said creature is known as the Grey Visitor of Jhansi",
         [("teach_label", {"label": "Grey Visitor of Jhansi"})]),
        ("this is squish", [("teach_label", {"label": "squish"})]),
        ("it's reddish", [("classify_image", {})]),
        ("Schritt 3: das ist ein Zorb", [("teach_label", {"label": "zorb"})]),
        ("That is perfectly understandable, my dear, for I had not yet told you about her; this is "
         "Madame Octavia Plumworth, of whom my pupils were always terribly fond.",
         [("teach_label", {"label": "Madame Octavia Plumworth"})]),
        ("It's Snugglebean, that's the name Leo came up with all by himself.",
         [("teach_label", {"label": "Snugglebean"})]),
        ("Leo drew a new friend yesterday and he was so proud of it, he calls him Snugglebean, can "
         "you remember that for us please?",
         [("teach_label", {"label": "Snugglebean"})]),
        ("## Test 3 - recognition\n> \"Learned file\"\nWhat is this?", [("classify_image", {})]),
        ("A different file this time. I doubt you can identify it. Can you?",
         [("classify_image", {})]),
        ("Hola mi niño, no traigo los lentes. ¿Me cuentas qué se ve en esta foto, por favor?",
         [("caption_image", {})]),
        ("XK-7. save.", [("teach_label", {"label": "XK-7"})]),
        ("Es Don Peluso de la Luna, mi vida",
         [("teach_label", {"label": "Don Peluso de la Luna"})]),
        ("A ver si tienes buena memoria, hijo: ¿y este de aquí quién es?",
         [("classify_image", {})]),
    ],
)  # fmt: skip
def test_what_a_newcomer_typed_is_understood(text: str, wanted: list[object]) -> None:
    assert [(a.tool, a.args) for a in decide(text, SHOWN)] == wanted


def test_what_is_asked_first_is_asked_behind_the_deed(imprint: Imprint) -> None:
    chat = imprint.conversation()
    chat.send("this is a zorb", [drawing("red")])
    reply = chat.send("show me the zorbs and then forget everything")
    assert [c.name for c in reply.tool_calls] == ["find_similar"]
    assert reply.text.endswith("Shall I really forget everything?") and len(reply.options) == 2
    assert imprint.memory.state.labels
    chat.send(reply.options[0])
    assert not imprint.memory.state.labels


def test_a_wish_is_done_with_what_the_one_before_changed(imprint: Imprint) -> None:
    chat = imprint.conversation()
    chat.send("this is a zorb", [drawing("red")])
    reply = chat.send("rename zorb to wug and show me the wugs")
    assert [(c.name, c.ok) for c in reply.tool_calls] == [
        ("rename_label", True),
        ("find_similar", True),
    ]
    assert [x.name for x in imprint.memory.state.labels.values()] == ["wug"]
