"""The recognition benchmark: its formulae on cases done by hand, its fairness, its command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.bench.recognition import calibration, closedset, mixed, openset, promises, report, speed
from tests.bench.recognition.__main__ import main
from tests.bench.recognition.closedset import OURS
from tests.bench.recognition.features import FeatureSet, from_npz, local_sets, made_up_words, unit
from tests.bench.recognition.methods import METHODS, ncm, nearest, proker, tip_adapter
from tests.bench.recognition.metrics import (
    auroc,
    brier,
    estimate,
    expected_calibration_error,
    fpr95,
    log_loss,
    oscr,
)
from tests.bench.recognition.tasks import IMBALANCED, Episode, draw
from tools.background import isotropic

K, EACH, D = 8, 30, 24


def made(*, text: bool = True, views: bool = False, seed: int = 0) -> FeatureSet:
    """Gaussian classes about directions that their names point at, roughly."""
    rng = np.random.default_rng(seed)
    things = rng.standard_normal((K, D))
    each = 3 if views else EACH
    rows = np.repeat(things, each, axis=0) + 0.7 * rng.standard_normal((K * each, D))
    return FeatureSet(
        "made",
        unit(rows),
        np.repeat(np.arange(K), each),
        tuple(f"thing {k}" for k in range(K)),
        isotropic(D),
        groups=tuple("ab"[k % 2] for k in range(K)),
        views=np.tile(np.arange(3), K) if views else None,
        text=unit(things + 0.8 * rng.standard_normal((K, D))) if text else None,
        logit_scale=10.0,
        other_names={"made-up words": unit(rng.standard_normal((40, D)))} if text else {},
    )


@pytest.mark.parametrize("shots", [1, 4])
@pytest.mark.parametrize("name", list(METHODS))
def test_every_baseline_beats_chance(name: str, shots: int) -> None:
    episode = draw(made(), shots, 0)
    assert episode is not None
    logits, hyper = METHODS[name].logits(episode)
    assert logits.shape == (len(episode.queries), K) and np.isfinite(logits).all()
    assert set(hyper) == set(METHODS[name].grid)
    assert np.mean(logits.argmax(axis=1) == episode.targets) > 0.4


@pytest.mark.parametrize("name", [n for n, m in METHODS.items() if not m.needs_text])
def test_without_text_a_baseline_sees_the_pictures_alone(name: str) -> None:
    episode = draw(made(text=False), 4, 0)
    assert episode is not None
    logits, _ = METHODS[name].logits(episode)
    assert np.mean(logits.argmax(axis=1) == episode.targets) > 0.4


def by_hand() -> Episode:
    """Two labels in the plane: (1, 0) and (0.8, 0.6) of the first, (0, 1) of the second."""
    return Episode(
        shots=np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]]),
        y=np.array([0, 0, 1]),
        queries=np.array([[0.6, 0.8]]),
        targets=np.array([1]),
        background=isotropic(2),
        text=np.array([[1.0, 0.0], [0.0, 1.0]]),
        logit_scale=2.0,
    )


def test_nearest_and_nearest_mean_by_hand() -> None:
    assert np.allclose(nearest(by_hand()), [[0.96, 0.8]])
    # The mean of the first label is (0.9, 0.3).
    cosine = (0.6 * 0.9 + 0.8 * 0.3) / np.hypot(0.9, 0.3)
    assert np.allclose(ncm(by_hand()), [[cosine, 0.8]])


def test_tip_adapter_by_hand() -> None:
    logits = tip_adapter(by_hand(), alpha=3.0, beta=2.0)
    near = np.exp(-2.0 * (1 - np.array([0.6, 0.96, 0.8])))
    # z = 2·(0.6, 0.8); each column over its count, of 1.5 a label on average.
    expected = [1.2 + 3 * (near[0] + near[1]) / 2 * 1.5, 1.6 + 3 * near[2] * 1.5]
    assert np.allclose(logits, [expected])


def test_proker_returns_to_zero_shot_when_the_kernel_may_not_learn() -> None:
    z = np.exp([1.2, 1.6]) / np.exp([1.2, 1.6]).sum()
    assert np.allclose(proker(by_hand(), beta=1.0, lam=1e9), [z], atol=1e-6)


def test_tuning_never_sees_the_queries() -> None:
    episode = draw(made(), 2, 0)
    assert episode is not None
    rng = np.random.default_rng(1)
    other = replace(
        episode,
        queries=unit(rng.standard_normal(episode.queries.shape)).astype(float),
        targets=rng.permutation(episode.targets),
    )
    for method in METHODS.values():
        assert method.tune(episode) == method.tune(other)


def test_tuning_does_see_the_validation_rows() -> None:
    episode = draw(made(), 2, 0)
    assert episode is not None and episode.validation is not None
    # The validation rows all show the pictures of the next label, so names are worth nothing.
    wrong = replace(episode.validation, targets=(episode.validation.targets + 1) % K)
    other = replace(episode, validation=wrong)
    assert any(m.tune(episode) != m.tune(other) for m in METHODS.values())
    with pytest.raises(ValueError, match="validation"):
        METHODS["Tip-Adapter"].tune(replace(episode, validation=None))


@pytest.mark.parametrize("shots", [1, 16, IMBALANCED])
def test_shown_validation_and_asked_rows_are_apart(shots: int | tuple[int, ...]) -> None:
    source = made()
    episode = draw(source, shots, 3)
    assert episode is not None and episode.validation is not None
    parts = [episode.shots, episode.validation.queries, episode.queries]
    rows = [{tuple(v) for v in p.astype(np.float32)} for p in parts]
    assert not rows[0] & rows[1] and not rows[0] & rows[2] and not rows[1] & rows[2]
    assert episode.text is not None and episode.classes is not None
    assert np.allclose(episode.text, source.text[episode.classes])  # type: ignore[index]
    counts = (shots,) if isinstance(shots, int) else shots
    assert np.bincount(episode.y).tolist() == [counts[k % len(counts)] for k in range(K)]
    assert min(np.bincount(episode.targets)) >= 4


def test_a_seed_is_the_same_episode_and_another_is_not() -> None:
    a, b, c = (draw(made(), 1, s) for s in (0, 0, 1))
    assert a is not None and b is not None and c is not None
    assert np.array_equal(a.shots, b.shots) and not np.array_equal(a.shots, c.shots)
    assert draw(made(), 16, 0) is not None
    few = made()
    keep = np.arange(len(few.labels)) % EACH < 20
    assert draw(replace(few, features=few.features[keep], labels=few.labels[keep]), 16, 0) is None


def test_things_with_views_are_asked_in_a_view_not_shown() -> None:
    source = replace(
        made(views=True), classes=tuple(map(str, range(2 * K))), text=None, groups=None
    )
    source = replace(
        source,
        features=np.concatenate([source.features, -source.features]),
        labels=np.concatenate([source.labels, source.labels + K]),
        views=np.tile(source.views, 2),  # type: ignore[arg-type]
    )
    episode = draw(source, 2, 0)
    assert episode is not None and episode.validation is not None
    view_of = {tuple(v): view for v, view in zip(source.features, source.views, strict=True)}  # type: ignore[arg-type]
    for k in range(episode.labels):
        shown = {view_of[tuple(v)] for v in episode.shots[episode.y == k].astype(np.float32)}
        asked = episode.queries[episode.targets == k].astype(np.float32)
        assert len(shown) == 2 and not shown & {view_of[tuple(v)] for v in asked}
    assert episode.classes is not None and episode.validation.classes is not None
    assert not set(episode.classes) & set(episode.validation.classes)
    assert draw(source, 3, 0) is None


def test_metrics_by_hand() -> None:
    known, unknown = np.array([0.9, 0.8, 0.4, 0.3]), np.array([0.7, 0.3, 0.1])
    # Pairs won: 3 + 3 + 2 + 1½ of 12.
    assert auroc(known, unknown) == pytest.approx(9.5 / 12)
    right = np.array([True, False, True, True])
    assert oscr(known, right, unknown) == pytest.approx(6.5 / 12)
    # 95 % of four known means all four: the threshold is 0.3.
    assert fpr95(known, unknown) == pytest.approx(2 / 3)
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.35, 0.65]])
    y = np.array([0, 1, 1, 1])
    # Bins of 1/15: 0.9 twice (accuracy ½), and 0.6 and 0.65 in bins of their own, both right.
    expected = (2 * abs(0.5 - 0.9) + 0.4 + 0.35) / 4
    assert expected_calibration_error(p, y) == pytest.approx(expected)
    assert expected_calibration_error(p[:2] * 0 + [1.0, 0.0], y[:2]) == pytest.approx(0.5)
    assert brier(p, y) == pytest.approx((0.02 + 1.62 + 0.32 + 0.245) / 4)
    assert log_loss(np.log(p), y) == pytest.approx(-np.log([0.9, 0.1, 0.6, 0.65]).mean())
    e = estimate([0.1, 0.2, 0.3])
    assert (e.mean, e.n) == (pytest.approx(0.2), 3) and e.half == pytest.approx(
        4.303 * 0.1 / 3**0.5, rel=1e-3
    )
    with pytest.raises(ValueError, match="nan"):
        estimate([0.1, float("nan")])


def test_the_lead_is_paired_and_over_the_best_that_has_all_sets() -> None:
    values = {("ours", 0): 0.6, ("ours", 1): 0.8, ("A", 0): 0.5, ("A", 1): 0.7, ("B", 0): 0.4,
              ("B", 1): 0.3, ("zero-shot", 0): 0.99}  # fmt: skip
    rows = [
        {"method": m, "seed": s, "set": "x" if m == "zero-shot" else y, "shots": "1", "v": v}
        for (m, s), v in values.items()
        for y in ("x", "y")
    ]
    ((key, lead),) = report.lead(rows, "v", "ours").items()
    assert key == ("A", "1") and lead.mean == pytest.approx(0.1) and lead.half < 1e-9


def test_open_set_questions_ask_siblings_and_strangers() -> None:
    source = made()
    found = openset.questions(source, 0, 1, 2, 40)
    assert sum(q.known for q in found) >= 40
    row_of = {tuple(v): i for i, v in enumerate(source.features)}
    for question in found[:5]:
        episode = question.episode
        assert episode.classes is not None
        taught = episode.classes[0]
        asked = [source.labels[row_of[tuple(v)]] for v in episode.queries.astype(np.float32)]
        kinds = openset._kinds(question)
        assert all(c == taught for c, kind in zip(asked, kinds, strict=True) if kind == 0)
        for c, kind in zip(asked, kinds, strict=True):
            if kind:
                assert c != taught and (c % 2 == taught % 2) == (kind == 1)
    rows = openset.run(source, 0, pooled=40)
    ours = [r for r in rows if r["method"] == OURS]
    assert {r["labels"] for r in rows} == {1, 3} and len(ours) == 6
    assert all(r["auroc_all"] > 0.6 for r in ours)
    mcm = [r for r in rows if r["method"] == "MCM" and r["labels"] == 1]
    assert all(r["auroc_all"] == 0.5 for r in mcm)


def test_mahalanobis_distances_are_those_of_their_formula() -> None:
    rng = np.random.default_rng(0)
    w, b = (rng.standard_normal((D, 2 * D)) for _ in range(2))
    plain = isotropic(D, 0.1 * rng.standard_normal(D))
    domain = replace(plain.domains[0], within=w @ w.T / 50, between=b @ b.T / 80)
    episode = draw(replace(made(), background=replace(plain, domains=(domain,))), 2, 0)
    assert episode is not None
    near, background = openset._mahalanobis(episode)
    shots, queries = domain.centred(episode.shots), domain.centred(episode.queries)
    means = np.stack([shots[episode.y == k].mean(axis=0) for k in range(K)])
    residual = shots - means[episode.y]
    sigma = (residual.T @ residual + D * domain.within) / (len(shots) - K + D)
    for i, k in ((0, 0), (3, 5)):
        x = queries[i] - means[k]
        assert near[i, k] == pytest.approx(x @ np.linalg.solve(sigma, x))
    x = queries[0]
    expected = x @ np.linalg.solve(domain.within + domain.between, x)
    assert background[0] == pytest.approx(expected)


def test_siblings_without_groups_are_the_nearest_classes() -> None:
    related = openset.siblings_of(replace(made(), groups=None))
    assert (related.sum(axis=1) == 5).all() and not related.diagonal().any()


def test_decisions_and_promises_have_rows() -> None:
    rows = calibration.run(made(), 0, (1, 4))
    assert [r["shots"] for r in rows] == ["1", "4"]
    for r in rows:
        assert r["known"] + r["ambiguous"] + r["unknown"] == pytest.approx(1.0)
        assert r["size"] == pytest.approx(r["known"] + 2 * r["ambiguous"])
        assert 0 <= r["coverage"] <= r["answered"]
    kinds = {r["method"] for r in promises.names(made(), 0, (1,))}
    assert kinds == {"meaningful names", "no names", "made-up words"}
    assert promises.names(made(text=False), 0, (1,)) == []


def test_a_memory_mostly_of_one_kind_has_rows_where_there_are_kinds() -> None:
    first = replace(made(), name="garments")
    second = replace(made(), name="photos", features=-first.features)
    rows = mixed.run([first, second, made()], second, 0)
    assert [(r["set"], r["shots"]) for r in rows] == [("photos", "1"), ("photos", "2")]
    for r in rows:
        assert r["accuracy"] > 0.6 and r["auroc"] > 0.6
        assert all(0 <= v <= 1 for k, v in r.items() if "accepts" in k)
    assert "Memory mostly of one kind" in report.all_tables(rows, OURS)
    assert mixed.run([first, second], made(), 0) == [] == mixed.run([first], first, 0)


def test_ours_needs_no_validation_rows() -> None:
    episode = draw(made(), 2, 0)
    assert episode is not None
    bare = replace(episode, validation=None)
    assert np.array_equal(closedset.ours.logits(bare), closedset.ours.logits(episode))


def test_made_up_words_are_the_same_every_time() -> None:
    assert made_up_words(50) == made_up_words(60)[:50] and len(set(made_up_words(200))) == 200


def saved(path: Path, *, text: bool) -> Path:
    source = made(text=text)
    arrays = {"features": 3 * source.features, "labels": source.labels,
              "classes": np.array(source.classes)}  # fmt: skip
    np.savez(path, **arrays, **({"text": source.text} if text else {}))  # type: ignore[arg-type]
    return path


def test_an_npz_without_text_is_read(tmp_path: Path) -> None:
    path = saved(tmp_path / "anybodys.npz", text=False)
    source = from_npz(path, background=path)
    assert source.text is None and source.name == "anybodys"
    assert np.allclose(np.linalg.norm(source.features, axis=1), 1, atol=1e-6)
    assert np.allclose(source.background.domains[0].mean, source.features.mean(axis=0), atol=1e-6)
    rows = closedset.run(source, 0, (1,), ["zero-shot", "NCM", OURS])
    assert [r["method"] for r in rows] == ["NCM", OURS]
    with pytest.raises(ValueError, match="a label is"):
        replace(source, classes=source.classes[:2])


@pytest.mark.parametrize("text", [True, False])
def test_the_command_writes_its_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: bool
) -> None:
    path = saved(tmp_path / "anybodys.npz", text=text)
    main(["--features", str(path), "--quick", "--shots", "1,2", "--out", str(tmp_path / "out")])
    printed = capsys.readouterr()
    assert "left" in printed.err and "[1/" in printed.err
    assert (tmp_path / "out" / "results.md").read_text("utf-8").strip() == printed.out.strip()
    assert (tmp_path / "out" / "results.png").stat().st_size > 5_000
    content = json.loads((tmp_path / "out" / "results.json").read_text("utf-8"))
    methods = {r["method"] for r in content["rows"] if r["part"] == "accuracy"}
    assert methods == {*METHODS, OURS} - (set() if text else {"zero-shot"})
    assert {r["seed"] for r in content["rows"]} == {0, 1}
    for title in (
        "Accuracy",
        "AUROC",
        "Decision sets",
        "Ablation",
        "ours − best baseline",
        "Ours less the",
    ):
        assert title in printed.out


def test_labels_one_at_a_time_are_all_at_once() -> None:
    (row,) = promises.incremental(made(), 0, (2,))
    assert row["difference"] < 1e-6


def test_every_ablation_has_its_rows() -> None:
    rows = closedset.ablate(made(), 0, (2,))
    assert [r["method"] for r in rows] == list(closedset.ours.ABLATIONS)


def test_speed_is_measured() -> None:
    text = "\n".join(speed.run(quick=True))
    for what in ("rebuild", "memory", "evidence", "add one", "remove one", "2,000"):
        assert what in text


def test_an_unknown_name_is_an_error(tmp_path: Path) -> None:
    path = saved(tmp_path / "anybodys.npz", text=False)
    for flag in ("--methods", "--shots", "--parts", "--sets"):
        with pytest.raises(SystemExit, match="nosuch"):
            main(["--features", str(path), flag, "nosuch"])


def test_local_pictures_are_embedded_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for kind in ("ceiling_fan", "ferry"):
        folder = tmp_path / "data" / "caltech101" / kind
        folder.mkdir(parents=True)
        for i in range(2):
            pixels = rng.integers(0, 255, (20, 30, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.jpg")
    isotropic(256).save(tmp_path / "statistics.npz")
    said: list[str] = []
    for _ in range(2):
        found = local_sets(
            tmp_path / "data",
            cache=tmp_path / "cache",
            statistics=tmp_path / "statistics.npz",
            log=said.append,
        )
        assert [(s.name, s.classes) for s in found] == [("photos", ("ceiling fan", "ferry"))]
    assert [line for line in said if "embedding" in line] == ["photos: embedding 4 pictures"]
    (source,) = found
    assert source.labels.tolist() == [0, 0, 1, 1] and source.text is not None
    assert set(source.other_names) == {"other words", "made-up words"}
    assert np.allclose(np.linalg.norm(source.text, axis=1), 1, atol=1e-5)
