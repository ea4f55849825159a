"""A BLIP-2 is trained to caption for real: a tiny one with an OPT, by every method there is."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from finetune.data import Row, gather
from finetune.data.table import DESCRIBE
from finetune.events import EventLog
from finetune.learners.captioning import CaptionLearner
from finetune.learners.learner import Session
from finetune.learners.speaking import open_speaker
from finetune.planning.forecast import forecast
from finetune.settings.files import load_settings, with_assignments
from finetune.settings.schema import Settings
from finetune.training.collate import Shown
from finetune.vlm import IGNORED
from tests.finetune_data import TINY, command, events, picture, read, run_folder
from tests.roles_data import CAPTIONS
from tests.tiny_models import built
from tools.config import load_config
from tools.errors import SettingsError
from tools.images import open_photo
from tools.models import open_models
from tools.models.hardware import Hardware


@pytest.fixture(scope="module")
def home(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the finished run ``words``: LoRA on the language model, and the projector."""
    home = tmp_path_factory.mktemp("home")
    command(
        "few-shot", pairs, "--role", "captioner", "--model", built("blip-2"), "--name", "words",
        "--method", "lora", "--rank", 16, "--max-steps", 60, *TINY, "--lr", 0.006, "--set",
        "lora.projector_lr=0.002", "--set", "evaluation.controls=false", home=home,
    )  # fmt: skip
    return home


def settings(source: Path, model: Path | None = None, **values: object) -> Settings:
    keys = {name.replace("__", "."): value for name, value in values.items()}
    base = {"role": "captioner", "data.source": str(source), "data.task": "caption"}
    model = model or built("blip-2")
    return load_settings(with_assignments({}, {**base, "model.captioner": str(model), **keys}))


def rows_of(wanted: Settings) -> tuple[Row, ...]:
    return gather(wanted.data, load_config()).rows


@pytest.fixture(scope="module")
def learner(pairs: Path) -> CaptionLearner:
    wanted = settings(pairs)
    return CaptionLearner(wanted, rows_of(wanted))


def test_it_learns_its_users_words_through_the_command_line(home: Path) -> None:
    results = read(run_folder(home, "words") / "results.json")
    moved = {s["part"]: s["trained"] for s in results["model"]["trained"]}
    assert moved["language model"] > 0 and moved["projector"] > 0 and moved["vision tower"] == 0
    losses = [e["loss"] for e in events(home, "words")]
    assert len(losses) == 60 and losses[0] > 4 and max(losses[-4:]) < 0.5
    figures = {name: results["figures"][name] for name in ("base", "trained")}
    assert figures["base"]["exact_match"]["value"] == 0.0
    assert figures["trained"]["exact_match"]["value"] >= 0.75
    likelihood = [figures[name]["log_likelihood"]["value"] for name in ("base", "trained")]
    assert likelihood[0] < -4 and likelihood[1] > -0.5


def test_the_assistant_speaks_as_it_has_learned_once_it_is_activated(
    home: Path, tmp_path: Path
) -> None:
    picture("disc", 500).save(tmp_path / "new.png")
    (told,) = json.loads(command("predict", "words", tmp_path / "new.png", home=home))
    assert told["answer"] == CAPTIONS["disc"]
    command("publish", "words", home=home)
    photo = open_photo(picture("disc", 500))
    models = open_models(load_config(home=home, captioner=str(built("blip-2"))))
    assert models.captioner.caption(photo) not in CAPTIONS.values()
    command("shelf", "use", "words", home=home)
    assert models.captioner.caption(photo) == CAPTIONS["disc"]


def test_it_is_exported_for_transformers_alone(home: Path, tmp_path: Path) -> None:
    done = json.loads(command("export", "words", "--to", tmp_path / "out", "--json", home=home))
    assert done["off"] <= done["tolerance"] == 1e-3


def test_a_captions_words_and_end_are_supervised_and_no_place_of_the_picture(
    learner: CaptionLearner,
) -> None:
    rows = rows_of(learner.settings)
    two = [next(r for r in rows if r.answer == CAPTIONS[kind]) for kind in ("disc", "box")]
    batch = learner.collate([Shown(row) for row in two])
    config, tokenizer = learner.model.config, learner.captioner.tokenizer
    for number, row in enumerate(two):
        ids, labels = batch["input_ids"][number], batch["labels"][number]
        assert (ids == config.image_token_id).sum() == config.num_query_tokens
        assert (labels[ids == config.image_token_id] == IGNORED).all()
        assert (labels[batch["attention_mask"][number] == 0] == IGNORED).all()
        assert tokenizer.decode(labels[labels != IGNORED]) == f"{row.answer}</s>"
        assert (labels == IGNORED).sum() == len(ids) - len(row.answer or "") - 1
        # What generate() begins with: the picture's places and the start.
        assert tokenizer.decode(ids[: config.num_query_tokens + 1]) == "<image>" * 4 + "</s>"
    learner.adapted.model.eval()
    given = {name: value for name, value in batch.items() if name != "labels"}
    logits = learner.adapted.model(**given).logits[:, :-1].flatten(0, 1)
    whole = F.cross_entropy(logits, batch["labels"][:, 1:].flatten())
    assert learner.loss(batch).item() == pytest.approx(whole.item(), rel=1e-5)


