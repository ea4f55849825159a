"""The recognizer: exact, order-free, honest about the unknown; never a NaN."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import multivariate_normal

from tools.background import Background, Prior, covariances, isotropic, unlabelled
from tools.edge import Edge
from tools.likelihood import Design, Head, Taught
from tools.looks import LOOKS
from tools.measuring import Pictures, measure, named, regression
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
    thing = np.repeat(np.arange(300), 4)
    pictures = Pictures(x, thing, np.arange(len(x)), np.zeros(len(x), int))
    return measure({"things": pictures})[0]


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
    near = [unit(thing + 0.003 * world.rng.standard_normal(D)) for _ in range(2)]
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


def test_a_name_helps_at_one_shot_and_a_meaningless_one_costs_nothing() -> None:
    helped, plain, nonsense = 0, 0, 0
    background, world = worded(0)
    for _ in range(60):
        things = world.things(8)
        samples = taught(world, things, 1)
        texts = {f"thing{k}": world.name(t) for k, t in enumerate(things)}
        strange = {f"thing{k}": world.name(t) for k, t in enumerate(world.things(8))}
        query = world.view(things[2])[0]
        for vectors, kind in ((texts, "named"), (strange, "nonsense"), (None, "plain")):
            hit = Recognizer(samples, background, vectors).recognise(query).labels[0].label_id
            helped += kind == "named" and hit == "thing2"
            nonsense += kind == "nonsense" and hit == "thing2"
            plain += kind == "plain" and hit == "thing2"
    assert helped > plain
    assert nonsense >= plain - 3


def worded(seed: int) -> tuple[Background, "Worded"]:
    """A world whose things have names, measured with them."""
    world = Worded(seed)
    things = world.things(300)
    x = np.concatenate([world.view(t, 4) for t in things])
    thing = np.repeat(np.arange(300), 4)
    pictures = Pictures(x, thing, np.arange(len(x)), np.zeros(len(x), int))
    background, _ = measure({"things": pictures})
    texts = {k: world.name(t) for k, t in enumerate(things)}
    return named(background, {"things": pictures}, {"things": texts}), world


class Worded(World):
    """Its pictures vary a lot, and a thing's name points where its pictures do."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self.noise = np.full(D, 2.0)
        self.words = unit(self.rng.standard_normal(D)) * 3.0

    def name(self, thing: Vector) -> Vector:
        return unit(thing + self.rng.standard_normal(D) * 0.5 + self.words)


