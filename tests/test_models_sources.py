"""Where models come from: the package, a folder or the Hub's cache, complete or refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.hub_files import COMMIT, in_hub_cache
from tests.tiny_models import build, built, photo
from tools.config import ModelChoice, load_config
from tools.errors import ModelFailed, ModelMissing
from tools.models import open_models
from tools.models.sources import download_command, locate


def test_a_missing_model_says_which_how_large_and_which_command(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing) as caught:
        locate(ModelChoice("owner/some-model@v2", 1.5), hub_cache=tmp_path)
    text = str(caught.value)
    assert "owner/some-model@v2 (about 1.5 GB) is not on this machine" in text
    assert "`hf download owner/some-model --revision v2 " in text
    assert "\n" not in text and text.endswith("`.")


def test_a_model_of_unknown_size_is_not_given_one(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="some-model is not on this machine"):
        locate(ModelChoice("owner/some-model"), hub_cache=tmp_path)


def test_the_command_leaves_other_formats_out_but_not_the_only_one() -> None:
    assert '--exclude "*.bin"' in download_command("owner/name")
    assert "*.bin" not in download_command("openai/clip-vit-base-patch32")


@pytest.mark.parametrize("source", ["no such", "/no/such", "./x", "a/b/c", "../a/b", ""])
def test_what_is_neither_a_folder_nor_a_hub_id(source: str, tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="give a folder that exists or a Hub id"):
        locate(ModelChoice(source), hub_cache=tmp_path)


@pytest.mark.parametrize("source", ["pocket:x", "pocket:../loading", "pocket:"])
def test_pocket_names_are_not_paths(source: str) -> None:
    with pytest.raises(ModelMissing, match="choose pocket:clip, pocket:blip or pocket:llava"):
        locate(ModelChoice(source))


@pytest.mark.parametrize(
    "gone", ["config.json", "model.safetensors", "tokenizer.json", "processor_config.json"]
)
def test_an_incomplete_folder_names_what_it_lacks(gone: str, tmp_path: Path) -> None:
    folder = shutil.copytree(built("clip"), tmp_path / "clip")
    (folder / gone).unlink()
    shown = gone.replace("processor_config", "preprocessor_config")
    with pytest.raises(ModelMissing, match=f"lacks {shown}"):
        locate(ModelChoice(str(folder)))


def test_a_shard_that_is_missing_is_named(tmp_path: Path) -> None:
    folder = shutil.copytree(built("clip"), tmp_path / "clip")
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    index = '{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}'
    (folder / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ModelMissing, match=r"lacks model-2\.safetensors"):
        locate(ModelChoice(str(folder)))


def test_a_hub_id_is_found_in_the_cache_by_branch_tag_and_commit(tmp_path: Path) -> None:
    other = "f" * 40
    main = in_hub_cache(built("clip"), "owner/clip", tmp_path)
    tagged = in_hub_cache(built("blip"), "owner/clip", tmp_path, revision="v1.0", commit=other)
    found = {
        source: locate(ModelChoice(source), hub_cache=tmp_path).folder.resolve()
        for source in ("owner/clip", "owner/clip@v1.0", f"owner/clip@{COMMIT}")
    }
    assert found["owner/clip"] == found[f"owner/clip@{COMMIT}"] == main.resolve()
    assert found["owner/clip@v1.0"] == tagged.resolve() != main.resolve()
    with pytest.raises(ModelMissing, match=r"--revision v2"):
        locate(ModelChoice("owner/clip@v2"), hub_cache=tmp_path)


def test_a_download_that_broke_off_is_incomplete(tmp_path: Path) -> None:
    snapshot = in_hub_cache(built("clip"), "owner/clip", tmp_path)
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(ModelMissing, match=r"lacks model\.safetensors.*hf download owner/clip"):
        locate(ModelChoice("owner/clip"), hub_cache=tmp_path)


def test_pickled_weights_are_only_accepted_where_a_profile_needs_them(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    folder = shutil.copytree(built("clip"), tmp_path / "clip")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelMissing, match=r"lacks model\.safetensors"):
        locate(ModelChoice(str(folder)))
    in_hub_cache(folder, "openai/clip-vit-base-patch32", tmp_path / "hub")
    config = load_config(profile="pocket", embedder="openai/clip-vit-base-patch32")
    embedder = open_models(config, hub_cache=tmp_path / "hub").embedder
    plain = open_models(load_config(profile="pocket", embedder=str(built("clip")))).embedder
    assert np.allclose(embedder.embed_photos([photo()]), plain.embed_photos([photo()]), atol=1e-6)


def test_objects_in_pickled_weights_are_refused(tmp_path: Path) -> None:
    import torch

    class Boom:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "ran",))

    folder = shutil.copytree(built("clip"), tmp_path / "clip")
    torch.save({"logit_scale": Boom()}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    in_hub_cache(folder, "openai/clip-vit-base-patch32", tmp_path / "hub")
    config = load_config(profile="pocket", embedder="openai/clip-vit-base-patch32")
    with pytest.raises(ModelFailed, match="can't be loaded"):
        _ = open_models(config, hub_cache=tmp_path / "hub").embedder
    assert not (tmp_path / "ran").exists()


def test_an_id_follows_the_weights_and_the_preprocessing(tmp_path: Path) -> None:
    same = shutil.copytree(built("clip"), tmp_path / "clip")
    other = build("clip", tmp_path / "other" / "clip", seed=1)
    changed = shutil.copytree(built("clip"), tmp_path / "changed" / "clip")
    processor = changed / "processor_config.json"
    processor.write_text(
        processor.read_text().replace('"shortest_edge": 32', '"shortest_edge": 40')
    )
    first = locate(ModelChoice(str(built("clip")))).id("pil")
    assert locate(ModelChoice(str(same))).id("pil") == first
    assert locate(ModelChoice(str(other))).id("pil") != first
    assert locate(ModelChoice(str(changed))).id("pil") != first
    assert locate(ModelChoice(str(same))).id("torchvision") != first


def test_an_id_reads_large_files_in_places(tmp_path: Path) -> None:
    folder = shutil.copytree(built("clip"), tmp_path / "A very Long name, with_signs — and äöü 123")
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(70_000_000)
    first = locate(ModelChoice(str(folder))).id()
    assert first.startswith("a-very-long-name-with-signs-and") and 3 <= len(first) <= 40
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(1000)
        file.write(b"other")
    assert locate(ModelChoice(str(folder))).id() != first
