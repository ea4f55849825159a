"""A second embedder that only sees: the pair is one embedder to everything else."""

from pathlib import Path

import numpy as np
import pytest

from tests.tiny_models import built, photo
from tools.background import isotropic
from tools.config import ModelChoice, load_config
from tools.errors import ModelFailed, ModelMissing
from tools.images import Photo
from tools.models import open_models
from tools.models.embedder import load_embedder
from tools.models.paired import PairedEmbedder, load_image_embedder
from tools.models.sources import locate
from tools.recognizer import Recognizer, Sample
from tools.sight import Sight


def photos(count: int) -> list[Photo]:
    return [photo(seed, (40 + 7 * seed % 60, 90 - 5 * seed % 40)) for seed in range(count)]


@pytest.fixture(scope="module")
def pair() -> PairedEmbedder:
    first = load_embedder(locate(ModelChoice(str(built("clip")))))
    return PairedEmbedder(first, load_image_embedder(locate(ModelChoice(str(built("dinov2"))))))


def test_vectors_are_unit_and_hold_both_halves(pair: PairedEmbedder) -> None:
    pictures = photos(35)  # more than one batch
    first = load_embedder(locate(ModelChoice(str(built("clip")))))
    second = load_image_embedder(locate(ModelChoice(str(built("dinov2")))))
    vectors = pair.embed_photos(pictures)
    assert vectors.shape == (35, pair.dimension) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    half = np.sqrt(0.5)
    np.testing.assert_allclose(vectors[:, : first.dimension], first.embed_photos(pictures) * half)
    np.testing.assert_allclose(
        vectors[:, first.dimension :], second.embed_photos(pictures) * half, atol=1e-6
    )
    singly = np.concatenate([second.embed_photos([p]) for p in pictures])
    np.testing.assert_allclose(second.embed_photos(pictures), singly, atol=1e-5)
    assert pair.embed_photos([]).shape == (0, pair.dimension)


def test_names_are_as_likely_as_without_the_second(pair: PairedEmbedder) -> None:
    first = load_embedder(locate(ModelChoice(str(built("clip")))))
    pictures, texts = photos(3), ["a cat", "a red circle", "dog"]
    alone = first.logit_scale * first.embed_photos(pictures) @ first.embed_texts(texts).T
    both = pair.logit_scale * pair.embed_photos(pictures) @ pair.embed_texts(texts).T
    np.testing.assert_allclose(both, alone, rtol=1e-4, atol=1e-4)


def test_the_second_half_can_decide(pair: PairedEmbedder) -> None:
    """Two things that the first embedder can't part are parted by the second."""
    rng = np.random.default_rng(0)
    one, two = photos(2)
    vectors = pair.embed_photos([one, two])
    first = load_embedder(locate(ModelChoice(str(built("clip"))))).dimension
    vectors[1, :first] = vectors[0, :first]
    samples = [Sample(str(i), str(i), v) for i, v in enumerate(vectors)]
    fitted = Recognizer(samples, isotropic(pair.dimension))
    query = vectors[1] + rng.standard_normal(pair.dimension).astype(np.float32) * 1e-3
    assert fitted.recognise(query).labels[0].label_id == "1"


def test_a_plus_in_the_setting_joins_two_models(tmp_path: Path) -> None:
    joined = f"{built('clip')}+{built('dinov2')}"
    models = open_models(load_config(home=tmp_path, profile="pocket", embedder=joined))
    embedder = models.embedder
    assert isinstance(embedder, PairedEmbedder)
    alone = load_embedder(locate(ModelChoice(str(built("clip")))))
    assert embedder.dimension > alone.dimension
    assert 3 <= len(embedder.id) <= 40
    assert embedder.id != alone.id
    assert Sight(models).words(["zorb"]).shape == (1, embedder.dimension)


def test_what_is_missing_or_of_another_kind_is_said(tmp_path: Path) -> None:
    absent = f"{built('clip')}+facebook/dinov2-nowhere"
    models = open_models(load_config(home=tmp_path, profile="pocket", embedder=absent))
    with pytest.raises(ModelMissing, match="dinov2-nowhere"):
        models.warm_up()
    wrong = f"{built('clip')}+{built('clip')}"
    models = open_models(load_config(home=tmp_path, profile="pocket", embedder=wrong))
    with pytest.raises(ModelFailed, match="DINOv2"):
        _ = models.embedder


def test_a_folder_with_a_plus_in_its_name_is_one_model(tmp_path: Path) -> None:
    folder = tmp_path / "a+b"
    folder.mkdir()
    assert ModelChoice(str(folder)).parts == (ModelChoice(str(folder)),)
    assert [p.source for p in ModelChoice("a/b + c/d").parts] == ["a/b", "c/d"]
