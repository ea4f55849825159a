"""Pictures that are pointed at by words, alone or together, in every language."""

import pytest

from assistant.router.actions import Context
from assistant.router.deciding import decide
from assistant.router.language import language
from assistant.router.references import Pictures, referred

LABELS = ("zorb", "blick")
ALBUM = Context(LABELS, (), 3, shown=(3,))  # three pictures, sent one by one
PAIR = Context(LABELS, (), 2, shown=(1, 2))  # two in the message before
LATER_PAIR = Context(LABELS, (), 4, shown=(3, 4))
HERE = Context(LABELS, (2, 3), 3, shown=(2, 3))  # two in this message


def done(text: str, context: Context) -> list[str]:
    """The calls that come of a message, as text."""
    found = []
    for a in decide(text, context):
        args = {k: v for k, v in (a.args or {}).items() if k != "description"}
        photos = args.pop("photos", [])
        found.append(" ".join([a.tool, *map(str, args.values()), *map(str, photos)]))
    return found


@pytest.mark.parametrize(
    ("text", "context", "wanted"),
    [
        ("the first one is a zorb", ALBUM, ["teach_label zorb 1"]),
        ("the first one is a zorb", LATER_PAIR, ["teach_label zorb 3"]),
        ("picture 1 is a zorb", LATER_PAIR, ["teach_label zorb 1"]),
        ("the one before the last is a zorb", ALBUM, ["teach_label zorb 2"]),
        ("all three are blicks", ALBUM, ["teach_label blick 1 2 3"]),
        ("show me all three zorbs", ALBUM, ["find_similar zorb"]),
        ("the left one is a zorb", PAIR, ["teach_label zorb 1"]),
        ("describe the right one", PAIR, ["caption_image 2"]),
        ("the middle one is a zorb", ALBUM, ["teach_label zorb 2"]),
        ("drop the left one, keep the right one", PAIR, ["forget_pictures 1"]),
        ("not the first one, the second one is a zorb", PAIR, ["teach_label zorb 2"]),
        ("compare number one and number three", ALBUM, ["compare_images 1 3"]),
        ("how similar are they, on a scale of 0 to 1?", HERE, ["compare_images"]),
        ("neither is a zorb", PAIR, ["reject_label zorb"]),
        ("this is a zorb, and so was the first one", Context(LABELS, (4,), 4, shown=(4,)),
         ["teach_label zorb 1 4"]),
        ("beschreib das erste bild", ALBUM, ["caption_image 1"]),
        ("das linke ist ein zorb", PAIR, ["teach_label zorb 1"]),
        ("alle drei sind zorbs", ALBUM, ["teach_label zorb 1 2 3"]),
        ("links ein zorb, rechts ein blick", HERE, ["teach_label zorb 2", "teach_label blick 3"]),
        ("mach das letzte rückgängig", ALBUM, ["undo"]),
        ("décris la deuxième photo", ALBUM, ["caption_image 2"]),
        ("la première est un zorb", PAIR, ["teach_label zorb 1"]),
        ("à gauche un zorb, à droite un blick", HERE,
         ["teach_label zorb 2", "teach_label blick 3"]),
        ("describe la primera foto", ALBUM, ["caption_image 1"]),
        ("las tres son zorbs", ALBUM, ["teach_label zorb 1 2 3"]),
        ("la primera es un zorb y la segunda un blick", HERE,
         ["teach_label zorb 2", "teach_label blick 3"]),
        ("第二张是zorb", ALBUM, ["teach_label zorb 2"]),
        ("三张全是blick", ALBUM, ["teach_label blick 1 2 3"]),
        ("左边是zorb，右边是blick", HERE, ["teach_label zorb 2", "teach_label blick 3"]),
    ],
)  # fmt: skip
def test_the_picture_that_is_meant_is_found(text: str, context: Context, wanted: list[str]) -> None:
    assert done(text, context) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "the next one will be a zorb", "das nächste ist ein zorb", "la prochaine sera un zorb",
        "la próxima será un zorb", "下一张是zorb",
    ],
)  # fmt: skip
def test_what_is_to_come_is_not_taught(text: str) -> None:
    said = Context(LABELS, (), 1, shown=(1,), asked=True)
    assert not any(a.tool for a in decide(text, said)), text


@pytest.mark.parametrize("text", ["And have you met this one before?", "seen that one before?"])
def test_what_was_seen_before_is_not_the_picture_before(text: str) -> None:
    assert not any((a.args or {}).get("photos") for a in decide(text, Context(LABELS, (3,), 3)))


def test_the_other_one_is_the_one_not_named_before() -> None:
    english = language("en")
    sentence = english.read("how many legs does the other one have")
    pair = Pictures((), 2, (1, 2))
    assert referred(sentence, english, pair, (1,))[1] == (2,)
    assert referred(sentence, english, pair)[1] == ()
    three = english.read("the other two are blicks")
    assert referred(three, english, Pictures((), 3, (3,)), (2,))[1] == (1, 3)


@pytest.mark.parametrize(
    ("code", "text"),
    [("de", "der zweite zorb"), ("fr", "le deuxième zorb"), ("es", "el segundo zorb")],
)
def test_a_counted_thing_is_no_picture(code: str, text: str) -> None:
    tongue = language(code)
    assert referred(tongue.read(text), tongue, Pictures((2,), 2))[1] == ()
