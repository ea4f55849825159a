"""Which language a message is in: by its letters, its words and what was spoken before."""

import numpy as np
import pytest

from assistant.router.language import LANGUAGES, likely
from assistant.router.learn import HERE, fingerprint
from assistant.router.tongues import FILE, evidence, learnt


def test_what_tells_languages_apart_was_learnt_from_the_examples_that_are_there() -> None:
    texts = [HERE.joinpath("examples", f"{c}.txt").read_text(encoding="utf-8") for c in LANGUAGES]
    with np.load(HERE / "learned" / FILE) as data:
        assert list(data["codes"]) == list(LANGUAGES)
        assert str(data["examples"]) == fingerprint("".join(texts)), (
            "run `python -m assistant.router.learn`"
        )


@pytest.mark.parametrize(
    ("text", "code"),
    [
        # Of most of these words no phrase of the tables knows any.
        ("hab grad aufgeräumt im Keller", "de"),
        ("borrado de blick", "es"),
        ("je range le grenier ce matin", "fr"),
        ("刚从冰箱里拿出来的", "zh"),
        ("相入面坐後排戴帽嗰位，我partner Jason", "zh"),
        ("this is 小白, our cat", "en"),
        ("tidied up the attic this morning", "en"),
    ],
)
@pytest.mark.parametrize("before", LANGUAGES)
def test_a_language_is_known_by_its_letters_whatever_was_spoken(
    text: str, code: str, before: str
) -> None:
    assert likely(text, before)[0] == code


def test_what_says_nothing_of_a_language_leaves_it() -> None:
    assert all(likely(text, code) == (code,) for text in ("", "?", "!!") for code in LANGUAGES)
    assert all(likely("zorb", code)[0] == code for code in LANGUAGES)


def test_n_grams_that_one_language_has_speak_for_it() -> None:
    data = learnt({"one": ["abab cd"] * 40, "two": ["efef cd"] * 40})
    logs = dict(zip(data["keys"].tolist(), data["logs"].tolist(), strict=True))
    assert len(logs) == len(data["keys"]) > 10
    signs = {np.sign(first - second) for first, second in logs.values()}
    assert signs == {-1, 0, 1}  # "ab", "cd", "ef"
    assert set(evidence("…").values()) == {0}
