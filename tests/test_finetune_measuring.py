"""What is said about a result: scores, figures, the verdict."""

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score, f1_score

from finetune.evaluation.answers import normalised, vqa_accuracy
from finetune.evaluation.intervals import wilson
from finetune.evaluation.metrics import compare, measure
from finetune.evaluation.predictions import Prediction, same_answer
from finetune.evaluation.scoring import AnswerScorer, Calibration
from finetune.report import verdict
from finetune.settings.files import load_settings, with_assignments
from finetune.vlm import open_vlm
from tests.finetune_data import picture
from tests.tiny_models import built


def predictions(truth: str, answers: str, sure: float = 0.8) -> list[Prediction]:
    """One a letter; ``sure`` is the probability of the answer among ``a`` and ``b``."""
    return [
        Prediction(
            str(i), f"{i}.png", t, a, 0.1, (sure, 1 - sure) if a == "a" else (1 - sure, sure)
        )
        for i, (t, a) in enumerate(zip(truth, answers, strict=True))
    ]


@pytest.mark.parametrize("kind", ["llava", "idefics3"])
def test_scores_through_the_cache_are_those_of_whole_passes(kind: str) -> None:
    settings = load_settings(with_assignments({}, {"model.answerer": str(built(kind))}))
    vlm = open_vlm(settings)
    names = ["cup", "a much longer name", "hat", "x"]
    scorer = AnswerScorer(vlm, "what is this?", names)
    images = [picture("disc", 0), picture("box", 1), picture("disc", 2)]
    found = scorer.likelihoods(images)
    assert found.shape == (3, 4)
    for image, row in zip(images, found, strict=True):
        for name, score in zip(names, row, strict=True):
            prompt = vlm.prompt(image, "what is this?")
            answer = torch.tensor([vlm.answer_ids(name)])
            ids = torch.cat([prompt.pop("input_ids"), answer], dim=1)
            prompt.pop("attention_mask")
            with torch.no_grad():
                logits = vlm.model(input_ids=ids, **prompt).logits.float().log_softmax(-1)
            steps = logits[0, -answer.shape[1] - 1 : -1]
            whole = steps.gather(1, answer[0, :, None]).mean()
            assert score == pytest.approx(float(whole), abs=2e-3)
    assert np.abs(found[0] - found[1]).max() > 0.02  # the picture counts


def test_the_prior_is_taken_off_as_far_as_it_helps() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 60)
    blank = np.array([0.0, 3.0, -2.0])
    evidence = np.eye(3)[truth] + 0.1 * rng.standard_normal((60, 3))
    biased = Calibration.fitted(evidence + blank, blank, truth, sharpen=True)
    assert biased.prior == 1.0 and biased.sharpness > 2
    assert (biased.probabilities(evidence + blank, blank).argmax(1) == truth).all()
    free = Calibration.fitted(evidence, blank, truth, sharpen=False)
    assert free == Calibration(prior=0.0, sharpness=1.0)
    assert free.probabilities(evidence, blank).sum(1) == pytest.approx(np.ones(60))


def test_figures_are_those_of_the_textbook() -> None:
    truth, answers = "aaaaaabbbb", "aaaaabbbba"
    found = measure(predictions(truth, answers), "ab")
    assert found["accuracy"]["value"] == 0.8 and found["accuracy"]["n"] == 10
    assert found["balanced_accuracy"]["value"] == pytest.approx(
        balanced_accuracy_score(list(truth), list(answers)), abs=1e-4
    )
    assert found["macro_f1"]["value"] == pytest.approx(
        f1_score(list(truth), list(answers), average="macro"), abs=1e-4
    )
    assert found["confusion"]["rows_are_truth"] == [[5, 1], [1, 3]]
    assert found["classes"]["b"]["precision"]["value"] == 0.75
    assert found["classes"]["b"]["recall"]["n"] == 4
    assert found["calibration_error"]["value"] == pytest.approx(0.0, abs=1e-9)
    sure = measure(predictions(truth, answers, sure=0.99), "ab")
    assert sure["calibration_error"]["value"] == pytest.approx(0.19, abs=1e-4)
    for figure in (found["accuracy"], found["macro_f1"], found["calibration_error"]):
        assert figure["low"] <= figure["value"] <= figure["high"]


