"""Any embedder gets statistics of its own: at first use, once, or from a folder of pictures."""

import json
import logging
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from assistant import open_assistant
from assistant.cli import app
from assistant.ui.waking import Waking
from tests.fakes import FakeEmbedder, drawing
from tests.tiny_models import built
from tools.background import Background, isotropic
from tools.config import ModelChoice
from tools.errors import ModelFailed
from tools.images import Photo
from tools.models import Models
from tools.models.embedder import load_embedder
from tools.models.roles import Embedder, Features
from tools.models.sources import locate
from tools.reference import FEWEST_THINGS, edition
from tools.sight import Sight
from tools.survey import Survey

REFERENCE_PICTURES = 768


class Watched:
    """An embedder that counts what it is shown; ``looked`` is called before."""

    def __init__(self, embedder: Embedder, background_path: Path | None = None) -> None:
        self._embedder = embedder
        self.background_path = background_path
        self.shown = 0
        self.looked: Callable[[], Any] = lambda: None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._embedder, name)

    def embed_photos(self, photos: Sequence[Photo]) -> Features:
        self.shown += len(photos)
        self.looked()
        return self._embedder.embed_photos(photos)


def tiny(kind: str) -> Watched:
    folder = built(kind)
    return Watched(load_embedder(locate(ModelChoice(str(folder)))), folder / "background.npz")


def sight_of(embedder: Any, cache: Path | None) -> Sight:
    return Sight(Models.of(embedder=embedder), cache)


@pytest.mark.parametrize("kind", ["clip", "siglip", "siglip2"])
def test_a_hub_embedder_is_measured_at_first_use_and_never_again(kind: str, tmp_path: Path) -> None:
    embedder = tiny(kind)
    measured = sight_of(embedder, tmp_path).background
    assert embedder.shown == REFERENCE_PICTURES
    assert measured.dimension == embedder.dimension
    assert [d.name for d in measured.domains] == ["drawings", "photos"]
    assert measured.prior is not None
    plain = isotropic(embedder.dimension).domains[0]
    for domain in measured.domains:
        assert np.linalg.eigvalsh(domain.within).min() > 0
        assert 0 < domain.scale < np.inf and 0.3 <= domain.threshold <= 0.97
        assert not np.allclose(domain.within, plain.within, rtol=0.2)
    assert [p.name for p in (tmp_path / "background").iterdir()] == [
        f"{embedder.id}.{edition()}.npz"
    ]
    again = tiny(kind)
    found = sight_of(again, tmp_path).background
    assert again.shown == 0
    assert np.allclose(found.domains[0].within, measured.domains[0].within, atol=1e-6)


