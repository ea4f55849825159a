"""The small pieces of sentences: articles, numbers, lists."""

import pytest

from tools.wording import article, count, is_plural, join, number, percent


@pytest.mark.parametrize(
    ("name", "with_article"),
    [
        ("zorb", "a zorb"),
        ("apple", "an apple"),
        ("hour glass", "an hour glass"),
        ("unicorn", "a unicorn"),
        ("umbrella", "an umbrella"),
        ("uninvited guest", "an uninvited guest"),
        ("ukulele", "a ukulele"),
        ("one-eyed cat", "a one-eyed cat"),
        ("onion", "an onion"),
        ("euro", "a euro"),
        ("Rex", "Rex"),
        ("3D printer", "3D printer"),
        ("scissors", "scissors"),
        ("zorbs", "zorbs"),
        ("red boxes", "red boxes"),
        ("bus", "a bus"),
        ("glass", "a glass"),
        ("camera lens", "a camera lens"),
        ("iris", "an iris"),
        ("canvas", "a canvas"),
        ("rhinoceros", "a rhinoceros"),
        ("gas", "a gas"),
        ("", ""),
    ],
)
def test_articles(name: str, with_article: str) -> None:
    assert article(name) == with_article


def test_plurals_by_spelling() -> None:
    assert is_plural("pandas") and is_plural("sunglasses") and is_plural("my shoes")
    assert not is_plural("cactus") and not is_plural("as") and not is_plural("species")


def test_numbers_lists_and_shares() -> None:
    assert [number(n) for n in (0, 1, 3, 10, 11)] == ["no", "one", "three", "ten", "11"]
    assert (count(1, "picture"), count(2, "picture")) == ("1 picture", "2 pictures")
    assert join(["a", "b", "c"], "or") == "a, b or c" and join([]) == ""
    assert (percent(0.0), percent(0.934), percent(1.0)) == ("1 %", "93 %", "99 %")