def test_shares_have_wilsons_interval() -> None:
    for right, n in ((0, 5), (9, 10), (50, 50), (31, 70)):
        exact = binomtest(right, n).proportion_ci(method="wilson")
        assert wilson(right, n)["low"] == pytest.approx(exact.low, abs=1e-4)
        assert wilson(right, n)["high"] == pytest.approx(exact.high, abs=1e-4)
    assert wilson(0, 0) == {"value": 0.0, "n": 0, "low": 0.0, "high": 1.0}


def test_free_answers_are_matched_but_for_case_and_punctuation() -> None:
    rows = [
        Prediction("1", "1.png", "Two cats.", "two cats", 0.1),
        Prediction("2", "2.png", "yes", "yes, it is", 0.1),
    ]
    assert measure(rows, ())["exact_match"]["value"] == 0.5
    assert same_answer("日本", "日本") and not same_answer("?", "!")


def test_answers_are_normalised_as_in_visual_question_answering() -> None:
    for a, b in [
        ("The two dogs.", "2 dogs"),
        ("1,000", "1000"),
        ("3.5", "3.5"),
        ("don't", "dont"),
        ("yes, it is", "yes it is"),
        ("A", "a"),
        ("black/white", "black white"),
        ("None", "0"),
    ]:
        assert normalised(a) == normalised(b)
    for a, b in [("3.5", "35"), ("a", "the"), ("yes", "no"), ("cat", "cats"), ("", "0")]:
        assert normalised(a) != normalised(b)


def test_of_ten_people_three_are_enough() -> None:
    ten = ["yes"] * 2 + ["the cat"] * 3 + ["no"] * 5
    said = [vqa_accuracy(a, ten) for a in ("Cat!", "yes", "no", "dog")]
    assert said == pytest.approx([1.0, 2 / 3, 1.0, 0.0])
    assert vqa_accuracy("a cat", ["cat"]) == 1.0 and vqa_accuracy("cats", ["cat"]) == 0.0
    assert vqa_accuracy("", []) == 0.0
    people = Prediction("1", "1.png", "no", "yes", 0.1, response="yes", others=("no", "yes", "yes"))
    found = measure([people], ())
    assert found["vqa_accuracy"]["value"] == pytest.approx(2 / 3, abs=1e-4)
    assert found["exact_match"]["value"] == 1.0  # one of them said so


def test_captions_are_compared_picture_by_picture() -> None:
    def captions(*said: str) -> list[Prediction]:
        truth = ["a red disc on the left", "a blue box on the right", "two hats in the rain"]
        return [
            Prediction(str(i), f"{i}.png", t, s, 0.1, others=(f"there is {t}",))
            for i, (t, s) in enumerate(zip(truth, said, strict=True))
        ]

    ours = captions("a red disc on the left", "a blue box", "two hats in the rain")
    base = captions("a picture", "a blue box", "two cats")
    found = measure(ours, (), "captions")
    assert found["exact_match"]["value"] == pytest.approx(2 / 3, abs=1e-4)
    assert {"bleu", "meteor", "cider", "bleu_signature"} <= set(found)
    gain = compare(ours, base, "captions")
    assert (gain["gained"], gain["lost"]) == (2, 0)
    mine = measure(base, (), "captions")["cider"]["value"]
    assert gain["difference"]["value"] == pytest.approx(found["cider"]["value"] - mine, abs=1e-3)


def test_a_result_is_only_worth_using_when_it_is_shown_to_be_better() -> None:
    truth = "ab" * 50
    perfect, half = predictions(truth, truth), predictions(truth, "aa" * 50)
    nearly = predictions(truth, "bb" + truth[2:])

    def judged(ours: list[Prediction], base: list[Prediction], exemplars: list[Prediction]) -> str:
        rows = {"trained": ours, "base": base, "exemplars": exemplars}
        figures = {name: measure(x, "ab") for name, x in rows.items()}
        gains = {name: compare(ours, rows[name]) for name in ("base", "exemplars")}
        worth, sentence = verdict("lora", "classes", figures, gains, "")
        assert worth == sentence.startswith("Worth using")
        return sentence

    assert judged(perfect, half, half).startswith("Worth using: 100.0 %")
    assert judged(perfect, half, perfect).endswith("no better than the recogniser with the same "
                                                   "pictures as exemplars.")  # fmt: skip
    assert judged(half, half, half).startswith("Not worth using")
    close = judged(perfect, half, nearly)
    assert close.startswith("Not shown to be worth using") and "100 pictures are too few" in close
    gain = compare(perfect, nearly)
    assert (gain["gained"], gain["lost"]) == (1, 0) and gain["p"] == 1.0
