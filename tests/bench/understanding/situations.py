"""The situations of ``utterances.yaml``: what was said and shown before a message, as real turns.

Knows nothing of what the message should lead to.
"""

from dataclasses import dataclass
from typing import Any

from assistant.turns import Step, ToolCall, Turn
from tools.artifacts import Answer, Artifact, Candidate, Caption, Change, Recognition

__all__ = ["DESCRIBED", "KNOWN", "SITUATIONS", "UNKNOWN", "Situation", "known_as"]

TWO, FIVE = ("zorb", "blick"), ("zorb", "blick", "gromp", "Rex", "coffee mug")


@dataclass(frozen=True)
class Situation:
    """What came before a message, and the photos that come with it."""

    labels: tuple[str, ...] = ()
    turns: tuple[Turn, ...] = ()
    photos: tuple[int, ...] = ()
    about: str = ""
    """The label that the last reply was about."""


def _seen(decision: str, *names: str, source: str = "taught") -> Recognition:
    share = {"known": 0.9, "ambiguous": 0.5, "unknown": 0.1}[decision]
    return Recognition("p", decision, tuple(Candidate(n, share) for n in names), source)  # type: ignore[arg-type]


def _turn(
    text: str, photos: tuple[int, ...], tool: str, said: str, found: Artifact, **args: Any
) -> Turn:
    step = Step(ToolCall(tool, args, True, 0.0), said, (found,))
    return Turn(text, photos, reply=said, steps=(step,))


def _asked(said: str, found: Recognition) -> tuple[Turn, ...]:
    return (_turn("what is this?", (1,), "classify_image", said, found),)


DESCRIBED = _turn("describe", (1,), "caption_image", "A red thing.", Caption("p", "a red thing"))
_ALBUM = tuple(
    _turn("", (n,), "caption_image", "A red thing.", Caption("p", "a red thing")) for n in (1, 2, 3)
)
_ANSWERED = _turn(
    "how many eyes?", (1,), "answer_question", "Two.", Answer("p", "how many eyes?", "two"),
    question="how many eyes?",
)  # fmt: skip
_LEARNED = _turn(
    "this is a zorb", (1,), "teach_label", "Learned zorb (1 picture).",
    Change("taught", "zorb", ("p",), 1), label="zorb",
)  # fmt: skip
_DOUBTED = _turn(
    "this is a gromp", (1,), "teach_label",
    "Learned gromp (1 picture). It looks like blick: the same thing or a new one?",
    Change("taught", "gromp", ("p",), 1, same_as="blick"), label="gromp",
)  # fmt: skip
_BOTH = Turn("", (1, 2), reply="Photo 1: A red thing.\nPhoto 2: A blue thing.")


def known_as(name: str) -> tuple[Turn, ...]:
    """A picture that was just recognised."""
    said = f"{name.capitalize()}, 90 %. It looks like the one you showed me."
    return _asked(said, _seen("known", name))


KNOWN = known_as("zorb")
_APPLE = _asked("It looks like an apple.", _seen("known", "apple", source="vocabulary"))
UNKNOWN = _asked("I don't know this. What is it?", _seen("unknown", "zorb"))
_GUESS = _asked(
    "I don't know this. It might be a dog or a cat. What is it?",
    _seen("unknown", "dog", "cat", source="vocabulary"),
)
_TORN = _asked(
    "A zorb or a blick? I can't tell them apart here.", _seen("ambiguous", "zorb", "blick")
)
SITUATIONS = {
    "new": Situation(),
    "photo": Situation(photos=(1,)),
    "two": Situation(photos=(1, 2)),
    "taught": Situation(TWO, (DESCRIBED, Turn("thanks", (), reply="You're welcome."))),
    "shown": Situation(TWO, (DESCRIBED,), (2,)),
    "shown2": Situation(TWO, (DESCRIBED,), (2, 3)),
    "rich": Situation(FIVE, (DESCRIBED,)),
    "richshown": Situation(FIVE, (DESCRIBED,), (2,)),
    "zorb": Situation(TWO, KNOWN, about="zorb"),
    "apple": Situation((), _APPLE, about="apple"),
    "asked": Situation(TWO, UNKNOWN),
    "guessed": Situation((), _GUESS),
    "torn": Situation(TWO, _TORN),
    "doubt": Situation((*TWO, "gromp"), (_DOUBTED,), about="gromp"),
    "learned": Situation(("zorb",), (_LEARNED,), about="zorb"),
    "described": Situation((), (DESCRIBED,)),
    "answered": Situation((), (_ANSWERED,)),
    "album": Situation(TWO, _ALBUM),
    "albumshown": Situation(TWO, _ALBUM, (4,)),
    "pair": Situation(TWO, (_BOTH,)),
    "wiping": Situation(FIVE, (DESCRIBED, Turn("forget everything", ()))),
}
