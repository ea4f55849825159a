"""Measuring an embedder: the statistics find their world again and keep their promises."""

import numpy as np
import pytest

from finetune.pocket.background import Views, measure_background
from tools.recognizer import Recognizer, Sample

D, CONCEPTS, STYLES = 32, 160, 3


def world(seed: int) -> Views:
    """Concepts in families, drawn in styles that shift and blur them, all off centre."""
    rng = np.random.default_rng(seed)
    families = rng.standard_normal((8, D))
    family = rng.integers(0, 8, CONCEPTS)
    concepts = families[family] * 0.6 + rng.standard_normal((CONCEPTS, D))
    blur = np.r_[np.full(D // 2, 0.3), np.full(D // 2, 1.2)]
    rows, concept, style = [], [], []
    for c in range(CONCEPTS):
        for s in range(STYLES):
            for _ in range(2):
                rows.append(concepts[c] + rng.standard_normal(D) * blur + 1.5)
                concept.append(c)
                style.append(s)
    x = np.array(rows, np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    numbers = np.array(concept, np.int64)
    return Views(x, numbers, np.array(style, np.int64), family[numbers].astype(np.int64))


@pytest.fixture(scope="module")
def measured():  # type: ignore[no-untyped-def]
    return measure_background(world(0), world(0))


def test_known_and_unknown_are_told_apart_and_the_limit_holds(measured) -> None:  # type: ignore[no-untyped-def]
    background, results = measured
    assert results["auroc"] > 0.9 and results["one_shot_20way"] > 0.6
    assert results["false_accepts"] <= 0.08
    assert background.scale > 0 and 0.3 <= background.threshold <= 0.95


def test_it_holds_in_another_sample_of_the_same_world(measured) -> None:  # type: ignore[no-untyped-def]
    background, _ = measured
    other = world(1)
    accepted = []
    for c in range(0, 100, 2):
        sample = Sample("a", "a", other.vectors[c * 6])
        stranger = other.vectors[(c + 1) * 6]
        found = Recognizer([sample], background).recognise(stranger)
        accepted.append(found.decision == "known")
    assert np.mean(accepted) < 0.2
