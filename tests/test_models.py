"""Models as the tools get them: loaded once, from new and old files, refused in one sentence."""

import contextlib
import json
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.hub_files import as_older_repositories, transformers_silent
from tests.tiny_models import built, photo
from tools.config import ModelChoice, load_config
from tools.errors import ModelError, ModelFailed
from tools.models import open_models
from tools.models.answerer import load_answerer
from tools.models.captioner import load_captioner
from tools.models.embedder import load_embedder
from tools.models.sources import locate

ROLES = {
    "clip": "embedder",
    "siglip": "embedder",
    "siglip2": "embedder",
    "blip": "captioner",
    "blip-2": "captioner",
    "git": "captioner",
    "llava": "answerer",
    "idefics3": "answerer",
    "paligemma": "answerer",
    "blip-vqa": "answerer",
}
LOADERS: dict[str, Callable[..., Any]] = {
    "embedder": load_embedder,
    "captioner": load_captioner,
    "answerer": load_answerer,
}
POCKET = Path(__file__).parents[1] / "tools" / "models" / "pocket"


def test_a_role_is_loaded_once_however_many_threads_ask() -> None:
    config = load_config(
        profile="pocket",
        embedder=str(built("clip")),
        captioner=str(built("blip")),
        answerer=str(built("llava")),
    )
    models = open_models(config)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: models.embedder, range(16)))
    assert all(one is found[0] for one in found)
    models.warm_up()
    assert models.embedder is found[0]
    assert models.captioner is models.captioner
    assert models.hardware.dtype in models.hardware.reason


# PaliGemma's processor hands a tensor to numpy, whose protocol torch does not follow yet:
# https://github.com/pytorch/pytorch/issues/129876
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize(("kind", "role"), ROLES.items())
def test_files_as_older_repositories_have_them_load_the_same(
    kind: str, role: str, tmp_path: Path
) -> None:
    older = as_older_repositories(shutil.copytree(built(kind), tmp_path / kind))
    assert not (older / "chat_template.jinja").exists()
    assert (older / "preprocessor_config.json").exists()
    new, old = (LOADERS[role](locate(ModelChoice(str(at)))) for at in (built(kind), older))
    assert new.id != old.id
    if role == "embedder":
        pictures, texts = [photo(1), photo(2, (50, 90))], ["a cat", "a red circle"]
        assert np.allclose(new.embed_photos(pictures), old.embed_photos(pictures), atol=1e-5)
        assert np.allclose(new.embed_texts(texts), old.embed_texts(texts), atol=1e-5)
    elif role == "captioner":
        assert new.caption(photo(1)) == old.caption(photo(1))
    else:
        assert new.answer(photo(1), "what is this?") == old.answer(photo(1), "what is this?")


def test_a_llava_that_does_not_say_its_patch_size(tmp_path: Path) -> None:
    """Its first repositories have neither patch size nor selection in their processor."""
    older = as_older_repositories(shutil.copytree(built("llava"), tmp_path / "llava"))
    (older / "processor_config.json").write_text('{"processor_class": "LlavaProcessor"}')
    new, old = (load_answerer(locate(ModelChoice(str(at)))) for at in (built("llava"), older))
    assert new.answer(photo(1), "what is this?") == old.answer(photo(1), "what is this?")


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
    with transformers_silent(), pytest.raises(ModelError) as caught:
        LOADERS[role](locate(ModelChoice(str(folder))))
    text = str(caught.value)
    assert words in text and str(folder) in text
    assert "fetch or save it again" in text and "\n" not in text


@pytest.mark.parametrize("model_type", ["clip", "unheard-of"])
def test_code_in_a_repository_is_never_run(model_type: str, tmp_path: Path) -> None:
    folder = shutil.copytree(built("clip"), tmp_path / "clip")
    code = {"AutoConfig": "evil.C", "AutoModel": "evil.M", "AutoProcessor": "evil.P"}
    for name in ("config.json", "processor_config.json", "tokenizer_config.json"):
        content = json.loads((folder / name).read_text()) | {"auto_map": code}
        if name == "config.json":
            content["model_type"] = model_type
        (folder / name).write_text(json.dumps(content))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    for load in LOADERS.values():
        with contextlib.suppress(ModelFailed):
            load(locate(ModelChoice(str(folder))))
    assert not (tmp_path / "ran").exists()


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
