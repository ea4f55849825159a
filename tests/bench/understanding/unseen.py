"""What people say whose words nobody trained the reader on: ``unseen/*/*.txt``, and what is right.

The files are written as those of ``assistant/router/examples`` are. Knows nothing of tables.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assistant.router.language import LANGUAGES, likely
from assistant.router.lessons import TAUGHT, Example, examples_in
from assistant.thread import messages_for
from assistant.turns import Turn
from tests.bench.understanding.judging import CHANGES, Call
from tests.bench.understanding.situations import DESCRIBED, KNOWN, UNKNOWN, Situation, known_as

__all__ = ["ROUNDS", "Heard", "hear", "lines"]

FOLDER = Path(__file__).parent / "unseen"
ROUNDS = ("first", "second")
"""Those that were written at different times, before the reader that they were first heard by."""
_TOOLS = {
    "classify": ("classify_image", "caption_image"),
    "is_it": ("classify_image",),
    "caption": ("caption_image",),
    "ask": ("answer_question",),
    "compare": ("compare_images",),
    "detect": ("detect_objects",),
    "find_like": ("find_similar",),
    "find": ("find_similar",),
    "known": ("list_labels",),
    "report": ("report_knowledge",),
    "why": ("explain_answer",),
    "undo": ("undo",),
    "split": ("split_label",),
    "reject": ("reject_label",),
    "forget_picture": ("forget_pictures", "undo"),
    "forget_today": ("forget_since",),
    "train": ("train_adapter",),
    "training_status": ("training_status",),
    "export_memory": ("export_memory",),
}
"""The calls of which one is right, where no name is asked for."""
_NAMED = {
    "teach": (("teach_label", "correct_label"), ("label",)),
    "find_label": (("find_similar",), ("query",)),
    "forget": (("forget_label",), ("label",)),
    "rename": (("rename_label",), ("label", "new")),
    "merge": (("merge_labels",), ("label", "into")),
    "alias": (("alias_label",), ("label", "alias")),
    "teach_answer": (("teach_answer",), ("answer",)),
}
"""The calls of which one is right, and the arguments that hold what is named."""
_EITHER = {"merge", "alias"}  # which of two names is first hardly ever matters


@dataclass(frozen=True)
class Heard:
    """What came of a line."""

    language: str
    intent: str
    right: bool
    changes: bool
    """Whether memory was changed by what is no order to change it."""
    known: bool
    """Whether its language was known after a conversation in English."""


def lines(part: str) -> Iterator[tuple[str, Example]]:
    """Every line of one of the rounds with the code of its language."""
    for code in LANGUAGES:
        text = FOLDER.joinpath(part, f"{code}.txt").read_text(encoding="utf-8")
        yield from ((code, example) for example in examples_in(text))


def hear(router: Any, code: str, example: Example) -> Heard:
    """Say a line where it belongs."""
    situation = _situation(code, example)
    messages = messages_for(
        list(situation.turns), Turn(example.text, situation.photos), situation.labels
    )
    said = router.invoke(messages)
    calls = [(c["name"], dict(c["args"])) for c in said.tool_calls]
    still = example.intent not in _NAMED and example.intent not in (
        "undo", "split", "reject", "forget_picture", "forget_today", "forget_all",
    )  # fmt: skip
    return Heard(
        code,
        example.intent,
        _right(example, calls, str(said.text), situation.labels),
        still and any(name in CHANGES for name, _ in calls),
        likely(example.text, "en")[0] == code,
    )


def _situation(code: str, example: Example) -> Situation:
    labels = TAUGHT[code]
    if example.before == "photo":
        photos = (2, 3) if example.intent == "compare" else (2,)
        return Situation(labels, (DESCRIBED,), photos)
    if example.before == "asked":
        return Situation(labels, UNKNOWN)
    if example.before == "said":
        return Situation(labels, _said(labels, example))
    return Situation(labels, (DESCRIBED, Turn("thanks", (), reply="You're welcome.")))


def _said(labels: Sequence[str], example: Example) -> tuple[Turn, ...]:
    """An answer that the line can be about: what it says is wrong, or asks after."""
    slots = _slots(example)
    wrong = slots.get("other") if example.intent == "teach" else slots.get("label")
    named = next((x for x in labels if x.casefold() == (wrong or "").casefold()), "zorb")
    if example.intent == "teach" and named.casefold() == slots.get("label", "").casefold():
        named = "blick" if named == "zorb" else "zorb"
    return KNOWN if named == "zorb" else known_as(named)


def _slots(example: Example) -> dict[str, str]:
    return {slot: example.text[start:end] for start, end, slot in example.slots}


def _right(example: Example, calls: Sequence[Call], text: str, labels: Sequence[str]) -> bool:
    intent, slots = example.intent, _slots(example)
    names = [name for name, _ in calls]
    if intent == "nothing":
        return not any(n in CHANGES for n in names)
    if intent == "forget_all":
        return not calls and all(x in text for x in labels)  # it asks, and says what would be lost
    if intent in ("dont_know", "off_topic"):
        return not calls
    if intent == "help":
        return not calls or names == ["list_labels"]
    if len(calls) != 1:
        return False
    ((name, args),) = calls
    if intent in _NAMED:
        tools, keys = _NAMED[intent]
        wanted = [_key(slots[slot]) for slot in ("label", "other", "answer") if slot in slots]
        given = [_key(str(args.get(key, ""))) for key in keys]
        if intent in _EITHER:
            return name in tools and sorted(given) == sorted(wanted)
        return name in tools and given == wanted[: len(keys)]
    if name == "reject_label" and slots:
        return _key(str(args["label"])) == _key(slots["label"])
    return name in _TOOLS[intent]


def _key(name: str) -> str:
    return name.casefold().strip(" .,!?\"'“”").removesuffix("s")
