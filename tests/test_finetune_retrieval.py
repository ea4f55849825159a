"""Recall@K and mean average precision: by hand, beside scikit-learn, and against flattery."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from finetune.data import Row
from finetune.data.table import DESCRIBE
from finetune.evaluation.retrieval import measure_both_ways, measure_retrieval, measure_same_class
from finetune.evaluation.retrieving import Embeds, retrieval


def test_figures_by_hand() -> None:
    similarities = np.array([[0.9, 0.5, 0.1], [0.2, 0.8, 0.7], [0.6, 0.3, 0.4]])
    found = measure_retrieval(similarities, np.eye(3, dtype=bool))
    # The right ones come first, first and second.
    assert found["recall_at_1"]["value"] == pytest.approx(2 / 3, abs=1e-4)
    assert found["mean_average_precision"]["value"] == pytest.approx((1 + 1 + 1 / 2) / 3, abs=1e-4)
    assert "recall_at_5" not in found  # of three items it is 1 whatever the model
    several = measure_retrieval(similarities[:1], np.array([[True, False, True]]))
    assert several["mean_average_precision"]["value"] == pytest.approx((1 + 2 / 3) / 2, abs=1e-4)
    nothing = measure_retrieval(similarities, np.zeros((3, 3), dtype=bool))
    assert nothing["recall_at_1"] == {"value": 0.0, "n": 0, "low": 0.0, "high": 1.0}


def test_average_precision_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    similarities, relevant = rng.standard_normal((40, 25)), rng.random((40, 25)) < 0.2
    relevant[:, 0] |= ~relevant.any(axis=1)
    relevant[3] = False  # a query that nothing answers does not count
    found = measure_retrieval(similarities, relevant)
    rows = [i for i in range(40) if i != 3]
    expected = np.mean([average_precision_score(relevant[i], similarities[i]) for i in rows])
    figure = found["mean_average_precision"]
    assert figure["value"] == pytest.approx(expected, abs=1e-4) and figure["n"] == 39
    assert figure["low"] < figure["value"] < figure["high"]
    assert found["recall_at_1"]["value"] < found["recall_at_5"]["value"]
    assert found["recall_at_5"]["value"] < found["recall_at_10"]["value"]


def test_an_embedder_that_finds_everything_alike_finds_nothing() -> None:
    flat = measure_both_ways(np.zeros((30, 30)), np.eye(30, dtype=bool))
    for figures in flat.values():
        assert figures["recall_at_10"]["value"] == 0.0
        assert figures["mean_average_precision"]["value"] == pytest.approx(1 / 30, abs=1e-4)


def test_each_way_is_its_own() -> None:
    # Both pictures are closest to the first text; the texts tell the pictures apart.
    similarities = np.array([[0.9, 0.1], [0.8, 0.7]])
    found = measure_both_ways(similarities, np.eye(2, dtype=bool))
    assert found["picture_to_text"]["recall_at_1"]["value"] == 0.5
    assert found["text_to_picture"]["recall_at_1"]["value"] == 1.0


def test_a_picture_never_finds_itself() -> None:
    vectors = np.array([[1.0, 0], [0.96, 0.28], [0, 1], [0.28, 0.96], [0.1, 0.995]])
    found = measure_same_class(vectors, ["a", "a", "b", "b", "c"])  # c is alone: no query
    assert found["recall_at_1"] == {**found["recall_at_1"], "value": 0.5, "n": 4}
    assert measure_same_class(vectors[:1], ["a"])["mean_average_precision"]["n"] == 0


class Known:
    """An embedder of what is told it: vectors of pictures by their id, and of texts."""

    def __init__(self, pictures: dict[str, list[float]], texts: dict[str, list[float]]) -> None:
        self.pictures, self.texts = pictures, texts

    def vectors(
        self, rows: Sequence[Row], texts: Sequence[str], *, base: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        seen = np.array([self.pictures[r.photo_id] for r in rows])
        return seen * (0 if base else 1), np.array([self.texts[t] for t in texts])


def test_a_picture_finds_any_of_its_captions_and_shared_ones_are_right_for_both() -> None:
    known = Known(
        {"1": [1.0, 0, 0], "2": [0, 1.0, 0], "3": [0, 0, 1.0]},
        {"a cup": [0.9, 0.1, 0], "red": [0.6, 0.6, 0], "a hat": [0, 0.8, 0.5], "fog": [0, 0.5, 0]},
    )
    rows = [
        Row(Path("1"), question=DESCRIBE, answer="a cup", others=("red",), photo_id="1"),
        Row(Path("2"), question=DESCRIBE, answer="a hat", others=("red",), photo_id="2"),
        Row(Path("3"), question=DESCRIBE, answer="fog", photo_id="3"),
    ]
    assert isinstance(known, Embeds)
    found = retrieval(known, rows)
    assert found["picture_to_text_recall_at_1"]["value"] == pytest.approx(2 / 3, abs=1e-4)
    assert found["text_to_picture_recall_at_1"]["value"] == pytest.approx(3 / 4, abs=1e-4)
    assert found["text_to_picture_recall_at_1"]["n"] == 4  # four texts, "red" once
    before = retrieval(known, rows, base=True)  # sees nothing
    assert before["picture_to_text_recall_at_1"]["value"] == 0.0
    labelled = [Row(Path(i), label="ab"[i == "3"], photo_id=i) for i in "123"]
    alike = retrieval(known, labelled)
    assert set(alike) == {"same_class_recall_at_1", "same_class_mean_average_precision"}


def test_shapes_that_differ_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="differ"):
        measure_retrieval(np.zeros((2, 3)), np.zeros((3, 2), dtype=bool))
