"""A trained captioner and a trained embedder in the assistant: put to use, told, and taken off."""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from peft import LoraConfig, get_peft_model

from assistant import open_assistant
from assistant.build import Imprint
from tests.finetune_data import command, picture, run_folder
from tests.roles_data import embedder_trained
from tests.tiny_models import built
from tests.training_parts import shelve
from tools.config import ModelChoice, load_config
from tools.errors import TrainingFailed
from tools.images import open_photo
from tools.models import Models, open_models
from tools.models.captioner import load_captioner
from tools.models.sources import locate
from tools.shelf import activate, active_adapter, deactivate, open_adapter

DISC = open_photo(picture("disc", 77))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the run ``eyes`` of an embedder that was trained, on the shelf."""
    home = tmp_path_factory.mktemp("home")
    embedder_trained(home, "eyes")
    assert command("publish", "eyes", home=home).strip() == str(home / "adapters" / "eyes")
    return home


@pytest.fixture
def imprint(home: Path) -> Iterator[Imprint]:
    with open_assistant(home=home, embedder=str(built("clip"))) as opened:
        yield opened
    deactivate(home / "adapters", "embedder")


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A shelf with ``words``: random LoRA matrices for the decoder of a tiny BLIP."""
    located = locate(ModelChoice(str(built("blip"))))
    captioner = load_captioner(located)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        config = LoraConfig(
            target_modules=r".*text_decoder\..*\.(query|value)", init_lora_weights=False
        )
        get_peft_model(captioner.model, config).save_pretrained(tmp_path / "adapters" / "words")
    shelve(tmp_path / "adapters" / "words", role="captioner", method="lora", base_id=located.id())
    return tmp_path / "adapters"


def models_of(home: Path) -> Models:
    return open_models(load_config(home=home, captioner=str(built("blip"))))


def likeliest(imprint: Imprint, kind: str, seed: int = 300) -> str:
    """The taught name that a picture is likeliest to have, be it known or not."""
    return imprint.recall().recognise(open_photo(picture(kind, seed))).candidates[0].name


def test_activating_an_embedder_embeds_the_memory_anew_and_taking_it_off_brings_it_back(
    imprint: Imprint, home: Path
) -> None:
    for kind in ("disc", "box"):
        imprint.call("teach_label", [picture(kind, i) for i in range(4)], label=kind)
    before = imprint.recall()
    base = before.sight.embedder
    assert [likeliest(imprint, kind) for kind in ("disc", "box")] == ["disc", "box"]
    old = {k: v.copy() for k, v in imprint.memory.vectors(base).items()}
    assert len(old) == 8

    activate(home / "adapters", "eyes")
    said = imprint.call("classify_image", [picture("disc", 301)])
    assert said.sentence.endswith("The embedder now runs with eyes.")
    after = imprint.recall()
    trained = after.sight.embedder
    assert trained.id.startswith(base.id) and len(trained.id) == len(base.id) + 9
    new = imprint.memory.vectors(trained)
    photo = imprint.memory.photos.get(next(iter(old)))
    np.testing.assert_allclose(new[photo.id], trained.embed_photos([photo])[0], atol=1e-5)
    assert new.keys() == old.keys() and all(new[k] @ old[k] < 0.999 for k in old)
    assert [likeliest(imprint, kind) for kind in ("disc", "box")] == ["disc", "box"]
    # Its statistics came with it; who had begun with the base goes on with the base.
    assert trained.background_path == home / "adapters" / "eyes" / "background.npz"
    assert before.sight.embedder is base and before.sight.background is not after.sight.background
    np.testing.assert_allclose(before.sight.vector(photo), old[photo.id], atol=1e-5)

    assert "The embedder uses eyes no longer." in command("shelf", "stop", "embedder", home=home)
    said = imprint.call("classify_image", [picture("disc", 302)])
    assert "The embedder no longer runs with eyes." in said.sentence
    back = imprint.recall().sight.embedder
    assert back.id == base.id
    for key, vector in imprint.memory.vectors(back).items():
        np.testing.assert_array_equal(vector, old[key])
    np.testing.assert_allclose(back.embed_photos([photo])[0], old[photo.id], atol=1e-6)
    assert likeliest(imprint, "disc") == "disc"


def test_a_conversation_follows_between_its_turns(imprint: Imprint, home: Path) -> None:
    chat = imprint.conversation()
    chat.send("this is a dax", [picture("box", 9)])
    first = chat.recall.sight.embedder.id
    activate(home / "adapters", "eyes")
    assert chat.recall.sight.embedder.id == first
    chat.send("what is this?", [picture("box", 9)])
    assert chat.recall.sight.embedder.id != first
    assert chat.recall is imprint.recall() and imprint.embed(picture("box", 9)).shape == (24,)
    assert len(imprint.similarity(picture("box", 9), ["a box", "a disc"])) == 2


