"""Publishing on the Hub, against a real server that speaks its protocol; and the way back."""

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import ModelCard, close_session, snapshot_download
from typer.testing import CliRunner

from finetune.cli import app
from finetune.pipeline import make_learner
from finetune.runs import open_run
from finetune.settings.files import load_settings
from finetune.shelf import read_manifest
from tests.finetune_data import TINY, class_folders, command, picture, read, run_folder
from tests.hub_files import COMMIT, in_hub_cache
from tests.hub_server import TOKEN, HubServer
from tests.tiny_models import built
from tools.config import ModelChoice, load_config
from tools.errors import ModelMissing
from tools.images import open_photo
from tools.models import open_models
from tools.models.sources import locate

# The Hub's client sends files as httpx no longer likes (huggingface_hub 2.4, `lfs.py`).
pytestmark = [
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
    # PEFT 0.21 asks transformers 5 by an old name.
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),
]
SEND = ("--anyway", "--yes")
REPO = "ann/Zorbs"
FILE = "{repo_id}/resolve/{revision}/{filename}"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finished runs: ``real`` (LoRA), ``seen`` (a projector) and ``head`` (a linear head)."""
    home = tmp_path_factory.mktemp("ann-at-home")
    source = class_folders(home / "my pictures", 6)
    few = ("--set", "data.folds=2", *TINY)
    model = ("--model", built("llava"))
    command("few-shot", source, *model, "--name", "real", "--epochs", 14, *few, home=home)
    for method, name in (("projector", "seen"), ("linear", "head")):
        command(
            "few-shot", source, *model, "--method", method, "--name", name, "--epochs", 1, *few,
            "--set", "data.evaluation=folds", home=home,
        )  # fmt: skip
    return home


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    """The Hub for whatever runs in this process, and ann's token."""
    constants = "huggingface_hub.constants"
    with HubServer() as server:
        for name, value in (
            ("HF_HUB_OFFLINE", False),
            ("HF_HUB_DISABLE_XET", True),
            ("ENDPOINT", server.url),
            (
                "HUGGINGFACE_CO_URL_TEMPLATE",
                server.url + "/{repo_id}/resolve/{revision}/{filename}",
            ),
            ("HF_TOKEN_PATH", str(tmp_path / "token")),
            ("HF_HUB_CACHE", str(tmp_path / "cache")),
        ):
            monkeypatch.setattr(f"{constants}.{name}", value)
        monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", server.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        # Its client tries again for half a minute; here it does so at once.
        waiting = SimpleNamespace(sleep=lambda seconds: None, monotonic=time.monotonic)
        monkeypatch.setattr("huggingface_hub.utils._http.time", waiting)
        yield server
        close_session()


