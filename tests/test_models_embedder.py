"""CLIP, SigLIP and SigLIP 2 with random weights: what vectors promise."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.tiny_models import built, photo
from tools.config import ModelChoice
from tools.errors import ModelFailed
from tools.images import Photo
from tools.models.embedder import TransformersEmbedder, load_embedder
from tools.models.loading import shrink
from tools.models.sources import locate

EMBEDDERS = ["clip", "siglip", "siglip2"]


@pytest.fixture(params=EMBEDDERS)
def embedder(request: pytest.FixtureRequest) -> TransformersEmbedder:
    return load_embedder(locate(ModelChoice(str(built(request.param)))))


def photos(count: int) -> list[Photo]:
    return [photo(seed, (40 + 7 * seed % 60, 90 - 5 * seed % 40)) for seed in range(count)]


def test_vectors_are_unit_float32_and_the_same_every_time(embedder: TransformersEmbedder) -> None:
    pictures, texts = photos(3), ["a cat", "a red circle on a square", ""]
    for vectors, again in (
        (embedder.embed_photos(pictures), embedder.embed_photos(pictures)),
        (embedder.embed_texts(texts), embedder.embed_texts(texts)),
    ):
        assert vectors.shape == (3, embedder.dimension)
        assert vectors.dtype == np.float32
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        assert np.array_equal(vectors, again)
        assert not np.allclose(vectors[0], vectors[1], atol=1e-3)


def test_a_batch_is_its_pictures_and_texts_one_by_one(embedder: TransformersEmbedder) -> None:
    pictures = photos(35)  # more than one batch
    singly = np.concatenate([embedder.embed_photos([picture]) for picture in pictures])
    assert np.allclose(embedder.embed_photos(pictures), singly, atol=1e-5)
    texts = ["a cat", "how many red circles are there in this picture", "dog", ""] * 9
    singly = np.concatenate([embedder.embed_texts([text]) for text in texts])
    assert np.allclose(embedder.embed_texts(texts), singly, atol=1e-5)


def test_nothing_gives_no_vectors(embedder: TransformersEmbedder) -> None:
    assert embedder.embed_photos([]).shape == (0, embedder.dimension)
    assert embedder.embed_texts([]).shape == (0, embedder.dimension)


def test_texts_are_cut_at_the_context(embedder: TransformersEmbedder) -> None:
    long, longer = "circle " * 40, "circle " * 4000
    vectors = embedder.embed_texts([long, longer, "circle"])
    assert np.allclose(vectors[0], vectors[1], atol=1e-5)
    assert not np.allclose(vectors[0], vectors[2], atol=1e-3)


@pytest.mark.parametrize("kind", EMBEDDERS)
def test_vectors_are_those_of_the_model_itself(kind: str) -> None:
    """Against transformers used as its documentation shows, on a picture of the model's size."""
    import torch
    from transformers import AutoModel, AutoProcessor

    model = AutoModel.from_pretrained(built(kind))
    processor = AutoProcessor.from_pretrained(built(kind))
    picture = photo(2, (32, 32))
    padding = {"padding": "max_length", "max_length": 16} if kind != "clip" else {}
    text = processor(text=["a red circle"], return_tensors="pt", **padding)["input_ids"]
    with torch.inference_mode():
        pixels = processor.image_processor(images=[picture.image], return_tensors="pt")
        image = model.get_image_features(**pixels)
        words = model.get_text_features(input_ids=text)
    ours = load_embedder(locate(ModelChoice(str(built(kind)))))
    for theirs, vector in (
        (image.pooler_output.numpy(), ours.embed_photos([picture])),
        (words.pooler_output.numpy(), ours.embed_texts(["a red circle"])),
    ):
        assert np.allclose(theirs / np.linalg.norm(theirs), vector, atol=1e-5)
    assert ours.logit_scale == pytest.approx(float(model.logit_scale.detach().exp()), rel=1e-5)


def test_siglip_ignores_case_and_clip_has_no_bias() -> None:
    siglip = load_embedder(locate(ModelChoice(str(built("siglip")))))
    vectors = siglip.embed_texts(["A Red Circle", "a red circle"])
    assert np.array_equal(vectors[0], vectors[1])
    assert load_embedder(locate(ModelChoice(str(built("clip"))))).logit_bias == 0


def test_threads_share_an_embedder(embedder: TransformersEmbedder) -> None:
    pictures = photos(6)
    alone = [embedder.embed_photos([picture]) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda picture: embedder.embed_photos([picture]), pictures * 3))
    assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(alone * 3, together, strict=True))


def test_a_large_photo_is_shrunk_first_and_looks_the_same(embedder: TransformersEmbedder) -> None:
    large, small = photo(3, (1280, 960)), photo(3, (160, 120))
    assert shrink(large.image, 32).size == (85, 64)
    assert shrink(small.image, 80).size == (160, 120)
    assert shrink(photo(0, (1280, 8)).image, 64).size == (1280, 8)
    shrunk = Photo(large.image.resize((320, 240)))
    vectors = embedder.embed_photos([large, shrunk, photo(4)])
    assert vectors[0] @ vectors[1] > max(0.99, vectors[0] @ vectors[2])


def test_a_vocabulary_is_read_from_beside_the_weights(tmp_path: Path) -> None:
    folder = shutil.copytree(built("clip"), tmp_path / "clip")
    assert load_embedder(locate(ModelChoice(str(folder)))).vocabulary == ()
    rows = [{"name": "cat", "aliases": ["kitty"]}, {"name": "dog"}, {"name": "fox", "aliases": []}]
    (folder / "vocabulary.json").write_text(json.dumps(rows))
    embedder = load_embedder(locate(ModelChoice(str(folder))))
    assert embedder.vocabulary == (("cat", ("kitty",)), ("dog", ()), ("fox", ()))
    assert embedder.background_path == folder / "background.npz"
    (folder / "vocabulary.json").write_text('[{"aliases": 3}]')
    with pytest.raises(ModelFailed, match=r"vocabulary\.json"):
        _ = load_embedder(locate(ModelChoice(str(folder)))).vocabulary