def test_an_embedder_that_does_not_fit_is_explained_and_the_old_one_stays(
    imprint: Imprint, home: Path
) -> None:
    activate(home / "adapters", "eyes")
    trained = imprint.models.embedder
    path = home / "adapters" / "eyes" / "manifest.json"
    whole = path.read_text()
    path.write_text(json.dumps(json.loads(whole) | {"base_id": "clip-0badcafe", "files": {}}))
    try:
        activate(home / "adapters", "eyes")
        assert imprint.models.embedder is trained
        news = imprint.models.adapters.news()
        assert "was trained on" in news and "(clip-0badcafe)" in news
        assert news.endswith("Until then it goes on with eyes.")
    finally:
        path.write_text(whole)


def test_a_captioner_runs_with_its_adapter_and_without_it_as_before(
    shelf: Path, tmp_path: Path
) -> None:
    models = models_of(tmp_path)
    plain = models.captioner
    said = plain.caption(DISC)
    assert activate(shelf, "words").role == "captioner" and active_adapter(shelf) is None
    other = models.captioner
    assert other is not plain and other is models.captioner and other.caption(DISC) != said
    assert plain.caption(DISC) == said  # who has begun with it goes on with it
    assert models.adapters.news() == "The captioner now runs with words."
    assert models.adapters.current() is None and not models.adapters.news()
    deactivate(shelf, "captioner")
    assert models.captioner.caption(DISC) == said
    assert models.adapters.news() == "The captioner no longer runs with words."
    activate(shelf, "words")
    fresh = models_of(tmp_path)  # a start with it is no news
    assert fresh.captioner.caption(DISC) == other.caption(DISC) and not fresh.adapters.news()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"base_id": "blip-0badcafe"}, "was trained on"),
        ({"files": {"adapter_model.safetensors": "0" * 64}}, "missing or altered"),
        ({"role": "embedder"}, "is for the embedder, not for the captioner"),
        ({"role": "painter"}, "is for the painter"),
    ],
)
def test_an_adapter_that_cannot_be_used_leaves_the_base(
    changes: dict[str, Any], words: str, shelf: Path, tmp_path: Path
) -> None:
    models = models_of(tmp_path)
    said = models.captioner.caption(DISC)
    manifest = json.loads((shelf / "words" / "manifest.json").read_text()) | changes
    (shelf / "words" / "manifest.json").write_text(json.dumps(manifest))
    (shelf / "active.json").write_text(json.dumps({"captioner": "words"}))
    assert models.captioner.caption(DISC) == said
    news = models.adapters.news()
    assert words in news and "Until then it runs without one." in news
    if "base_id" not in changes:
        with pytest.raises(TrainingFailed, match=words):
            open_adapter(shelf, "words", "captioner")


def test_each_role_has_its_own_and_the_old_form_is_read(shelf: Path, tmp_path: Path) -> None:
    (shelf / "active.json").write_text(json.dumps({"adapter": "before", "at": "then"}))
    assert active_adapter(shelf) == "before" and active_adapter(shelf, "captioner") is None
    assert "The captioner uses words from now on." in command(
        "shelf", "use", "words", "--anyway", home=tmp_path
    )
    kept = json.loads((shelf / "active.json").read_text())
    assert (kept["answerer"], kept["captioner"]) == ("before", "words") and "adapter" not in kept
    (row,) = json.loads(command("shelf", "list", "--json", home=tmp_path))
    assert (row["name"], row["role"], row["in_use"]) == ("words", "captioner", True)
    assert "There is no role" in command("shelf", "stop", "painter", home=tmp_path, fails=2)
    command("shelf", "stop", "captioner", home=tmp_path)
    assert active_adapter(shelf, "captioner") is None and active_adapter(shelf) == "before"


def test_a_published_run_says_whose_it_is(home: Path) -> None:
    manifest = json.loads((home / "adapters" / "eyes" / "manifest.json").read_text())
    assert manifest["role"] == "embedder" and manifest["method"] == "lora"
    assert {"adapter_model.safetensors", "background.npz"} <= set(manifest["files"])
    said = command("publish", "eyes", "--as", "eyes-too", "--activate", "--anyway", home=home)
    assert said.strip().endswith("eyes-too (in use)")
    assert active_adapter(home / "adapters", "embedder") == "eyes-too"
    deactivate(home / "adapters", "embedder")
    assert (run_folder(home, "eyes") / "README.md").is_file()