def files_of(hub: HubServer, repo: str = REPO, branch: str = "main") -> dict[str, bytes]:
    found = dict(hub.repositories["models", repo].branches[branch])
    found.pop(".gitattributes")
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def saved(files: dict[str, bytes], folder: Path) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def code_of(card: str) -> str:
    """The Python of a card."""
    (found,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    return str(found)


@pytest.mark.parametrize("name", ["real", "seen", "head"])
def test_the_hub_gets_what_a_dry_run_shows_in_one_commit(
    name: str, home: Path, hub: HubServer, tmp_path: Path
) -> None:
    dry = json.loads(
        command("publish", name, "--hub", REPO, "--anyway", "--dry-run", "--json", home=home)
    )
    assert not hub.requests and dry["folder"] == str(run_folder(home, name) / "hub")
    shown = contents(Path(dry["folder"]))
    assert sorted(shown) == dry["files"]
    shutil.rmtree(dry["folder"])
    said = json.loads(command("publish", name, "--hub", REPO, *SEND, "--json", home=home))
    found = hub.repositories["models", REPO]
    (oid,) = [oid for oid, *_ in found.commits]
    assert said["commit"].endswith(oid) and not found.private
    sent = files_of(hub)
    assert {k: v for k, v in sent.items() if k != "manifest.json"} == {
        k: v for k, v in shown.items() if k != "manifest.json"
    }
    assert {"README.md", "manifest.json", "metrics.json", "settings.yaml"} < set(sent)
    best = contents(run_folder(home, name) / "best_model")
    weights = [n for n in sent if n.endswith(".safetensors")]
    assert weights and all(sent[n] == best[n] for n in weights)
    read_manifest(saved(sent, tmp_path / "got"))
    assert not list(run_folder(home, name).glob("*hub*")), "something was left behind"


def test_no_picture_and_no_path_of_this_machine_is_sent(home: Path, hub: HubServer) -> None:
    command("publish", "real", "--hub", REPO, *SEND, home=home)
    sent = files_of(hub)
    assert not [n for n in sent if n.endswith((".png", ".csv", ".jsonl")) or "checkpoint" in n]
    for secret in (home, home / "my pictures", built("llava"), built("llava").parent, Path.home()):
        assert not [n for n, content in sent.items() if str(secret).encode() in content], secret
    settings = load_settings(yaml.safe_load(sent["settings.yaml"]))
    assert settings.data.source == "my pictures" and settings.model.answerer == "llava"
    manifest = json.loads(sent["manifest.json"])
    assert manifest["data"]["source"] == "my pictures" and len(manifest["data"]["train"]) == 12
    assert json.loads(sent["adapter_config.json"])["base_model_name_or_path"] is None


def test_a_memory_is_sent_without_its_name(home: Path, hub: HubServer, tmp_path: Path) -> None:
    other = copied(home, tmp_path, source="memory:ann-private")
    command("publish", "real", "--hub", REPO, *SEND, home=other)
    sent = files_of(hub)
    assert not [n for n, content in sent.items() if b"ann-private" in content]
    assert json.loads(sent["manifest.json"])["data"]["source"] == "memory:"


def test_the_card_says_what_the_hub_and_people_want_to_know(
    home: Path, hub: HubServer, tmp_path: Path
) -> None:
    command("publish", "real", "--hub", REPO, *SEND, "--license", "mit", home=home)
    path = saved(files_of(hub), tmp_path / "got") / "README.md"
    card = ModelCard.load(path)
    card.validate()
    assert ("POST", "/api/validate-yaml") in hub.requests
    data, results = card.data, read(run_folder(home, "real") / "results.json")
    assert data.license == "mit" and data.library_name == "peft"
    assert data.pipeline_tag == "image-text-to-text" and {"imprint", "lora"} <= set(data.tags)
    assert data.base_model is None  # a folder of this machine is nowhere on the Hub
    (accuracy,) = [r for r in data.eval_results if r.metric_name.startswith("accuracy (")]
    own = results["figures"]["trained"]["accuracy"]
    assert accuracy.metric_value == own["value"] and f"n = {own['n']}" in accuracy.metric_name
    text = card.text
    assert results["verdict"] in text and "It learned 2 classes: box, disc." in text
    assert "| | this | before training | exemplars, no training |" in text
    assert f"{100 * own['low']:.1f}–{100 * own['high']:.1f}, n=12)" in text
    assert "12 pictures of `my pictures`" in text and "are few" in text
    assert f"python -m finetune publish hf:{REPO} --as zorbs" in text


def test_a_base_of_the_hub_is_named_with_its_revision_and_licence(
    home: Path, hub: HubServer, tmp_path: Path
) -> None:
    base = shutil.copytree(built("llava"), tmp_path / "llava")
    (base / "README.md").write_text("---\nlicense: openrail\ntags: [x]\n---\n# LLaVA\n")
    in_hub_cache(base, "eve/llava", tmp_path / "cache")
    model = {"base_model": "eve/llava", "revision": COMMIT}
    other = copied(home, tmp_path, source="hf:eve/things@v2", model=model)
    command("publish", "real", "--hub", REPO, *SEND, home=other)
    sent = files_of(hub)
    data = ModelCard(sent["README.md"].decode()).data
    assert data.base_model == "eve/llava" and data.license == "openrail"
    assert data.base_model_relation == "adapter" and data.datasets == ["eve/things"]
    assert {r.dataset_type for r in data.eval_results} == {"eve/things"}
    assert f'from_pretrained("eve/llava", revision="{COMMIT}")' in sent["README.md"].decode()
    config = json.loads(sent["adapter_config.json"])
    assert (config["base_model_name_or_path"], config["revision"]) == ("eve/llava", COMMIT)
    assert yaml.safe_load(sent["settings.yaml"])["data"]["source"] == "hf:eve/things@v2"


def copied(home: Path, place: Path, *, source: str, model: dict[str, Any] | None = None) -> Path:
    """Another home with the run ``real``, as if trained on that source, from that model."""
    folder = run_folder(place / "other", "real")
    shutil.copytree(run_folder(home, "real"), folder)
    settings = yaml.safe_load((folder / "settings.yaml").read_text())
    settings["data"]["source"] = source
    results = read(folder / "results.json")
    if model is not None:
        settings["model"]["answerer"] = model["base_model"]
        results["model"] |= model
    (folder / "settings.yaml").write_text(yaml.safe_dump(settings))
    (folder / "results.json").write_text(json.dumps(results))
    return place / "other"


# --- the way back -------------------------------------------------------------------------------


def test_an_adapter_of_the_hub_is_put_on_the_shelf_and_used(
    home: Path, hub: HubServer, tmp_path: Path
) -> None:
    command("publish", "real", "--hub", REPO, *SEND, home=home)
    other = tmp_path / "eve"
    said = command("publish", f"hf:{REPO}", home=other, fails=2)
    assert f"fetch it with `hf download {REPO}`" in said and not other.exists()
    folder = Path(snapshot_download(REPO))  # what that command does
    with pytest.raises(ModelMissing, match=f"an adapter and no model.* publish hf:{REPO}`"):
        locate(ModelChoice(REPO))
    card = folder / "README.md"
    card.write_text(card.read_text() + "\nCorrected by hand.\n")
    said = command("publish", f"hf:{REPO}", "--as", "zorbs", "--activate", home=other, fails=1)
    assert "on the shelf and not in use" in said and "shelf use zorbs --anyway" in said
    said = command("shelf", "use", "zorbs", "--anyway", "--json", home=other)
    assert json.loads(said) == {"role": "answerer", "in_use": "zorbs"}
    models = open_models(load_config(home=other, answerer=str(built("llava"))))
    current = models.adapters.current()
    assert current is not None and current.name == "zorbs" and current.classes == ("box", "disc")
    for kind in ("disc", "box"):
        photo = open_photo(picture(kind, 77))
        assert models.adapters.answer(current, photo, "what is this?") == kind
    said = command("publish", folder, home=other)
    assert said.strip().endswith("real"), "a folder goes by its run's name"
    assert "already" in command("publish", folder, home=other, fails=1)
    said = command("shelf", "stop", "answerer", "--json", home=other)
    assert json.loads(said)["before"] == "zorbs"


@pytest.mark.parametrize("name", ["real", "seen", "head"])
def test_the_code_of_the_card_loads_it_without_imprint(
    name: str, home: Path, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("publish", name, "--hub", REPO, *SEND, home=home)
    code = code_of(files_of(hub)["README.md"].decode())
    assert "import finetune" not in code and "import assistant" not in code
    monkeypatch.chdir(built("llava").parent)  # where the model's folder is, which it names
    found: dict[str, Any] = {}
    exec(code, found)
    run = open_run(home / "runs", name)
    learner: Any = make_learner(run.settings, *run.data())
    learner.load(run.folder / "best_model")
    image = picture("disc", 77)
    if name == "head":
        said = found["logits"](image)
        pixels = found["processor"](images=image, return_tensors="pt")["pixel_values"]
        ours = learner.head(pixel_values=pixels)["logits"]
        assert found["classes"] == ["box", "disc"]
    else:
        given = found["processor"](images=image, text="<image>\nwhat is this?", return_tensors="pt")
        with torch.inference_mode():
            said = found["model"](**given).logits
            ours = learner.adapted.model(**given).logits
            with learner.adapted.without():
                assert not torch.allclose(said, learner.adapted.model(**given).logits)
    assert torch.allclose(said.float(), ours.float(), atol=1e-4)


def test_a_data_set_of_the_hub_is_prepared_by_its_name(hub: HubServer, tmp_path: Path) -> None:
    rows = [
        {"image": f"{kind}{i}.png", "label": kind, "split": "test" if i > 3 else "train"}
        for kind in ("disc", "box")
        for i in range(6)
    ]
    files = {"metadata.jsonl": "\n".join(map(json.dumps, rows)).encode()}
    for row in rows:
        picture(row["label"], int(row["image"][-5])).save(tmp_path / "one.png")
        files[row["image"]] = (tmp_path / "one.png").read_bytes()
    hub.add("eve/things", files, kind="datasets")
    said = command("prepare", "hf:eve/things", home=tmp_path, fails=1)
    assert "`hf download --repo-type dataset eve/things`" in said and not hub.requests
    snapshot_download("eve/things", repo_type="dataset")  # what that command does
    found = json.loads(command("prepare", "hf:eve/things", "--json", home=tmp_path))
    assert found["classes"] == {"box": 6, "disc": 6}
    assert found["measured_on"] == "the source's test pictures"


def test_what_is_not_whole_is_not_taken_in(home: Path, tmp_path: Path) -> None:
    command("publish", "real", home=(other := copied(home, tmp_path, source="x")))
    folder = other / "adapters" / "real"
    manifest = read(folder / "manifest.json")
    for files, words in (
        ({"../../../secret.txt": "0"}, "is damaged"),
        ({"adapter_model.safetensors": "0" * 64}, "is damaged"),
    ):
        broken = shutil.copytree(folder, tmp_path / "broken", dirs_exist_ok=True)
        (broken / "manifest.json").write_text(json.dumps(manifest | {"files": files}))
        assert words in command("publish", broken, home=tmp_path / "eve", fails=1)
    (tmp_path / "secret.txt").write_text("s")
    digest = "043a718774c572bd8a25adbeb1bfcd5c0256ae11cecf9f9c3f925d0e52beaf89"
    broken = shutil.copytree(folder, tmp_path / "a" / "b" / "outside")
    files = {"../../../secret.txt": digest}
    (broken / "manifest.json").write_text(json.dumps(manifest | {"files": files}))
    assert "outside of it" in command("publish", broken, home=tmp_path / "eve", fails=1)
    assert "There is no adapter in" in command("publish", tmp_path, home=tmp_path / "eve", fails=1)
    assert not (tmp_path / "eve" / "adapters").exists()


# --- what is there already ----------------------------------------------------------------------


def test_what_is_there_is_replaced_only_when_asked(home: Path, hub: HubServer) -> None:
    hub.add(REPO, {"weights.safetensors": b"old", "README.md": b"# old", "notes.txt": b"mine"})
    said = command("publish", "real", "--hub", REPO, *SEND, home=home, fails=1)
    assert f"{REPO} has files already (README.md, notes.txt, weights.safetensors)" in said
    assert files_of(hub)["README.md"] == b"# old"
    command("publish", "real", "--hub", REPO, *SEND, "--replace", home=home)
    sent = files_of(hub)
    assert "weights.safetensors" not in sent and sent["notes.txt"] == b"mine"
    assert len(hub.repositories["models", REPO].commits) == 1 and b"# Zorbs" in sent["README.md"]


def test_private_is_private_and_a_branch_is_a_branch(home: Path, hub: HubServer) -> None:
    arguments = ("publish", "real", "--hub", REPO, *SEND)
    command(*arguments, "--private", "--revision", "v1", home=home)
    found = hub.repositories["models", REPO]
    assert found.private and not files_of(hub) and "README.md" in files_of(hub, branch="v1")
    hub.add("ann/public", {})
    said = command(*arguments, "--private", "--hub", "ann/public", home=home, fails=2)
    assert "ann/public is there already and is public" in said
    assert not files_of(hub, "ann/public")


# --- asking, and what is not published ----------------------------------------------------------


def test_it_says_what_goes_where_and_asks(home: Path, hub: HubServer) -> None:
    said = command("publish", "real", "--hub", REPO, home=home, fails=1)
    assert "real is not published, for of it is known: Not" in said and "--anyway" in said
    said = command("publish", "real", "--hub", REPO, "--anyway", home=home, fails=2)
    assert re.match(r"\d+ files \([\d,]+ kB: README\.md, .*\) go to ann/Zorbs on the Hub", said)
    assert said.endswith("nobody is here: give --yes.\n") and not hub.requests
    wrong = command("publish", "real", "--yes", "--private", home=home, fails=2)
    assert "--private, --yes is for the Hub: give --hub OWNER/NAME too" in wrong
    wrong = command("publish", "real", "--hub", REPO, "--as", "x", home=home, fails=2)
    assert "--as is for the shelf, and --hub is not" in wrong
    assert "There is no run 'no'" in command("publish", "no", "--hub", REPO, home=home, fails=1)


@pytest.mark.parametrize("yes", [True, False])
def test_on_a_terminal_it_asks(
    yes: bool, home: Path, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("finetune.cli.publish._somebody_is_here", lambda: True)
    done = CliRunner().invoke(
        app, ["publish", "real", "--hub", REPO, "--anyway", "--home", str(home)],
        input="y\n" if yes else "n\n",
    )  # fmt: skip
    assert "Publish it?" in done.stderr and (done.exit_code == 0) == yes
    assert bool(hub.requests) == yes


# --- what goes wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("repo", "told", "words", "code"),
    [
        ("ann", {}, "--hub 'ann' can't be the name of a repository: write OWNER/NAME", 2),
        ("ann/a/b", {}, "can't be the name", 2),
        ("ann/a b", {}, "can't be the name", 2),
        ("../x", {}, "can't be the name", 2),
        ("bob/zorbs", {}, "may not write to bob/zorbs (403)", 2),
        (REPO, {"create": 401}, "does not accept the token of this machine (401)", 2),
        (REPO, {"create": 403}, "may not write to ann/Zorbs (403)", 2),
        (REPO, {"create": 500}, "The Hub has trouble of its own (Server error '500", 1),
        (REPO, {"create": None}, "The connection to the Hub failed (", 1),
        (REPO, {"validate": 502}, "The Hub has trouble of its own", 1),
        (REPO, {"preupload": 503}, "The Hub has trouble of its own", 1),
        (REPO, {"/lfs/": 500}, "The Hub has trouble of its own", 1),
        (REPO, {"/lfs/": None}, "The connection to the Hub failed (", 1),
        (REPO, {"commit": 500}, "ann/Zorbs is there, without anything of this run", 1),
        (REPO, {"commit": None}, "ann/Zorbs is there, without anything of this run", 1),
        (REPO, {"commit": 413}, "The Hub refused it (Client error '413", 1),
    ],
)
def test_what_goes_wrong_is_one_sentence_and_nothing_is_published(
    repo: str,
    told: dict[str, int | None],
    words: str,
    code: int,
    home: Path,
    hub: HubServer,
) -> None:
    for what, status in told.items():
        hub.fails(what, status)
    before = sorted(run_folder(home, "real").rglob("*"))
    said = command("publish", "real", "--hub", repo, *SEND, home=home, fails=code)
    line = said.splitlines()[-1]
    assert words in line and line.endswith((".", "this run.")), said
    assert len([x for x in said.splitlines() if " kB: " not in x]) == 1, said
    assert sorted(run_folder(home, "real").rglob("*")) == before
    assert not (home / "adapters").exists()
    assert all(not found.commits for found in hub.repositories.values())


def test_without_a_token_with_a_wrong_one_and_offline(
    home: Path, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said() -> str:
        text = command("publish", "real", "--hub", REPO, *SEND, home=home, fails=2)
        return text.splitlines()[-1]

    monkeypatch.setenv("HF_TOKEN", "hf_stranger")
    assert "does not accept the token of this machine (401)" in said()
    monkeypatch.delenv("HF_TOKEN")
    assert "No token for the Hub is on this machine: run `hf auth login`" in said()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert said() == (
        "HF_HUB_OFFLINE keeps this process off the network: unset it to publish on the Hub."
    )
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    text = command("publish", "real", "--hub", REPO, *SEND, home=home, fails=1)
    assert "The connection to the Hub failed (" in text.splitlines()[-1]
    assert not hub.repositories
