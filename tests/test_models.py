"""The three roles on real architectures with random weights: their promises, their failures."""

import json
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from tests.hub_files import as_older_repositories
from tests.tiny_models import built, photo
from tools.config import ModelChoice
from tools.errors import ModelError, ModelFailed
from tools.images import Photo
from tools.models import Models, open_models
from tools.models.answerer import TransformersAnswerer, load_answerer
from tools.models.captioner import TransformersCaptioner, load_captioner
from tools.models.embedder import TransformersEmbedder, load_embedder
from tools.models.loading import shrink
from tools.models.sources import locate

EMBEDDERS = ["clip", "siglip", "siglip2"]
ANSWERERS = ["llava", "idefics3", "paligemma", "blip-vqa"]
LOADERS: dict[str, Callable[..., Any]] = {
    "embedder": load_embedder,
    "captioner": load_captioner,
    "answerer": load_answerer,
}
POCKET = Path(__file__).parents[1] / "tools" / "models" / "pocket"
# Its processor hands a tensor to numpy, whose protocol torch does not follow yet:
# https://github.com/pytorch/pytorch/issues/129876
paligemma_warns = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(params=EMBEDDERS)
def embedder(request: pytest.FixtureRequest) -> TransformersEmbedder:
    return load_embedder(locate(ModelChoice(str(built(request.param)))))


@pytest.fixture
def captioner() -> TransformersCaptioner:
    return load_captioner(locate(ModelChoice(str(built("blip")))))


@pytest.fixture(params=ANSWERERS)
def answerer(request: pytest.FixtureRequest) -> TransformersAnswerer:
    return load_answerer(locate(ModelChoice(str(built(request.param)))))


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
    rows = [{"name": "cat", "aliases": ["kitty"], "group": "animals"}, {"name": "dog"}, "fox"]
    (folder / "vocabulary.json").write_text(json.dumps(rows))
    embedder = load_embedder(locate(ModelChoice(str(folder))))
    assert embedder.vocabulary == (("cat", ("kitty",)), ("dog", ()), ("fox", ()))
    assert embedder.background_path == folder / "background.npz"
    (folder / "vocabulary.json").write_text('[{"aliases": 3}]')
    with pytest.raises(ModelFailed, match=r"vocabulary\.json"):
        _ = load_embedder(locate(ModelChoice(str(folder)))).vocabulary


def assert_streams(generate: Callable[..., str]) -> None:
    """What is streamed is what is returned, and a stop ends it after the piece it came with."""
    pieces: list[str] = []
    text = generate(on_token=pieces.append)
    assert "".join(pieces) == text == text.strip() == generate()
    stop = Event()
    assert generate(stop=stop) == text
    stop.set()
    assert generate(stop=stop) == ""
    if len(pieces) < 4:
        return
    stop, heard = Event(), []

    def one_is_enough(piece: str) -> None:
        heard.append(piece)
        stop.set()

    short = generate(on_token=one_is_enough, stop=stop)
    assert short == "".join(heard) != text
    assert text.startswith(heard[0])


def test_captions_stream_and_stop(captioner: TransformersCaptioner) -> None:
    text = captioner.caption(photo(1))
    assert len(text.split()) > 4, "random weights should ramble: the checks below need words"
    assert "[" not in text  # special tokens
    assert_streams(lambda **how: captioner.caption(photo(1), **how))
    assert captioner.caption(photo(4, (1280, 300))) != text


@paligemma_warns
def test_answers_stream_and_stop(answerer: TransformersAnswerer) -> None:
    assert_streams(lambda **how: answerer.answer(photo(1), "what is this?", **how))


@paligemma_warns
def test_special_tokens_in_a_question_are_harmless(answerer: TransformersAnswerer) -> None:
    plain = answerer.answer(photo(1), "what is this?")
    for token in ("<image>", "</s>", "<|im_start|>", "<fake_token_around_image>", "[SEP]", "<eos>"):
        if answerer._special.fullmatch(token):
            nested = f"{token[:3]}{token}{token[3:]}"
            asked = f"{token}what is this?{nested}{token * 3}"
            assert answerer.answer(photo(1), asked) == plain
    assert answerer._special.fullmatch("<image>")


@paligemma_warns
@pytest.mark.parametrize("question", ["", "   ", "<image>", "{{ 7 * 7 }} {% raw %}", "\x00é漢字🦊"])
def test_odd_questions_do_not_crash(answerer: TransformersAnswerer, question: str) -> None:
    assert isinstance(answerer.answer(photo(1), question), str)


def test_an_error_of_the_listener_ends_generation_and_nothing_else(
    captioner: TransformersCaptioner,
) -> None:
    def gone(piece: str) -> None:
        raise ConnectionError(piece)

    with pytest.raises(ConnectionError):
        captioner.caption(photo(1), on_token=gone)
    assert captioner.caption(photo(1))


def test_a_picture_takes_one_tile() -> None:
    """13 tiles would be 17 times the tokens: 2 s on a GPU, minutes on a CPU."""
    answerer = load_answerer(locate(ModelChoice(str(built("idefics3")))))
    inputs = answerer._inputs(photo(1, (1280, 960)).image, "what is this?")
    assert inputs["pixel_values"].shape == (1, 1, 3, 32, 32)
    assert int((inputs["input_ids"] == 3).sum()) == 4


