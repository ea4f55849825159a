"""What people tell around what they want: it is no name, and what they want is done."""

from dataclasses import replace

import pytest

from assistant.router.actions import Context
from assistant.router.deciding import decide
from tools.artifacts import Candidate, Recognition

KNOWN = Recognition("p", "known", (Candidate("zorb", 0.9),), "taught")
PHOTO = Context(("zorb", "Ned"), (2,), 2)
ASKED = Context(("zorb", "Ned"), (), 1, True, Recognition("p", "unknown", (), ""))
SAID = Context(("zorb", "Ned"), (), 1, False, KNOWN)


def done(text: str, context: Context) -> list[tuple[str, str]]:
    """Each tool with the name that it is given."""
    actions = decide(text, context)
    return [(a.tool, str((a.args or {}).get("label", ""))) for a in actions]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Bravo! Now, level two, my dear Watson: and this, what is it in your opinion?", "en"),
        ("Waouh la classe ! Niveau 2 maintenant, mon petit Sherlock : et ça, c'est quoi ?", "fr"),
        (
            "I was going through the hall closet looking for my galoshes, and out fell this "
            "picture, which I believe my son-in-law drew. I wonder whether you know what it is.",
            "en",
        ),
        ("My name is Walt. What is this, please?", "en"),
        ("Good morning, my name is Walt.", "en"),
        ("Ich heiße Margit. Was ist das?", "de"),
        ("Moi c'est Lyon, enchanté ! C'est quoi, ça ?", "fr"),
        ("Me llamo Inés. ¿Qué es esto?", "es"),
    ],
)
def test_who_asks_what_it_is_has_not_named_it(text: str, language: str) -> None:
    assert done(text, replace(PHOTO, language=language)) == [("classify_image", "")]


@pytest.mark.parametrize(
    ("text", "context", "wanted"),
    [
        ("Das ist ein Frosch, aber er heißt Quaki.", PHOTO, ("teach_label", "Quaki")),
        ("c'est un poulpe, et chez nous on l'appelle Tintin", PHOTO, ("teach_label", "Tintin")),
        ("es un pulpo, y en casa le decimos Tentaculín", PHOTO, ("teach_label", "Tentaculín")),
        ("这是一只青蛙，我们叫它呱呱", ASKED, ("teach_label", "呱呱")),
        (
            "It is actually a toy robot, and my nephew has named him Chintu. Could you note it?",
            ASKED,
            ("teach_label", "Chintu"),
        ),
        (
            "Nein, da irren Sie sich. Das ist ein Frosch, und er heißt Herr Quakenbusch.",
            SAID,
            ("correct_label", "Herr Quakenbusch"),
        ),
    ],
)
def test_what_it_is_called_counts_and_not_what_kind_of_thing_it_is(
    text: str, context: Context, wanted: tuple[str, str]
) -> None:
    assert done(text, context) == [wanted]


def test_a_sentence_is_no_name() -> None:
    taught = done("lol ok this my boy clankstopher remember him", PHOTO)
    assert taught in ([("teach_label", "clankstopher")], [("", "")])  # it may ask
    assert done("so its just Ned now right", replace(SAID, recognised=None)) != [
        ("correct_label", "Ned now right")
    ]


@pytest.mark.parametrize(
    "text",
    [
        "could you undo that?",
        "Könntest du das rückgängig machen?",
        "peux-tu annuler ça s'il te plaît ?",
    ],
)
def test_a_polite_question_is_an_order(text: str) -> None:
    assert done(text, SAID) == [("undo", "")]


@pytest.mark.parametrize("text", ["should I undo that?", "do you undo things?"])
def test_another_question_is_none(text: str) -> None:
    assert all(tool != "undo" for tool, _ in done(text, SAID))


def test_what_is_wrong_and_shall_be_taken_back_is_taken_back_once() -> None:
    text = "It is not a zorb at all. So would you please take back that last thing I taught you?"
    assert done(text, SAID) == [("undo", "")]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("no, thank you", "en"), ("no, neither", "en"), ("nein danke", "de"), ("不是", "zh"),
        ("non, rien de tout ça", "fr"), ("no", "es"), ("No. Ned is my son.", "en"),
    ],
)  # fmt: skip
def test_no_to_what_is_offered_changes_nothing(text: str, language: str) -> None:
    offered = {"en": "this is called Ned", "de": "vergiss zorb", "fr": "oublie zorb",
               "es": "olvida zorb", "zh": "忘记zorb"}  # fmt: skip
    context = replace(SAID, offered=offered[language], language=language)
    (answer,) = decide(text, context)
    assert not answer.tool and answer.text and answer.language == language


@pytest.mark.parametrize(
    ("text", "language"), [("Ouiii c'est ça, vas-y !", "fr"), ("yesss", "en"), ("jaaa bitte", "de")]
)
def test_a_drawn_out_yes_is_one(text: str, language: str) -> None:
    offered = {"en": "forget zorb", "de": "vergiss zorb", "fr": "oublie zorb"}[language]
    context = replace(SAID, offered=offered, language=language)
    assert done(text, context) == [("forget_label", "zorb")]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("this is Rexy. Could you remember that for me, please?", "Rexy"),
        ("das ist unser Bodo, kannst du dir das merken?", "Bodo"),
        ("voici Marcel, tu peux le retenir ?", "Marcel"),
        ("este robotito se llama Don Tuercas. ¿Me lo podrías apuntar, por favor?", "Don Tuercas"),
        ("这是小白，你能记住吗？", "小白"),
    ],
)
def test_who_asks_whether_a_name_will_be_remembered_gives_it(text: str, name: str) -> None:
    assert done(text, PHOTO) == [("teach_label", name)]
    assert done("can you remember that?", PHOTO) == [("classify_image", "")]


def test_lists_belong_to_one_order() -> None:
    assert done("fine-tune on zorbs and Ned with qlora", replace(PHOTO, turn_photos=())) == [
        ("train_adapter", "")
    ]


def test_what_is_wanted_instead_is_done() -> None:
    context = replace(SAID, offered="this is called Ned")
    assert done("no, it's Emilio", context) == [("correct_label", "Emilio")]
    assert done("no, what do you know?", context) == [("list_labels", "")]


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("撤销八爪娃儿", None),
        ("undo that three musketeers thing", None),
        ("undo the last two", 2),
    ],
)
def test_a_number_in_a_name_is_not_how_often(text: str, times: int | None) -> None:
    labels = ("八爪娃儿", "Three Musketeers")
    (action,) = decide(text, replace(SAID, labels=labels))
    assert (action.tool, (action.args or {}).get("times")) == ("undo", times)


def test_who_says_who_they_are_names_no_picture() -> None:
    text = "Hola guapo, soy Rosa, de Sevilla. ¿Me dices qué se ve en este dibujito?"
    assert done(text, replace(PHOTO, language="es")) == [("caption_image", "")]
