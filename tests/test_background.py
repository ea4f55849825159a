"""Measuring an embedder: the statistics find their world again and keep their promises."""

import numpy as np
import pytest

from tools.background import Background
from tools.edge import Edge
from tools.measuring import Pictures, measure, named
from tools.openset import FALSE_ACCEPTS
from tools.recognizer import Recognizer, Sample

D, CONCEPTS, STYLES = 32, 160, 3


def world(seed: int) -> Pictures:
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
    return Pictures(x, numbers, np.array(style, np.int64), family[numbers].astype(np.int64))


@pytest.fixture(scope="module")
def measured() -> tuple[Background, dict[str, dict[str, float]]]:
    return measure({"drawings": world(0)})


def test_known_and_unknown_are_told_apart_and_the_limit_holds(
    measured: tuple[Background, dict[str, dict[str, float]]],
) -> None:
    background, results = measured
    row = results["drawings"]
    assert row["auroc"] > 0.85
    assert row["false_accepts"] <= FALSE_ACCEPTS + 0.01
    domain = background.domains[0]
    assert domain.scale > 0 and domain.crowding <= 0 and 0.3 <= domain.threshold <= 0.97


def test_it_holds_in_another_sample_of_the_same_world(
    measured: tuple[Background, dict[str, dict[str, float]]],
) -> None:
    background, _ = measured
    other = world(1)
    accepted = []
    for c in range(0, CONCEPTS - 10, 2):
        samples = [Sample(str(k), str(k), other.vectors[(c + k) * 6]) for k in range(5)]
        stranger = other.vectors[(c + 7) * 6]
        found = Recognizer(samples, background).recognise(stranger)
        accepted.append(found.decision != "unknown")
    assert np.mean(accepted) < 0.15


def test_names_that_say_nothing_are_not_used_and_those_that_do_are() -> None:
    pictures = world(2)
    background, _ = measure({"drawings": pictures})
    rng = np.random.default_rng(3)
    centred = background.domains[0].centred(pictures.vectors)
    means = {c: centred[pictures.thing == c].mean(axis=0) for c in range(CONCEPTS)}
    near = {c: m / np.linalg.norm(m) + rng.standard_normal(D) * 0.05 for c, m in means.items()}
    far = {c: rng.standard_normal(D) for c in means}
    for texts, used in ((near, True), (far, False)):
        unit = {c: t / np.linalg.norm(t) for c, t in texts.items()}
        told = named(background, {"drawings": pictures}, {"drawings": unit})
        assert (told.domains[0].gain > 0) is used
    assert named(background, {"drawings": pictures}, {}).prior is None


def test_varied_copies_are_no_further_evidence_of_the_covariance(
    measured: tuple[Background, dict[str, dict[str, float]]],
) -> None:
    background, _ = measured
    assert background.domains[0].degrees == CONCEPTS * STYLES * 2 - CONCEPTS
    clean = world(4)
    twice = Pictures(*(np.concatenate([x, x]) for x in vars(clean).values()))
    told, _ = measure({"drawings": twice}, clean={"drawings": clean}, episodes=9)
    assert told.domains[0].degrees == background.domains[0].degrees


def test_the_edge_of_a_world_is_told_where_no_plane_can() -> None:
    """What lies outside surrounds one kind, and has the mean of both."""
    rng = np.random.default_rng(5)

    def made(count: int) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
        letters = rng.standard_normal((count, D)) * 0.3 + 2.0
        drawings = rng.standard_normal((count, D)) * 0.3 - 2.0
        return [letters], [drawings[::2], drawings[1::2] * 0.9], rng.standard_normal((count, D)) * 3

    letters, drawings, photos = made(300)
    edge = Edge.between([letters, drawings], [photos])
    letters, drawings, photos = made(400)
    strict, loose = (edge.limited([*letters, *drawings], share) for share in (0.01, 0.2))
    assert strict.limit > loose.limit
    letters, drawings, photos = made(400)
    for limited, share in ((strict, 0.05), (loose, 0.3)):
        assert limited.crossed(photos).mean() > 0.99
        assert max(limited.crossed(p).mean() for p in (*letters, *drawings)) < share
    assert loose.crossed(np.concatenate([*letters, *drawings])).mean() > 0.05