def test_a_damaged_or_outdated_cache_is_measured_again(tmp_path: Path) -> None:
    embedder = Watched(FakeEmbedder())
    cached = tmp_path / "background" / f"{embedder.id}.{edition()}.npz"
    cached.parent.mkdir()
    old = cached.with_name(f"{embedder.id}.00000000.npz")
    isotropic(embedder.dimension).save(old)
    _ = sight_of(embedder, tmp_path).background
    assert embedder.shown == REFERENCE_PICTURES and cached.exists() and not old.exists()
    good = cached.read_bytes()
    isotropic(7).save(cached)
    of_another = cached.read_bytes()
    for damaged in (good[: len(good) // 2], b"", of_another):
        cached.write_bytes(damaged)
        again = Watched(FakeEmbedder())
        assert sight_of(again, tmp_path).background.dimension == embedder.dimension
        assert again.shown == REFERENCE_PICTURES
        assert Background.load(cached).dimension == embedder.dimension
    assert [p.name for p in cached.parent.iterdir()] == [cached.name]


def test_statistics_beside_the_weights_go_before_the_cache(tmp_path: Path) -> None:
    beside = tmp_path / "background.npz"
    isotropic(FakeEmbedder.dimension).save(beside)
    embedder = Watched(FakeEmbedder(), beside)
    assert sight_of(embedder, tmp_path).background.domains[0].name == "anything"
    assert embedder.shown == 0
    beside.write_bytes(b"damaged")
    assert sight_of(embedder, None).background.domains[0].name == "drawings"
    assert embedder.shown == REFERENCE_PICTURES


def test_visitors_who_come_together_measure_once(tmp_path: Path) -> None:
    embedder = Watched(FakeEmbedder())
    sight, together = sight_of(embedder, tmp_path), Barrier(4)

    def ask(_: int) -> Background:
        together.wait()
        return sight.background

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(ask, range(4)))
    assert embedder.shown == REFERENCE_PICTURES
    assert all(f is found[0] for f in found)


def test_it_is_said_what_takes_long(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    embedder = Watched(FakeEmbedder())
    sight = sight_of(embedder, tmp_path)
    waking = Waking(lambda: None, lambda: sight.survey.doing)
    assert waking.note == "Waking up: the models are loading"
    said: list[str] = []
    embedder.looked = lambda: said.append(waking.note)
    with caplog.at_level(logging.INFO, "tools.survey"):
        _ = sight.background
    assert said[1] == "Measuring fake-thumbnail with drawings: 32 of 600"
    assert said[-1] == "Measuring fake-thumbnail with photos: 160 of 168"
    assert sight.survey.doing == ""
    assert "measured fake-thumbnail in" in caplog.messages[-1]
    assert "photos: AUROC" in caplog.messages[-1]


def test_without_a_text_tower_there_is_no_prior() -> None:
    embedder = Watched(FakeEmbedder())
    background = Survey().background(embedder, None)
    assert background.prior is None and all(d.gain == 0 for d in background.domains)


def test_a_cache_that_cannot_be_written_costs_time_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "background").write_text("a file where the folder should be")
    sight = sight_of(Watched(FakeEmbedder()), tmp_path)
    assert sight.background is sight.background
    assert "can't be written" in caplog.text


def test_an_embedder_that_sees_nothing_is_refused() -> None:
    class Blind(FakeEmbedder):
        def embed_photos(self, photos: Sequence[Photo]) -> Features:
            return np.full((len(photos), self.dimension), self.dimension**-0.5, np.float32)

    survey = Survey()
    with pytest.raises(ModelFailed, match="fake-thumbnail can't be used"):
        survey.background(Watched(Blind()), None)
    assert survey.doing == ""


def test_recognition_uses_what_was_measured(tmp_path: Path) -> None:
    with open_assistant(home=tmp_path, models=Models.of(embedder=tiny("clip"))) as imprint:
        imprint.call("teach_label", [drawing("red")], label="zorb")
        found = imprint.classify(drawing("red", jitter=1))
        limits = [1 - d.threshold for d in imprint.sight.background.domains]
        unmeasured = 1 - isotropic(imprint.sight.background.dimension).domains[0].threshold
    # Of several domains that the picture may be of, in between.
    assert min(limits) <= found.threshold <= max(limits)
    assert not min(limits) <= unmeasured <= max(limits)
    assert found.candidates[0].name == "zorb"
    assert (tmp_path / "cache" / "background").exists()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Nine things in four pictures each, one more that is damaged, and a copy."""
    made = tmp_path / "mine"
    for colour in ("red", "green", "blue"):
        for shape in ("disc", "box", "cross"):
            thing = made / f"{colour}_{shape}"
            thing.mkdir(parents=True)
            for jitter in range(4):
                drawing(colour, shape, jitter * 2).save(thing / f"{jitter}.png")
    shutil.copy(made / "red_disc" / "0.png", made / "red_disc" / "copy.png")
    (made / "red_disc" / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    return made


@pytest.fixture
def run(home: Path) -> Callable[..., Result]:
    def invoke(*args: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, ["--home", str(home), *args])
        assert result.exit_code == code, result.output + repr(result.exception)
        return result

    return invoke


def test_a_folder_of_ones_own_replaces_the_statistics(
    run: Callable[..., Result], folder: Path, home: Path, pocket: Models
) -> None:
    shipped = Sight(pocket).background
    out = run("background", str(folder)).stdout
    assert "with 36 pictures of 9 things" in out and "questions)" in out
    assert "left out: red_disc/cut.png" in out
    with open_assistant(home=home, models=pocket) as imprint:
        (domain,) = imprint.sight.background.domains
        assert domain.name == "your pictures"
        edge = imprint.sight.background.edge
        assert edge is not None and shipped.edge is not None
        assert np.allclose(edge.root, shipped.edge.root, rtol=1e-4) and (
            edge.limit == pytest.approx(shipped.edge.limit, rel=1e-5)
        )
    told = json.loads(run("background", str(folder), "--json").stdout)
    assert told["results"]["your pictures"]["auroc"] > 0.8 and told["things"] == 9
    assert "is forgotten" in run("background", "--reset").stdout
    assert json.loads(run("background", "--reset", "--json").stdout)["removed"] is False
    with open_assistant(home=home, models=pocket) as imprint:
        assert [d.name for d in imprint.sight.background.domains] == [
            d.name for d in shipped.domains
        ]


def test_what_cannot_be_kept_is_said(run: Callable[..., Result], folder: Path, home: Path) -> None:
    (home / "cache").mkdir(parents=True)
    (home / "cache" / "background").write_text("a file where the folder should be")
    assert "can't be kept in" in run("background", str(folder), code=1).stderr


def test_any_embedder_can_be_measured_with_a_folder(
    run: Callable[..., Result], folder: Path, home: Path
) -> None:
    out = run("--embedder", str(built("siglip")), "background", str(folder)).stdout
    assert "Measured siglip-" in out
    (cached,) = (home / "cache" / "background").iterdir()
    assert Background.load(cached).dimension == 64


def test_a_folder_that_will_not_do_is_said_in_a_sentence(
    run: Callable[..., Result], folder: Path, tmp_path: Path
) -> None:
    def said(*args: str) -> str:
        error = run("background", *args, code=1).stderr.strip().splitlines()
        assert len(error) == 1
        return error[0]

    assert "There is no folder" in said(str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    assert "no folders in it" in said(str(tmp_path / "empty"))
    assert "not both" in said() and "not both" in said(str(folder), "--reset")
    # Enough files, but of two things the second picture cannot be read.
    for thing in ("red_box", "blue_box"):
        for jitter in range(1, 4):
            (folder / thing / f"{jitter}.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    assert f"at least {FEWEST_THINGS} are needed" in said(str(folder))
