"""The recognizer: exact, order-free, honest about the unknown; never a NaN."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tools.background import Background, covariances, isotropic
from tools.recognizer import Recognizer, Sample

D = 48
Vector = NDArray[np.float64]


def unit(x: Vector) -> Vector:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


class World:
    """Things with a mean each, seen with noise that is larger in some directions."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.offset = unit(self.rng.standard_normal(D)) * 2.0
        self.noise = np.r_[np.full(D // 2, 0.5), np.full(D - D // 2, 2.0)]

    def things(self, count: int) -> Vector:
        return self.rng.standard_normal((count, D))

    def view(self, thing: Vector, count: int = 1) -> Vector:
        noisy = thing + self.rng.standard_normal((count, D)) * self.noise
        return unit(noisy + self.offset)


@pytest.fixture(scope="module")
def measured() -> Background:
    """The statistics of a world, as the pocket embedder's are measured."""
    world = World()
    things = world.things(300)
    x = np.concatenate([world.view(t, 4) for t in things])
    classes = np.repeat(np.arange(300), 4)
    plain = isotropic(D)
    moved = Background(**{**plain.__dict__, "mean": x.mean(axis=0)})
    centre, within, between = covariances(moved.centred(x), classes)
    return Background(
        mean=x.mean(axis=0), centre=centre, within=within, between=between,
        scale=0.5, bias=-1.0, threshold=0.5, outside=np.zeros(0),
    )  # fmt: skip


def taught(world: World, things: Vector, shots: int) -> list[Sample]:
    return [
        Sample(f"{k}.{i}", f"thing{k}", v)
        for k, thing in enumerate(things)
        for i, v in enumerate(world.view(thing, shots))
    ]


def test_it_beats_the_nearest_neighbour_where_directions_differ(measured: Background) -> None:
    world = World(1)
    ours = nearest = 0
    for _ in range(40):
        things = world.things(10)
        samples = taught(world, things, 1)
        recognizer = Recognizer(samples, measured)
        query = world.view(things[3])[0]
        ours += recognizer.recognise(query).labels[0].label_id == "thing3"
        nearest += int(np.argmax([s.vector @ query for s in samples]) == 3)
    assert ours >= 36 and ours > nearest


def test_what_was_not_shown_is_unknown_and_what_was_is_known(measured: Background) -> None:
    world = World(2)
    known = unknown = 0
    for _ in range(60):
        things = world.things(4)
        recognizer = Recognizer(taught(world, things[:3], 2), measured)
        known += recognizer.recognise(world.view(things[1])[0]).decision != "unknown"
        unknown += recognizer.recognise(world.view(things[3])[0]).decision == "unknown"
    assert known >= 54 and unknown >= 54


def test_one_label_with_one_picture_is_enough(measured: Background) -> None:
    world = World(3)
    thing, other = world.things(2)
    recognizer = Recognizer(taught(world, thing[None], 1), measured)
    found = recognizer.recognise(world.view(thing)[0])
    assert found.decision == "known"
    assert found.evidence[0].sample_id == "0.0"
    assert found.labels[0].probability + found.unknown == pytest.approx(1.0)
    assert recognizer.recognise(world.view(other)[0]).decision == "unknown"


def test_order_does_not_matter_and_removing_restores_exactly(measured: Background) -> None:
    world = World(4)
    samples = taught(world, world.things(5), 3)
    query = world.view(world.things(1)[0])[0]
    first = Recognizer(samples, measured).recognise(query)
    shuffled = [samples[i] for i in world.rng.permutation(len(samples))]
    assert Recognizer(shuffled, measured).recognise(query) == first
    more = [*samples, Sample("x", "other", world.view(world.things(1)[0])[0])]
    assert Recognizer(more, measured).recognise(query) != first
    assert Recognizer(more[:-1], measured).recognise(query) == first


def test_between_two_like_things_it_is_ambiguous(measured: Background) -> None:
    world = World(5)
    thing = world.view(world.things(1)[0])[0]
    near = [unit(thing + 0.02 * world.rng.standard_normal(D)) for _ in range(2)]
    twins = [Sample("a", "a", near[0]), Sample("b", "b", near[1])]
    middle = unit(near[0] + near[1])
    found = Recognizer(twins, measured).recognise(middle)
    assert found.decision == "ambiguous"
    assert {e.label_id for e in found.evidence} == {"a", "b"}


def test_a_negative_flips_that_picture_and_its_near_copies_and_nothing_else(
    measured: Background,
) -> None:
    world = World(6)
    thing = world.things(1)[0]
    samples = taught(world, thing[None], 2)
    picture = world.view(thing)[0]
    other = world.view(thing)[0]
    assert Recognizer(samples, measured).recognise(picture).decision == "known"
    refused = Recognizer([*samples, Sample("n", "thing0", picture, False)], measured)
    near = unit(picture + 0.01 * world.rng.standard_normal(D))
    assert refused.recognise(picture).decision == "unknown"
    assert refused.recognise(near).decision == "unknown"
    before = Recognizer(samples, measured).recognise(other)
    assert refused.recognise(other) == before
    # The exemplars themselves are never vetoed.
    assert refused.recognise(samples[0].vector).decision == "known"


def test_among_limits_the_labels(measured: Background) -> None:
    world = World(7)
    things = world.things(3)
    recognizer = Recognizer(taught(world, things, 1), measured)
    found = recognizer.recognise(world.view(things[0])[0], among={"thing1", "thing2"})
    assert {x.label_id for x in found.labels} == {"thing1", "thing2"}


def test_odd_sets_of_exemplars_give_no_nan_and_no_warning(measured: Background) -> None:
    world = World(8)
    view = world.view(world.things(1)[0])[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        empty = Recognizer([], measured).recognise(view)
        assert (empty.decision, empty.labels, empty.best) == ("unknown", (), None)
        only_negative = Recognizer([Sample("n", "z", view, False)], measured).recognise(view)
        assert only_negative.decision == "unknown"
        same = Recognizer([Sample(str(i), "z", view) for i in range(50)], measured)
        many = Recognizer(
            [
                Sample(str(i), str(i), v)
                for i, v in enumerate(np.concatenate([world.view(t) for t in world.things(1000)]))
            ],
            measured,
        )
        for recognizer in (same, many):
            found = recognizer.recognise(view)
            total = sum(x.probability for x in found.labels) + found.unknown
            assert np.isfinite(total) and total == pytest.approx(1.0)


@pytest.mark.parametrize(
    "vector", [np.zeros(D), np.full(D, np.nan), np.ones(D - 1), np.full(D, np.inf)]
)
def test_bad_vectors_are_refused(measured: Background, vector: Vector) -> None:
    good = Recognizer([Sample("a", "a", np.ones(D))], measured)
    with pytest.raises(ValueError):
        good.recognise(vector)
    with pytest.raises(ValueError):
        Recognizer([Sample("a", "a", vector)], measured)


def test_background_survives_the_disk(measured: Background, tmp_path: Path) -> None:
    measured.save(tmp_path / "b.npz")
    loaded = Background.load(tmp_path / "b.npz")
    np.testing.assert_allclose(loaded.within, measured.within, rtol=1e-4, atol=1e-6)
    assert loaded.scale == pytest.approx(measured.scale)
    assert loaded.outside_probability(np.ones(D)) is None


def test_background_refuses_what_does_not_fit() -> None:
    good = isotropic(4).__dict__
    with pytest.raises(ValueError, match="dimension"):
        Background(**{**good, "within": np.eye(3)})
    with pytest.raises(ValueError, match="NaN"):
        Background(**{**good, "mean": np.full(4, np.nan)})


def test_the_isotropic_background_turns_at_its_cosine() -> None:
    plain = isotropic(64)
    shown = np.eye(64)[0]
    recognizer = Recognizer([Sample("a", "a", shown)], plain)
    for cosine, known in ((0.70, False), (0.74, True)):
        query = cosine * shown + np.sqrt(1 - cosine**2) * np.eye(64)[1]
        assert (recognizer.recognise(query).decision == "known") is known