def test_each_domain_is_judged_by_its_own_statistics() -> None:
    rng = np.random.default_rng(0)
    left, right = np.r_[np.ones(D // 2), np.zeros(D - D // 2)], np.r_[
        np.zeros(D // 2), np.ones(D - D // 2)
    ]  # fmt: skip
    offsets = unit(rng.standard_normal((2, D))) * 6

    def kind(which: int, count: int) -> tuple[Vector, NDArray[np.intp]]:
        things = rng.standard_normal((count, D)) * (left, right)[which] * 2
        x = np.repeat(things, 4, axis=0) + rng.standard_normal((count * 4, D))
        return unit(x + offsets[which]), np.repeat(np.arange(count), 4)

    kinds = {}
    for which, name in enumerate(("a", "b")):
        x, thing = kind(which, 150)
        kinds[name] = Pictures(x, thing, np.arange(len(x)), np.zeros(len(x), int))
    background, results = measure(kinds)
    assert [d.name for d in background.domains] == ["a", "b"]
    for row in results.values():
        assert row["auroc"] > 0.9 and row["false_accepts"] <= 0.06
    a, b = kinds["a"].vectors, kinds["b"].vectors
    between = unit(a + b)
    for taught_before, which in ((a, 0), (b, 1)):
        share = background.shares(taught_before)
        assert (background.domain_of(between, share) == which).mean() > 0.95
    half = background.shares(np.concatenate([a, b]))
    np.testing.assert_allclose(half, 0.5, atol=0.05)
    assert (background.domain_of(b, half) == 1).mean() > 0.95, "a clear picture is what it is"
    own = shared = 0
    for which in (0, 1):
        x, thing = kind(which, 60)
        assert (background.domain_of(x) == which).mean() > 0.95
        samples = [Sample(str(i), str(thing[i]), x[i]) for i in range(0, len(x), 4)]
        asked, wanted = x[1::4], thing[1::4]
        for design in (Design(), Design(domains=False)):
            fitted = Recognizer(samples, background, design=design)
            order = np.array([int(label) for label in fitted.labels])
            hits = (order[fitted.posteriors(asked).argmax(axis=1)] == wanted).sum()
            own += hits if design.domains else 0
            shared += 0 if design.domains else hits
    assert own > shared


def test_leave_one_out_agrees_with_teaching_all_the_others(measured: Background) -> None:
    world = World(11)
    samples = taught(world, world.things(6), 4) + taught(World(12), World(13).things(2), 1)
    samples = [
        *samples[:24],
        *(Sample(s.id + "x", s.label_id + "x", s.vector) for s in samples[24:]),
    ]
    whole = Recognizer(samples, measured)
    left = {x.sample_id: x for x in whole.leave_one_out()}
    assert set(left) == {s.id for s in samples[:24]}
    gaps, same = [], 0
    for sample in samples[:24]:
        others = Recognizer([s for s in samples if s.id != sample.id], measured)
        true = others.recognise(sample.vector)
        mine = left[sample.id]
        assert mine.label_id == sample.label_id
        own = {x.label_id: x.probability for x in true.labels}
        gaps += [abs(x.probability - own[x.label_id]) for x in mine.ranking.labels]
        gaps.append(abs(mine.ranking.unknown - true.unknown))
        same += mine.ranking.decision == true.decision
        assert sample.id not in {e.sample_id for e in mine.ranking.evidence}
        assert mine.right == (
            true.decision != "unknown" and true.labels[0].label_id == sample.label_id
        )
    assert same >= 23 and np.mean(gaps) < 0.01 and max(gaps) < 0.15


def test_many_exemplars_still_agree_with_brute_force(measured: Background) -> None:
    world = World(14)
    samples = taught(world, world.things(10), 8)
    whole = Recognizer(samples, measured)
    exact = 0
    for left in whole.leave_one_out()[::4]:
        others = whole.remove(left.sample_id)
        vector = next(s.vector for s in samples if s.id == left.sample_id)
        exact += others.recognise(vector).labels[0].label_id == left.ranking.labels[0].label_id
    assert exact >= 19


def test_sharpness_between_labels_is_fitted_to_what_is_taught() -> None:
    background, world = worded(1)
    things = world.things(10)
    samples = taught(world, things, 8)
    plain = Recognizer(samples, background, design=Design(temperature=False))
    fitted = Recognizer(samples, background)
    asked = np.concatenate([world.view(t, 30) for t in things])
    own = np.repeat(np.arange(10), 30)
    before, after = plain.posteriors(asked), fitted.posteriors(asked)
    np.testing.assert_array_equal(before.argmax(axis=1), after.argmax(axis=1))
    rows = np.arange(len(own))
    assert np.log(after[rows, own]).mean() > np.log(before[rows, own]).mean()


def test_several_things_under_one_name_are_each_remembered(measured: Background) -> None:
    world = World(15)
    hits = {0.0: 0, 0.5: 0}
    for _ in range(30):
        things = world.things(24)
        samples = [
            Sample(f"{k}.{i}", f"label{k % 4}", v)
            for k, thing in enumerate(things)
            for i, v in enumerate(world.view(thing, 1))
        ]
        for kernel in hits:
            fitted = Recognizer(samples, measured, design=Design(kernel=kernel))
            x = np.concatenate([world.view(t) for t in things])
            best = fitted.posteriors(x).argmax(axis=1)
            hits[kernel] += int((best == np.arange(24) % 4).sum())
    assert hits[0.5] > hits[0.0]


def test_removing_the_cited_exemplars_changes_the_answer(measured: Background) -> None:
    world = World(16)
    things = world.things(3)
    fitted = Recognizer(taught(world, things, 2), measured)
    query = world.view(things[1])[0]
    found = fitted.recognise(query)
    assert found.decision == "known"
    for evidence in found.evidence:
        fitted = fitted.remove(evidence.sample_id)
    assert fitted.recognise(query).decision != "known"


SETTINGS = settings(max_examples=25, deadline=None)


@SETTINGS
@given(st.data())
def test_any_order_of_adds_and_deletes_gives_the_same(measured: Background, data: Any) -> None:
    world = World(20)
    pool = [
        Sample(f"{k}.{i}", f"thing{k}", v, positive=i != 3)
        for k, t in enumerate(world.things(4))
        for i, v in enumerate(world.view(t, 4))
    ]
    queries = np.concatenate([world.view(t, 2) for t in world.things(2)])
    wanted = data.draw(st.sets(st.sampled_from(range(len(pool))), min_size=2))
    extra = data.draw(st.sets(st.sampled_from(range(len(pool)))))
    steps = [("add", i) for i in wanted | extra]
    fitted = Recognizer([], measured)
    for _, i in data.draw(st.permutations(steps)):
        fitted = fitted.add(pool[i])
    for i in data.draw(st.permutations(sorted(extra - wanted))):
        fitted = fitted.remove(pool[i].id)
    batch = Recognizer([pool[i] for i in sorted(wanted)], measured)
    assert fitted.labels == batch.labels
    for query in queries:
        one, other = fitted.recognise(query), batch.recognise(query)
        assert one.decision == other.decision
        assert one.unknown == pytest.approx(other.unknown, abs=1e-6)
        for x, y in zip(one.labels, other.labels, strict=True):
            assert x.label_id == y.label_id
            assert x.probability == pytest.approx(y.probability, abs=1e-6)


@SETTINGS
@given(st.integers(0, 10_000))
def test_merging_and_splitting_are_relabelling(measured: Background, seed: int) -> None:
    world = World(seed)
    samples = taught(world, world.things(4), 3)
    merged = [replace(s, label_id="thing0") if s.label_id == "thing1" else s for s in samples]
    step = Recognizer(samples, measured)
    for sample in merged:
        step = step.add(sample)
    query = world.view(world.things(1)[0])[0]
    assert step.recognise(query) == Recognizer(merged, measured).recognise(query)
    for sample in samples:
        step = step.add(sample)
    assert step.recognise(query) == Recognizer(samples, measured).recognise(query)


@SETTINGS
@given(st.integers(2, 64), st.integers(1, 4), st.integers(1, 5), st.booleans(), st.integers(0, 999))
def test_any_dimension_any_counts_and_no_background_give_probabilities(
    d: int, labels: int, shots: int, same: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x = unit(rng.standard_normal((labels * shots, d)))
    x = np.repeat(x[:1], len(x), axis=0) if same else x
    samples = [Sample(str(i), str(i % labels), v) for i, v in enumerate(x)]
    names = {str(k): unit(rng.standard_normal(d)) for k in range(labels)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for background in (isotropic(d), unlabelled(unit(rng.standard_normal((30, d))))):
            fitted = Recognizer(samples, background, names)
            for query in (x[0], unit(rng.standard_normal(d))):
                found = fitted.recognise(query)
                total = sum(s.probability for s in found.labels) + found.unknown
                assert np.isfinite(total) and total == pytest.approx(1.0)
            rows = fitted.posteriors(x)
            np.testing.assert_allclose(rows.sum(axis=1), 1.0)
            fitted.leave_one_out()


def test_ten_thousand_of_one_label(measured: Background) -> None:
    world = World(21)
    thing, other = world.things(2)
    rows = world.view(thing, 10_000)
    samples = [Sample(str(i), "many", v) for i, v in enumerate(rows)]
    samples += [Sample("one", "one", world.view(other)[0])]
    fitted = Recognizer(samples, measured)
    assert fitted.recognise(world.view(thing)[0]).labels[0].label_id == "many"
    # Ten pictures say nothing of how common a thing is, nor do ten thousand.
    assert fitted.recognise(world.view(other)[0]).labels[0].label_id == "one"


def test_the_head_is_the_model_it_says_it_is(measured: Background) -> None:
    """The score of one Gaussian label against densities computed the long way."""
    world = World(22)
    things = world.things(2)
    x = np.concatenate([world.view(t, 3) for t in things])
    owner = np.repeat([0, 1], 3)
    design = Design(adapt=False, kernel=0.0, alike=0.0)
    domain = measured.domains[0]
    head = Head(domain, Taught(x, owner, None), np.ones(6, bool), None, design)
    query = world.view(things[0])
    found = head.scores(head.project(query))
    centred, asked = domain.centred(x), domain.centred(query)[0]
    never = multivariate_normal(np.zeros(D), domain.between + domain.within).logpdf(asked)
    for k in (0, 1):
        n, mean = 3, centred[owner == k].mean(axis=0)
        # Which label: things are spread as in the background. Whether known: twice as wide.
        for scores, between in ((found.between, domain.between), (found.known, 2 * domain.between)):
            gain = between @ np.linalg.inv(between + domain.within / n)
            spread = between - gain @ between + domain.within
            ratio = multivariate_normal(gain @ mean, spread).logpdf(asked) - never
            assert scores[0, k] == pytest.approx(ratio, abs=1e-3)


def test_among_thousands_a_label_scores_as_it_does_alone(measured: Background) -> None:
    """Where only the labels still in the running are read; and left out is not taught at all."""
    world = World(24)
    x = np.concatenate([world.view(t, 75) for t in world.things(60)])

    def head(of: Vector, owner: NDArray[np.intp]) -> Head:
        taught_ = Taught(of, owner, None)
        return Head(measured.domains[0], taught_, np.ones(len(of), bool), None, Design(adapt=False))

    many, rows = head(x, np.repeat(np.arange(60), 75)), np.arange(225, 300, 25)
    told, left = many.of(x[rows]), many.without(rows)
    for i, row in enumerate(rows):
        for found, shown in (
            (told, np.arange(225, 300)),
            (left, np.setdiff1d(range(225, 300), row)),
        ):
            alone = head(x[shown], np.zeros(len(shown), np.intp)).of(x[row : row + 1])
            for expected, score in zip(alone, found, strict=True):
                assert score[i, 3] == pytest.approx(expected[0, 0], rel=1e-5)
                assert score[i].argmax() == 3


@pytest.mark.parametrize(("degrees", "nu"), [(900.0, 450.0), (6.0, D), (0.0, D)])
def test_what_is_taught_moves_the_within_class_covariance(
    measured: Background, degrees: float, nu: float
) -> None:
    world = World(23)
    x = np.concatenate([world.view(t, 5) for t in world.things(4)])
    owner = np.repeat(np.arange(4), 5)
    domain = replace(measured.domains[0], degrees=degrees)
    everything = np.ones(20, bool)
    taught_ = Taught(x, owner, None)
    fixed, moving = Design(adapt=False), Design(adapt=True)
    before, after = (Head(domain, taught_, everything, None, d) for d in (fixed, moving))
    centred = domain.centred(x)
    residual = centred - centred.reshape(4, 5, D).mean(axis=1)[owner]
    wanted = (nu * domain.within + residual.T @ residual) / (nu + 16)
    basis = np.linalg.inv(after._basis)
    np.testing.assert_allclose(basis.T @ basis, wanted, atol=1e-8)
    assert not np.allclose(before.psi, after.psi)


def test_background_survives_the_disk(measured: Background, tmp_path: Path) -> None:
    prior = Prior(np.ones(D))
    rng = np.random.default_rng(0)
    size = D + LOOKS
    edge = Edge.between([[rng.standard_normal((80, size))]], [rng.standard_normal((80, size)) * 3])
    edge = edge.limited([rng.standard_normal((80, size))], 0.05)
    full = Background(measured.domains, measured.gate, prior, edge)
    full.save(tmp_path / "b.npz")
    loaded = Background.load(tmp_path / "b.npz")
    first, second = loaded.domains[0], measured.domains[0]
    assert first.name == "things"
    np.testing.assert_allclose(first.within, second.within, rtol=1e-4, atol=1e-6)
    assert first.scale == pytest.approx(second.scale)
    assert first.threshold == pytest.approx(second.threshold)
    assert loaded.prior is not None and (loaded.prior.mean == 1).all()
    assert first.degrees == second.degrees == 900
    assert loaded.edge is not None
    asked = rng.standard_normal((20, size)) * np.linspace(0.5, 3, 20)[:, None]
    np.testing.assert_allclose(loaded.edge.ratio(asked), edge.ratio(asked), rtol=1e-3, atol=1e-2)
    assert loaded.edge.limit == pytest.approx(edge.limit, rel=1e-5)
    measured.save(tmp_path / "b.npz")
    assert Background.load(tmp_path / "b.npz").edge is None


def test_background_refuses_what_does_not_fit() -> None:
    good = isotropic(4)
    with pytest.raises(ValueError, match="dimension"):
        replace(good.domains[0], within=np.eye(3))
    with pytest.raises(ValueError, match="NaN"):
        replace(good.domains[0], mean=np.full(4, np.nan))
    with pytest.raises(ValueError, match="dimension"):
        replace(good, gate=np.zeros((2, 5)))
    with pytest.raises(ValueError, match="domain"):
        replace(good, domains=())
    edge = Edge(np.zeros((2, 3)), np.zeros((2, 3, 3)), np.zeros(2), 0.0)
    with pytest.raises(ValueError, match="edge"):
        replace(good, edge=edge)
    with pytest.raises(ValueError, match="fit dimension"):
        replace(edge, root=np.zeros((3, 3, 3)))
    with pytest.raises(ValueError, match="NaN"):
        replace(edge, limit=float("nan"))


def test_covariances_need_two_pictures_of_something() -> None:
    with pytest.raises(ValueError, match="two"):
        covariances(np.eye(3), np.arange(3), 0.3)


def test_regression_finds_the_side() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 3))
    y = (x[:, 0] - 0.5 * x[:, 1] + 0.2 > 0).astype(int)
    w = regression(x, y, decay=1e-4)
    logits = x @ w[:, :-1].T + w[:, -1]
    assert (logits.argmax(axis=1) == y).mean() > 0.97


def test_the_isotropic_background_turns_at_its_cosine() -> None:
    plain = isotropic(64)
    shown = np.eye(64)[0]
    recognizer = Recognizer([Sample("a", "a", shown)], plain, design=Design())
    for cosine, known in ((0.70, False), (0.74, True)):
        query = cosine * shown + np.sqrt(1 - cosine**2) * np.eye(64)[1]
        assert (recognizer.recognise(query).decision == "known") is known
