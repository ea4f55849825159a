"""BLEU, METEOR and CIDEr-D: by hand, beside published implementations, and as they behave."""

import math

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU

from finetune.evaluation.captions import cider, measure_captions, meteor

CAPTIONS = ["man is playing guitar", "a woman is cutting vegetables", "A red disc, on dark ground"]
REFERENCES = [
    ["the man is playing a guitar", "a man is playing a guitar"],
    ["a woman is slicing cucumbers", "the woman is slicing cucumbers"],
    ["a red disc lies on a dark ground"],
]


def test_meteor_by_hand() -> None:
    """The example of Banerjee & Lavie (2005): six matches in two chunks."""
    mean = 1 * (6 / 7) / (0.9 * 1 + 0.1 * (6 / 7))
    found = meteor(
        "the president spoke to the audience", "the president then spoke to the audience"
    )
    assert found == pytest.approx(mean * (1 - 0.5 * (2 / 6) ** 3))
    # NLTK 3.10, its WordNet empty.
    assert found == pytest.approx(0.8534621578)
    assert meteor("cats are sitting", "the cat sits") == pytest.approx(1 / 3)  # by their stems
    assert meteor(
        "it is to insure the troops forever hearing the activity guidebook that party direct",
        "it is a guide to action that ensures that the military will forever heed party commands",
    ) == pytest.approx(0.3035391371738569)


def test_meteor_takes_the_alignment_with_the_fewest_chunks() -> None:
    # Greedy, the first "a" would take the first one, and six words make four chunks or more.
    assert meteor("a man a plan a canal", "a canal a plan a man") == pytest.approx(
        1 - 0.5 * (3 / 6) ** 3
    )
    assert meteor("the the the cup", "a cup") == pytest.approx(meteor("cup the the the", "cup a"))
    assert meteor(" ".join(["the"] * 60), " ".join(["the"] * 60)) > 0.99  # and in good time


def test_cider_by_hand() -> None:
    """Every run is in one of two pictures, so all weigh ln 2: the cosines are shares."""
    found = cider(["a b c e", "w x y z"], [["a b c d"], ["w x y z"]])
    assert found == pytest.approx([10 * (3 / 4 + 2 / 3 + 1 / 2 + 0) / 4, 10.0])
    longer = cider(["a b c d e f", "w"], [["a b c d"], ["w x y z"]])[0]
    cosines = [4 / math.sqrt(24), 3 / math.sqrt(15), 2 / math.sqrt(8), 1 / math.sqrt(3)]
    assert longer == pytest.approx(10 * math.exp(-4 / 72) * sum(cosines) / 4)


def test_cider_is_that_of_its_authors() -> None:
    """Their code (coco-caption), with a cosine of nothing 0."""
    found = cider([*CAPTIONS[:2], "a red disc on a dark dark ground"], REFERENCES)
    assert found == pytest.approx([4.39737409036331, 2.25036192101385, 4.423267210265199])


def test_what_every_reference_says_is_worth_nothing() -> None:
    same = [["a picture of a cup on a table"]] * 3
    assert cider(["a picture of a cup on a table"] * 3, same).tolist() == [0, 0, 0]


def test_bleu_is_sacrebleus_and_says_how() -> None:
    found = measure_captions(CAPTIONS, REFERENCES)
    streams = [[r[0] for r in REFERENCES], [r[1] if len(r) > 1 else None for r in REFERENCES]]
    bleu = BLEU(lowercase=True, effective_order=True)
    corpus = bleu.corpus_score(CAPTIONS, streams)  # type: ignore[arg-type]
    assert found["bleu"]["value"] == pytest.approx(corpus.score / 100, abs=1e-4)
    for part in ("case:lc", "eff:yes", "tok:13a", "smooth:exp", "version:"):
        assert part in found["bleu_signature"]


def test_the_perfect_have_the_most_the_shuffled_less_the_silent_nothing() -> None:
    truth = [r[0] for r in REFERENCES]
    rng = np.random.default_rng(0)
    shuffled = [" ".join(rng.permutation(t.split())) for t in truth]
    perfect, mixed, silent = (
        measure_captions(c, REFERENCES) for c in (truth, shuffled, ["", " ", "…"])
    )
    assert perfect["bleu"]["value"] == 1.0 and perfect["meteor"]["value"] > 0.99
    alone = [[t] for t in truth]
    assert measure_captions(truth, alone)["cider"]["value"] == 10.0
    for name in ("bleu", "meteor", "cider"):
        assert perfect[name]["value"] > mixed[name]["value"] > silent[name]["value"] == 0.0
        for figures in (perfect, mixed):
            assert figures[name]["low"] <= figures[name]["value"] <= figures[name]["high"]
        assert perfect[name]["n"] == 3
    # Case and punctuation are not what a caption is about.
    plain = measure_captions([t.upper() + "!" for t in truth], alone)
    assert (plain["meteor"]["value"], plain["cider"]["value"]) == (perfect["meteor"]["value"], 10.0)
    nothing = measure_captions([], [])
    assert nothing["cider"]["n"] == nothing["bleu"]["n"] == 0


def test_one_word_and_chinese_are_words() -> None:
    assert measure_captions(["cup", "hat"], [["Cup"], ["hat"]])["bleu"]["value"] == 1.0
    assert meteor("红色的圆", "红色的圆") > 0.99 > meteor("红圆", "红色的圆") > 0
    assert meteor("don't", "don’t") < meteor("don't go", "don't go")