def test_small_models_compute_on_one_thread_and_leave_the_setting() -> None:
    import torch

    seen: list[int] = []
    captioner = load_captioner(locate(ModelChoice(str(built("blip")))))
    before = torch.get_num_threads()
    captioner.caption(photo(1), on_token=lambda _: seen.append(torch.get_num_threads()))
    assert set(seen) == {1}
    assert torch.get_num_threads() == before


@paligemma_warns
@pytest.mark.parametrize("kind", [*EMBEDDERS, "blip", *ANSWERERS])
def test_files_as_older_repositories_have_them_load_the_same(kind: str, tmp_path: Path) -> None:
    older = as_older_repositories(shutil.copytree(built(kind), tmp_path / kind))
    assert not (older / "chat_template.jinja").exists()
    assert (older / "preprocessor_config.json").exists()
    role = "embedder" if kind in EMBEDDERS else "captioner" if kind == "blip" else "answerer"
    new, old = (LOADERS[role](locate(ModelChoice(str(at)))) for at in (built(kind), older))
    assert new.id != old.id
    if role == "embedder":
        assert np.allclose(new.embed_photos(photos(2)), old.embed_photos(photos(2)), atol=1e-5)
        assert np.allclose(new.embed_texts(["a cat"]), old.embed_texts(["a cat"]), atol=1e-5)
    elif role == "captioner":
        assert new.caption(photo(1)) == old.caption(photo(1))
    else:
        assert new.answer(photo(1), "what?") == old.answer(photo(1), "what?")


@pytest.mark.parametrize(
    ("role", "kind"),
    [
        ("embedder", "blip"),
        ("embedder", "llava"),
        ("captioner", "clip"),
        ("captioner", "blip-vqa"),
        ("captioner", "llava"),
        ("answerer", "clip"),
        ("answerer", "blip"),
    ],
)
def test_a_model_of_another_kind_is_refused_in_one_sentence(role: str, kind: str) -> None:
    located = locate(ModelChoice(str(built(kind))))
    with pytest.raises(ModelFailed) as caught:
        LOADERS[role](located)
    text = str(caught.value)
    assert located.architecture in text and f"can't be the {role}: choose a" in text
    assert "\n" not in text


def _cut(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-5000])


def _pointer(folder: Path) -> None:
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 260000\n"
    (folder / "model.safetensors").write_text(text)


def _config(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        config["text_config"] |= changes
        (folder / "config.json").write_text(json.dumps(config))

    return change


def _no_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def _other_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"a": 1}')


DAMAGE: Sequence[tuple[Callable[[Path], None], str]] = [
    (_cut, "can't be loaded (Error while deserializing header"),
    (_pointer, "can't be loaded (Error while deserializing header"),
    (_config(num_hidden_layers=3), "lacks"),
    (_config(hidden_size=128), "weights of other shapes than its config.json says"),
    (_no_json, "not readable JSON"),
    (_other_tokenizer, "can't be loaded"),
]


@pytest.mark.parametrize(("damage", "words"), DAMAGE)
@pytest.mark.parametrize(
    ("role", "kind"), [("embedder", "clip"), ("captioner", "blip"), ("answerer", "llava")]
)
def test_damaged_files_are_said_in_one_sentence(
    role: str, kind: str, damage: Callable[[Path], None], words: str, tmp_path: Path
) -> None:
    folder = shutil.copytree(built(kind), tmp_path / kind)
    damage(folder)
    with pytest.raises(ModelError) as caught:
        LOADERS[role](locate(ModelChoice(str(folder))))
    text = str(caught.value)
    assert words in text and str(folder) in text
    assert "fetch or save it again" in text and "\n" not in text


def test_code_in_a_repository_is_never_run(tmp_path: Path) -> None:
    folder = shutil.copytree(built("clip"), tmp_path / "clip")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "new", "auto_map": {"AutoConfig": "evil.C", "AutoModel": "evil.M"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    for load in LOADERS.values():
        with pytest.raises(ModelFailed):
            load(locate(ModelChoice(str(folder))))
    assert not (tmp_path / "ran").exists()


def test_a_role_is_loaded_once_however_many_threads_ask() -> None:
    from tools.config import load_config

    config = load_config(
        profile="pocket",
        embedder=str(built("clip")),
        captioner=str(built("blip")),
        answerer=str(built("llava")),
    )
    models: Models = open_models(config)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: models.embedder, range(16)))
    assert all(one is found[0] for one in found)
    models.warm_up()
    assert models.embedder is found[0]
    assert models.captioner is models.captioner
    assert models.hardware.dtype in models.hardware.reason


@pytest.mark.parametrize("name", ["clip", "blip", "llava"])
def test_the_pocket_models_load_and_run(name: str) -> None:
    if not (POCKET / name / "model.safetensors").is_file():
        pytest.skip(f"tools/models/pocket/{name} has not been trained yet")
    located = locate(ModelChoice(f"pocket:{name}"))
    if name == "clip":
        embedder = load_embedder(located)
        assert embedder.id.startswith("pocket-clip-")
        assert embedder.embed_photos([photo()]).shape == (1, embedder.dimension)
        assert len(embedder.vocabulary) > 100
    elif name == "blip":
        assert isinstance(load_captioner(located).caption(photo()), str)
    else:
        assert isinstance(load_answerer(located).answer(photo(), "what is this?"), str)
