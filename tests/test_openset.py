"""Known or not: all the domains that a picture may be of are heard, and exemplars are strangers."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit, logit

from tools.background import Background
from tools.exemplars import Exemplars
from tools.likelihood import Design
from tools.measuring import Pictures, measure
from tools.openset import Judged, moved, stranger_shift
from tools.recognizer import Recognizer, Sample

D = 32
Vectors = NDArray[np.float64]


def unit(x: Vectors) -> Vectors:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def views(thing: Vectors, count: int, rng: np.random.Generator) -> Vectors:
    return unit(thing + 2.0 * rng.standard_normal((count, D)) + 2.0)


def lesson(things: Vectors, shots: int, rng: np.random.Generator) -> list[Sample]:
    return [
        Sample(f"{k}.{i}", f"thing{k:02d}", v)
        for k, thing in enumerate(things)
        for i, v in enumerate(views(thing, shots, rng))
    ]


@pytest.fixture(scope="module")
def measured() -> Background:
    rng = np.random.default_rng(0)
    x = np.concatenate([views(t, 4, rng) for t in rng.standard_normal((200, D)) * 1.5])
    thing = np.repeat(np.arange(200), 4)
    pictures = Pictures(x, thing, np.arange(len(x)), np.zeros(len(x), int))
    return measure({"things": pictures}, episodes=90)[0]


@pytest.fixture(scope="module")
def mixed(measured: Background) -> Background:
    """Two domains between which the gate cannot choose, and which disagree."""
    known = measured.domains[0]
    other = replace(known, name="other", bias=known.bias - 2.0, threshold=0.6)
    return Background((known, other), np.zeros((2, D + 1)))


def test_all_the_domains_that_a_picture_may_be_of_are_heard(mixed: Background) -> None:
    rng = np.random.default_rng(1)
    samples = lesson(rng.standard_normal((3, D)) * 1.5, 2, rng)[:2]
    design = Design(adapt=False)
    query = views(rng.standard_normal(D) * 0.5, 1, rng)[0] + samples[0].vector
    alone = [
        Recognizer(samples, Background((domain,), np.zeros((0, D + 1))), design=design)
        for domain in mixed.domains
    ]
    said = [x.recognise(query) for x in alone]
    assert abs(said[0].unknown - said[1].unknown) > 0.1
    found = Recognizer(samples, mixed, design=design).recognise(query)
    assert found.unknown == pytest.approx(np.mean([x.unknown for x in said]))
    assert found.threshold == pytest.approx(np.mean([x.threshold for x in said]))
    # Where the gate is sure, the other is not heard.
    gate = np.zeros((2, D + 1))
    gate[0, -1] = 1_000.0
    sure = Recognizer(samples, replace(mixed, gate=gate), design=design)
    assert sure.recognise(query).unknown == pytest.approx(said[0].unknown)


def test_a_stranger_may_be_of_a_kind_that_little_is_taught_of(mixed: Background) -> None:
    """Whether it is known, a picture is of a domain by the root of what was taught of it."""
    rng = np.random.default_rng(6)
    taught = [replace(s, label_id="thing") for s in lesson(np.zeros((1, D)), 5, rng)]
    query = views(np.zeros(D), 1, rng)[0]
    gate = np.zeros((2, D + 1))
    gate[0, :-1] = 40.0 * unit(taught[4].vector - np.mean([s.vector for s in taught[:4]], axis=0))
    background = replace(mixed, gate=gate)
    share = background.shares(np.stack([s.vector for s in taught]))
    weights = background.weights(query[None], np.sqrt(share))[0]
    assert 0.1 < weights[1] < 0.9 and abs(share[0] - 0.5) > 0.1
    design = Design(adapt=False)
    each = [
        Recognizer(taught, Background((x,), np.zeros((0, D + 1))), design=design)
        for x in background.domains
    ]
    said = [x.recognise(query) for x in each]
    found = Recognizer(taught, background, design=design).recognise(query)
    assert found.unknown == pytest.approx(weights @ [x.unknown for x in said])
    assert found.threshold == pytest.approx(weights @ [x.threshold for x in said])
    assert abs(said[0].unknown - said[1].unknown) > 0.05


def test_what_is_left_out_is_judged_in_all_its_domains(mixed: Background) -> None:
    rng = np.random.default_rng(2)
    samples = lesson(rng.standard_normal((3, D)) * 1.5, 4, rng)
    design = Design(adapt=False)
    left = {
        x.sample_id: x.ranking for x in Recognizer(samples, mixed, design=design).leave_one_out()
    }
    for sample in samples:
        others = [s for s in samples if s.id != sample.id]
        true = Recognizer(others, mixed, design=design).recognise(sample.vector)
        assert left[sample.id].unknown == pytest.approx(true.unknown, abs=1e-6)


def test_every_exemplar_is_a_stranger_to_the_other_labels(measured: Background) -> None:
    """The threshold against teaching all but one label, one label after the other."""
    rng = np.random.default_rng(3)
    near = rng.standard_normal(D) + rng.standard_normal((4, D)) * 0.4
    samples, design = lesson(near, 3, rng), Design(adapt=False)
    domain = measured.domains[0]
    margins = []
    for sample in samples:
        others = [s for s in samples if s.label_id != sample.label_id]
        chance = 1.0 - Recognizer(others, measured, design=design).recognise(sample.vector).unknown
        margins.append(logit(chance) - logit(domain.threshold))
    n = len(samples)  # the largest of twelve is the quantile 12/13, and 13/20 is a log short of 1
    wanted = (max(margins) + np.log(20 / (n + 1))) * n / (n + 19)
    assert wanted > 0.1
    found = Recognizer(samples, measured, design=design).recognise(samples[0].vector)
    assert logit(1.0 - found.threshold) == pytest.approx(logit(domain.threshold) + wanted, abs=1e-4)


def test_one_label_is_judged_by_the_threshold_that_ships(measured: Background) -> None:
    rng = np.random.default_rng(4)
    samples = lesson(rng.standard_normal((1, D)) * 1.5, 5, rng)
    found = Recognizer(samples, measured).recognise(samples[0].vector)
    assert found.threshold == 1.0 - measured.domains[0].threshold


def test_fewer_strangers_pass_where_what_is_taught_is_alike(measured: Background) -> None:
    rng = np.random.default_rng(5)
    passed = before = known = 0
    for _ in range(20):
        things = rng.standard_normal(D) + rng.standard_normal((16, D)) * 0.5
        fitted = Recognizer(lesson(things[:8], 3, rng), measured)
        for thing in things[8:]:
            found = fitted.recognise(views(thing, 1, rng)[0], evidence=0)
            passed += found.decision != "unknown"
            before += 1.0 - found.unknown >= measured.domains[0].threshold
        known += fitted.recognise(views(things[0], 1, rng)[0], evidence=0).decision != "unknown"
    assert 0 < passed < 0.75 * before
    assert known >= 5


def margins(values: Sequence[float]) -> Judged:
    """Judgements of these log-odds above a threshold of one half."""
    known = expit(np.asarray(values, float))
    return Judged(known, np.full(len(known), 0.5), np.zeros((len(known), 2)))


def test_labels_count_alike_however_many_pictures_they_have() -> None:
    many = stranger_shift(margins([-4.0] * 999 + [2.0]), np.r_[np.zeros(999, int), 1])
    few = stranger_shift(margins([-4.0, 2.0]), np.array([0, 1]))
    assert many == pytest.approx(few * 4 / 2 * 21 / 23, rel=0.2) and many > 0
    alike = stranger_shift(margins([-4.0] * 400), np.repeat(np.arange(4), 100))
    assert alike == pytest.approx(-4.0 * 400 / 419)


def test_a_threshold_stays_between_even_odds_and_nearly_sure() -> None:
    assert moved(0.7, 0.0) == 0.7
    assert moved(0.7, -9.0) == 0.5 and moved(0.7, 9.0) == 0.97
    assert moved(0.4, -9.0) == 0.4 and moved(0.4, 9.0) == 0.97
    assert 0.7 < moved(0.7, 0.5) < 0.97
    assert moved(0.0, 1.0) == 0.0 and moved(1.0, 1.0) == 1.0


def test_some_exemplars_are_of_every_label_and_not_too_many() -> None:
    row = np.ones(2, np.float32)
    rows = {"many": {f"{i:04d}": row for i in range(1_000)}, "one": {"x": row}, "two": {}}
    rows["two"] = {"y": row, "z": row}
    exemplars = Exemplars(rows, 2)
    found = exemplars.some(60)
    assert len(found) <= 60 and len(set(found.tolist())) == len(found)
    assert np.bincount(exemplars.owner[found]).tolist() == [20, 1, 2]
    lots = Exemplars({f"{i:04d}": {"x": row} for i in range(1_000)}, 2).some(60)
    assert 30 < len(lots) <= 60 and all(b > a for a, b in pairwise(lots.tolist()))
    assert len(Exemplars({}, 2).some(60)) == 0