def test_what_means_something_to_the_model_is_no_word_of_a_caption(learner: CaptionLearner) -> None:
    row = Row(Path("a.png"), None, DESCRIBE, "a <image>\ndisc</s><pad>", photo_id="a")
    *words, end = learner.ids(row)[len(learner.speaker.before) :]
    assert learner.captioner.tokenizer.decode(words).split() == ["a", "disc"]
    assert not learner.speaker.marks & set(words) and end == learner.speaker.end


MOVING = {
    "lora": {"language model"},
    "qlora": {"language model"},
    "projector": {"projector"},
    "full": {"language model"},
}


@pytest.mark.parametrize("method", list(MOVING))
def test_what_moves_is_what_the_method_says(method: str, pairs: Path, tmp_path: Path) -> None:
    wanted = settings(pairs, method=method, training__max_steps=3, training__lr=0.01)
    rows = rows_of(wanted)
    learner = CaptionLearner(wanted, rows)
    before = {n: p.detach().clone() for n, p in learner.adapted.model.named_parameters()}
    learner.fit(rows, [], Session(tmp_path, EventLog(tmp_path / "events.jsonl")), 0)
    moved = {
        n for n, p in learner.adapted.model.named_parameters() if not torch.equal(p, before[n])
    }
    assert {share.part for share in learner.adapted.shares() if share.trained} == MOVING[method]
    assert moved and not [n for n in moved if "vision_model" in n]
    if method in ("lora", "qlora"):
        assert all(".language_model." in n and ".lora_" in n for n in moved)
        assert len([n for n in moved if "lora_B" in n]) == 12  # six of both layers
    elif method == "projector":
        assert all("qformer" in n or "language_projection" in n or "query" in n for n in moved)
    else:
        assert all(n.startswith("language_model.") for n in moved)


def test_a_projector_in_half_precision_speaks_before_it_trains_and_after(
    pairs: Path, tmp_path: Path
) -> None:
    """What trains is float32 only while it does; the first weight of a BLIP-2 is one of those."""
    wanted = settings(pairs, method="projector", training__max_steps=2)
    speaker = open_speaker(wanted)
    speaker.captioner.model.to(torch.bfloat16)
    half = replace(speaker, hardware=Hardware("cpu", "bfloat16", "as on a GPU"))
    rows = rows_of(wanted)
    learner = CaptionLearner(wanted, rows, half)
    session = Session(tmp_path, EventLog(tmp_path / "events.jsonl"))
    before = learner.predict(rows[:1], session, base=True)
    learner.fit(rows, [], session, 0)
    assert {p.dtype for _, p in learner.adapted.trained()} == {torch.bfloat16}
    assert learner.predict(rows[:1], session, base=True)[0].likelihood == before[0].likelihood
    assert learner.predict(rows[:1], session)[0].likelihood != before[0].likelihood


def test_what_is_not_trained_to_caption_is_refused_before_it_is_loaded(
    pairs: Path, tmp_path: Path
) -> None:
    def refused(kind: str, match: str, **values: object) -> None:
        folder = shutil.copytree(built(kind), tmp_path / f"{kind}-{len(list(tmp_path.iterdir()))}")
        config = json.loads((folder / "config.json").read_text())
        if "text_config" in values:
            config["text_config"] = values.pop("text_config")
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "model.safetensors").write_bytes(b"no weights")  # so that loading them fails
        wanted = settings(pairs, folder, **values)
        for try_it in (forecast, CaptionLearner):
            with pytest.raises(SettingsError, match=match):
                try_it(wanted, rows_of(wanted))

    refused("git", "is a git model, and only a BLIP or a BLIP-2 is trained to caption")
    refused("blip", "is trained by lora or full, not by qlora", method="qlora")
    refused("blip", "is trained by lora or full, not by projector", method="projector")
    refused("blip-2", "writes with a t5 model, and only one", text_config={"model_type": "t5"})
