"""The captioner and the embedder are trained for real: tiny models, through the command line."""

import json
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor, CLIPModel

from finetune.data import gather, make_plan
from finetune.events import EventLog
from finetune.learners.captioning import CaptionLearner
from finetune.learners.contrastive import EmbedderLearner, contrastive_loss
from finetune.learners.learner import Session, Stopped
from finetune.pipeline import make_learner
from finetune.settings.files import load_settings
from finetune.settings.schema import Settings, TrainingSettings
from finetune.training.collate import Shown
from finetune.training.loop import last_checkpoint
from finetune.vlm import IGNORED
from tests.finetune_data import TINY, class_folders, command, events, picture, read, run_folder
from tests.roles_data import CAPTIONS, embedder_trained
from tests.tiny_models import built
from tools.config import load_config
from tools.errors import DataError, SettingsError
from tools.models.captioner import load_captioner
from tools.shelf import Adapter

QUICK = (*TINY, "--set", "evaluation.controls=false")


@pytest.fixture(scope="module")
def home(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the finished runs ``words`` of a captioner and ``eyes`` of an embedder."""
    home = tmp_path_factory.mktemp("home")
    command(
        "few-shot", pairs, "--role", "captioner", "--captioner", built("blip"), "--name", "words",
        "--method", "lora", "--rank", 16, "--epochs", 24, *QUICK, "--lr", 0.004, home=home,
    )  # fmt: skip
    embedder_trained(home, "eyes")
    return home


def settings(role: str, source: Path, **model: str) -> Settings:
    task = "caption" if role == "captioner" else "auto"
    return load_settings({
        "role": role, "model": model, "data": {"source": str(source), "task": task},
    })  # fmt: skip


def captioner(source: Path, **values: object) -> CaptionLearner:
    wanted = settings("captioner", source, captioner=str(built("blip"))).model_copy(update=values)
    return CaptionLearner(wanted, gather(wanted.data, load_config()).rows)


def embedder(source: Path, kind: str = "clip") -> EmbedderLearner:
    wanted = settings("embedder", source, embedder=str(built(kind)))
    table = gather(wanted.data, load_config())
    plan = make_plan(table, wanted.data)
    made = make_learner(wanted, table, plan)
    assert isinstance(made, EmbedderLearner)
    return made


def value(home: Path, run: str, column: str, figure: str) -> float:
    return float(read(run_folder(home, run) / "metrics.json")[column][figure]["value"])


def test_a_tiny_captioner_learns_its_users_words(home: Path) -> None:
    results = read(run_folder(home, "words") / "results.json")
    assert [s["part"] for s in results["model"]["trained"] if s["trained"]] == ["text decoder"]
    assert results["pictures"] == {"train": 16, "validation": 0, "measured": 8}
    assert value(home, "words", "trained", "exact_match") >= 0.875
    assert value(home, "words", "base", "exact_match") == 0.0
    likelihood = [value(home, "words", c, "log_likelihood") for c in ("base", "trained")]
    assert likelihood[0] < -4 and likelihood[1] > -0.5
    losses = [e["loss"] for e in events(home, "words")]
    assert len(losses) == 96 and losses[-1] < 0.5 < 4 < losses[0]
    said = command("predict", "words", run_folder(home, "words") / "nowhere", home=home, fails=1)
    assert "There is no" in said


def test_a_trained_captioner_is_asked_for_captions(home: Path, tmp_path: Path) -> None:
    picture("disc", 500).save(tmp_path / "new.png")
    (found,) = json.loads(command("predict", "words", tmp_path / "new.png", home=home))
    assert found["answer"].startswith("a big") and CAPTIONS["disc"].startswith(found["answer"])


def test_both_are_exported_for_transformers_alone(home: Path, tmp_path: Path) -> None:
    """What is read back speaks and sees as the adapter did, without PEFT."""
    for run in ("words", "eyes"):
        done = json.loads(command("export", run, "--to", tmp_path / run, "--json", home=home))
        assert done["off"] <= done["tolerance"] == 1e-3
        assert not any("lora" in name for name in load_file(tmp_path / run / "model.safetensors"))
    picture("disc", 500).save(tmp_path / "new.png")
    image = Image.open(tmp_path / "new.png")
    (told,) = json.loads(command("predict", "words", tmp_path / "new.png", home=home))
    speaker = AutoModelForImageTextToText.from_pretrained(tmp_path / "words", dtype=torch.float32)
    reader = AutoProcessor.from_pretrained(tmp_path / "words")
    said = speaker.eval().generate(**reader(images=image, return_tensors="pt"), max_new_tokens=16)
    assert reader.decode(said[0], skip_special_tokens=True) == told["answer"]
    eyes = CLIPModel.from_pretrained(tmp_path / "eyes", dtype=torch.float32).eval()
    before = CLIPModel.from_pretrained(built("clip"), dtype=torch.float32).eval()
    pixels = AutoProcessor.from_pretrained(tmp_path / "eyes")(images=image, return_tensors="pt")
    with torch.inference_mode():
        now, then = (m.get_image_features(**pixels).pooler_output for m in (eyes, before))
    assert not torch.allclose(now, then, atol=1e-3), "the vision tower was adapted"


def test_a_captions_words_and_end_are_supervised_and_nothing_else(pairs: Path) -> None:
    learner = captioner(pairs)
    rows = gather(learner.settings.data, load_config()).rows
    two = [next(r for r in rows if r.answer == CAPTIONS[kind]) for kind in ("disc", "box")]
    batch = learner.collate([Shown(row) for row in two])
    tokenizer = learner.captioner.tokenizer
    for number, row in enumerate(two):
        ids, labels = batch["input_ids"][number], batch["labels"][number]
        assert tokenizer.decode(ids[:1]) == "[DEC]" and labels[0] == IGNORED
        assert tokenizer.decode(labels[labels != IGNORED]) == f"{row.answer} [SEP]"
        assert torch.equal(ids[labels != IGNORED], labels[labels != IGNORED])
        assert batch["attention_mask"][number].sum() == (labels != IGNORED).sum() + 1
    whole = learner.loss(batch).item()
    one = {name: rows[:1] for name, rows in batch.items()}
    spoilt = {**one, "input_ids": one["input_ids"].clone()}
    spoilt["input_ids"][0, -1] = tokenizer.convert_tokens_to_ids("cat")  # padding, or the end
    assert whole > 0 and learner.loss(one).item() == pytest.approx(learner.loss(spoilt).item())


@pytest.mark.parametrize("method", ["lora", "full"])
def test_of_a_captioner_the_decoder_moves_and_nothing_else(
    method: str, pairs: Path, tmp_path: Path
) -> None:
    learner = captioner(pairs, method=method)
    before = {n: p.detach().clone() for n, p in learner.model.named_parameters()}
    optimizer = torch.optim.SGD([p for _, p in learner.adapted.trained()], lr=0.5)
    rows = gather(learner.settings.data, load_config()).rows[:4]
    for _ in range(2):
        optimizer.zero_grad()
        learner.loss(learner.collate([Shown(row) for row in rows])).backward()
        optimizer.step()
    changed = learner.loss(learner.collate([Shown(row) for row in rows])).item()
    names = {
        n for n, p in learner.model.named_parameters() if not torch.equal(before.get(n, -p), p)
    }
    assert names and all("text_decoder" in n for n in names)
    assert all(".lora_" in n for n in names) or method == "full"
    learner.save(tmp_path)
    assert (tmp_path / "weights.safetensors").exists() is (method == "full")
    again = captioner(pairs, method=method)
    again.load(tmp_path)
    same = again.loss(again.collate([Shown(row) for row in rows])).item()
    assert same == pytest.approx(changed, rel=1e-5)
    adapter = Adapter(
        "it", tmp_path, "captioner", "", "tiny", learner.located.id(), "float32", True, ""
    )
    worn, photo = load_captioner(learner.located, adapter=adapter), rows[0].photo()
    with learner.adapted.without():
        plain = learner.captioner.caption(photo)
    assert worn.caption(photo) == learner.captioner.caption(photo) != plain


def test_a_training_that_was_stopped_goes_on_where_it_was(pairs: Path, tmp_path: Path) -> None:
    rows = gather(captioner(pairs).settings.data, load_config()).rows
    rows = tuple(row for row in rows if row.split == "train")
    short = TrainingSettings(max_steps=8, batch=4, lr=0.004, save_steps=3)

    def learned(folder: Path, *, stop_at: int) -> list[torch.Tensor]:
        stop = Event()

        def told(event: dict[str, object]) -> None:
            if event.get("step") == stop_at:
                stop.set()

        for attempt in range(2):
            learner = captioner(pairs, training=short)
            log = EventLog(folder / "events.jsonl")
            session = Session(folder, log, stop if attempt == 0 else Event(), told)
            try:
                learner.fit(rows, [], session, 0)
                break
            except Stopped:
                kept = last_checkpoint(folder / "checkpoints" / "fold-0")
                assert kept is not None
                assert all(".lora_" in name for name in load_file(kept / "model.safetensors"))
        assert [e["step"] for e in log.read("step")] == list(range(1, 9))
        return [p.detach() for _, p in learner.adapted.trained()]

    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole, parts = (
        learned(tmp_path / name, stop_at=at) for name, at in (("whole", 99), ("parts", 5))
    )
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(whole, parts, strict=True))


def test_a_tiny_embedder_tells_apart_by_name_what_it_confused(home: Path) -> None:
    results = read(run_folder(home, "eyes") / "results.json")
    moved = {s["part"]: s["trained"] for s in results["model"]["trained"]}
    assert moved["vision tower"] > 0 and moved["language model"] > 0 and moved["other"] == 0
    assert value(home, "eyes", "base", "accuracy_by_name") <= 0.5
    assert value(home, "eyes", "trained", "accuracy_by_name") == 1.0
    assert value(home, "eyes", "trained", "accuracy") == 1.0
    assert set(results["figures"]) == {"trained", "base", "exemplars"}
    best = run_folder(home, "eyes") / "best_model"
    assert {"adapter_model.safetensors", "background.npz"} <= {p.name for p in best.iterdir()}


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_an_embedder_learns_which_caption_is_whose(kind: str, pairs: Path, tmp_path: Path) -> None:
    out = json.loads(command(
        "few-shot", pairs, "--role", "embedder", "--embedder", built(kind), "--name", "p",
        "--max-steps", 30, "--json", *QUICK, home=tmp_path,
    ))  # fmt: skip
    losses = [e["loss"] for e in events(tmp_path, "p")]
    assert sum(losses[-5:]) < sum(losses[:5]) * (0.5 if kind == "clip" else 0.7)
    if kind == "clip":  # SigLIP, as it starts here, wants more steps
        assert out["figures"]["trained"]["exact_match"]["value"] == 1.0
        assert out["figures"]["base"]["exact_match"]["value"] <= 0.5


def test_pictures_of_one_class_are_not_told_apart() -> None:
    torch.manual_seed(0)
    pictures, texts = (F.normalize(torch.randn(n, 8), dim=-1) for n in (4, 3))
    own = torch.tensor([0, 0, 2, 1])
    found = contrastive_loss(pictures, texts, own, 10.0)
    cosines = 10 * pictures @ texts.T
    forward = F.cross_entropy(cosines, own)
    backward = []
    for i, text in enumerate(own.tolist()):
        rivals = [j for j in range(4) if j == i or own[j] != text]
        logits = cosines[rivals, text]
        backward.append(-torch.log_softmax(logits, 0)[rivals.index(i)])
    assert found == pytest.approx(float((forward + torch.stack(backward).mean()) / 2), rel=1e-5)
    alone = contrastive_loss(pictures[:2], texts[:1], own[:2], 10.0)
    assert float(alone) == pytest.approx(0, abs=1e-6)
    sigmoid = contrastive_loss(pictures, texts, own, 10.0, -3.0)
    signs = torch.where(own[:, None] == torch.arange(3), 1.0, -1.0)
    assert sigmoid == pytest.approx(float(-F.logsigmoid(signs * (cosines - 3)).sum() / 4), rel=1e-5)


def test_names_are_compared_as_the_assistant_says_them(tmp_path: Path) -> None:
    learner = embedder(class_folders(tmp_path, each=2))
    rows = gather(learner.settings.data, load_config()).rows
    batch = learner.collate([Shown(row) for row in rows])
    assert batch["labels"].tolist() == [("box", "disc").index(str(r.label)) for r in rows]
    assert len(batch["text_input_ids"]) == 4  # of each name, every template
    sight = learner._sight(base=True)
    vectors = torch.tensor(np.stack(sight.vectors([r.photo() for r in rows])))
    names = torch.tensor(sight.words(["box", "disc"]))
    expected = contrastive_loss(vectors, names, batch["labels"], learner.embedder.logit_scale)
    learner.adapted.model.eval()
    assert learner.loss(batch).item() == pytest.approx(expected.item(), rel=1e-4)


def test_what_a_role_cannot_learn_from_is_refused_in_a_sentence(
    pairs: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="trained by lora or qlora or projector or full, not"):
        load_settings({"role": "captioner", "method": "linear"})
    classes = class_folders(tmp_path / "in", each=3)
    with pytest.raises(DataError, match="has no caption, and a captioner learns from nothing else"):
        captioner(classes)
    other = settings("captioner", pairs, captioner=str(built("git")))
    with pytest.raises(SettingsError, match="is a git model, and only a BLIP"):
        CaptionLearner(other, gather(other.data, load_config()).rows)
    rows = [{"image": str(next(classes.rglob("*.png"))), "question": "how many?", "answer": "2"}]
    (tmp_path / "asked.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError, match="has questions and answers, and an embedder learns from"):
        asked = settings("embedder", tmp_path / "asked.jsonl", embedder=str(built("clip")))
        EmbedderLearner(asked, gather(asked.data, load_config()), [])
    long = [{"image": rows[0]["image"], "caption": "a " * 90}]
    (tmp_path / "long.jsonl").write_text("\n".join(map(json.dumps, long)))
    with pytest.raises(DataError, match="its caption takes 92 tokens, and 64 fit"):
        captioner(tmp_path / "long.jsonl")


def test_captions_are_read_from_every_layout(tmp_path: Path) -> None:
    picture("disc", 0).save(tmp_path / "a.png")

    def texts(name: str, content: object, **data: str) -> list[str | None]:
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / name).write_text(text)
        source = {"source": str(tmp_path / name), "task": "caption", **data}
        rows = gather(load_settings({"data": source}).data, load_config()).rows
        assert all(row.is_caption for row in rows)
        return [row.answer for row in rows]

    assert texts("a.csv", "image,label,caption\na.png,disc,a big circle\n") == ["a big circle"]
    assert texts("b.csv", "image,mine\na.png,so big\n", caption_column="mine") == ["so big"]
    several = [{"image": "a.png", "captions": ["one", "two"]}]
    assert texts("c.json", several) == ["one", "two"]
    coco = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [{"image_id": 1, "caption": c} for c in ("here", "there")],
    }
    assert texts("d.json", coco) == ["here", "there"]
    assert texts("e.csv", "image,caption\na.png,alone\n", task="auto") == ["alone"]
    with pytest.raises(DataError, match=r"no column for a caption .* --caption-column"):
        texts("f.csv", "image,label\na.png,disc\n")
