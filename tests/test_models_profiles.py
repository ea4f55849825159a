"""Which models run: the profile that fits, in words; and nothing that reaches for the network."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hub_files import as_older_repositories, in_hub_cache
from tests.tiny_models import built, photo
from tools.config import PROFILES, load_config
from tools.errors import ModelMissing
from tools.models import Models, open_models

SMALL = {"embedder": "clip", "captioner": "blip", "answerer": "idefics3"}


@pytest.fixture
def small_cache(tmp_path: Path) -> Path:
    """A Hub cache with tiny models under the names of the profile small."""
    cache = tmp_path / "hub"
    for role, kind in SMALL.items():
        folder = shutil.copytree(built(kind), tmp_path / kind)
        choice = getattr(PROFILES["small"], role)
        in_hub_cache(as_older_repositories(folder), choice.source, cache)
    return cache


def test_auto_is_pocket_where_nothing_is_downloaded(tmp_path: Path) -> None:
    models = open_models(load_config(), hub_cache=tmp_path)
    assert models.profile == "pocket"
    assert "weights of small and full are not on this machine" in models.reason
    line = models.describe()
    for role in SMALL:
        assert f"hf download {getattr(PROFILES['small'], role).source} " in line
    assert "about 2.6 GB" in line and line.endswith("start with `--profile small`.")
    assert "\n" not in line


def test_auto_is_small_where_its_weights_are(small_cache: Path) -> None:
    models = open_models(load_config(), hub_cache=small_cache)
    assert models.profile == "small"
    assert "its weights are here; the weights of full are not" in models.reason
    assert "hf download llava-hf/llava-1.5-7b-hf" in models.describe()
    models.warm_up()
    assert models.embedder.id.startswith("openai-clip-vit-base-patch32-")
    assert isinstance(models.captioner.caption(photo()), str)
    assert isinstance(models.answerer.answer(photo(), "what is this?"), str)


def test_auto_is_not_full_without_a_gpu(small_cache: Path, tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    for role, kind in {**SMALL, "answerer": "llava"}.items():
        in_hub_cache(built(kind), getattr(PROFILES["full"], role).source, small_cache)
    models = open_models(load_config(), hub_cache=small_cache)
    assert models.profile == "small"
    assert "full needs a GPU of 8 GB and there is none here" in models.reason
    for folder in small_cache.glob("models--openai--clip-vit-base*"):
        shutil.rmtree(folder)
    models = open_models(load_config(), hub_cache=small_cache)
    assert models.profile == "pocket"
    assert "weights of small are not on this machine; full needs a GPU" in models.reason


def test_an_override_is_not_asked_of_the_cache(small_cache: Path) -> None:
    for folder in small_cache.glob("models--openai--*"):
        shutil.rmtree(folder)
    assert open_models(load_config(), hub_cache=small_cache).profile == "pocket"
    config = load_config(embedder=str(built("siglip2")))
    models = open_models(config, hub_cache=small_cache)
    assert models.profile == "small"
    assert f"{built('siglip2')} as embedder" in models.describe()
    assert models.embedder.id.startswith("siglip2-")


def test_a_profile_that_is_asked_for_is_not_replaced(tmp_path: Path) -> None:
    models = open_models(load_config(profile="small"), hub_cache=tmp_path)
    assert (models.profile, models.reason) == ("small", "profile small: as set")
    assert "CLIP ViT-B/32" in models.describe()
    for _ in range(2):
        with pytest.raises(ModelMissing, match=r"clip-vit-base-patch32 \(about 0.6 GB\)"):
            _ = models.embedder
    with pytest.raises(ModelMissing):
        models.warm_up()
    in_hub_cache(built("clip"), "openai/clip-vit-base-patch32", tmp_path)
    assert models.embedder.dimension == 24  # fetched meanwhile: no restart needed


def test_given_models_are_used_as_they_are() -> None:
    given = open_models(load_config(profile="pocket", embedder=str(built("clip")))).embedder
    models = Models.of(embedder=given, profile="small")
    assert models.embedder is given
    assert models.profile == "small"


OFFLINE_SCRIPT = """
import socket, sys
from pathlib import Path

attempts = []
def refuse(*args, **kwargs):
    attempts.append(args)
    raise OSError("no network in this test")
socket.socket.connect = refuse
socket.getaddrinfo = refuse

from tools.config import load_config
from tools.models import open_models

models = open_models(load_config(profile="small"), hub_cache=Path(sys.argv[1]))
auto = open_models(load_config(profile="auto"), hub_cache=Path(sys.argv[1]))
models.describe(), auto.profile, auto.reason
heavy = {"torch", "transformers", "bitsandbytes"} & set(sys.modules)
assert not heavy, f"imported before a model is used: {heavy}"
models.warm_up()
from tests.tiny_models import photo
models.embedder.embed_photos([photo()]), models.embedder.embed_texts(["a cat"] * 2)
for _ in range(2):
    models.captioner.caption(photo()), models.answerer.answer(photo(), "what is this?")
missing = open_models(load_config(profile="full"), hub_cache=Path(sys.argv[1]))
try:
    missing.warm_up()
except Exception as exc:
    assert type(exc).__name__ == "ModelMissing", exc
assert "bitsandbytes" not in sys.modules and "peft" not in sys.modules
assert not attempts, attempts
print("quiet and offline")
"""


def test_nothing_reaches_for_the_network_or_speaks(small_cache: Path) -> None:
    """In a process of its own, online as far as the Hub's client knows, warnings as errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", OFFLINE_SCRIPT, str(small_cache)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        env={"HF_HUB_OFFLINE": "0", "HOME": str(small_cache), "PATH": "/usr/bin:/bin"},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("quiet and offline\n", "")
