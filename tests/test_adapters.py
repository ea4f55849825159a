"""The adapter in use: noticed, checked, swapped, and what its word is worth beside memory."""

import json
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file

from assistant import open_assistant
from finetune.shelf import activate
from tests.desk import Workbench
from tests.finetune_data import TINY, class_folders, command, picture
from tests.tiny_models import built
from tests.training_parts import shelve
from tools.adapted import voted
from tools.artifacts import Answer, Candidate, Recognition
from tools.config import load_config
from tools.errors import TrainingFailed
from tools.forms import named_class
from tools.images import open_photo
from tools.models import Models, open_models
from tools.shelf import deactivate

DISC, BOX = picture("disc", 77), picture("box", 77)
ASK = "what is this?"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shelf with ``real``, which was trained to tell discs from boxes."""
    home = tmp_path_factory.mktemp("trained")
    command(
        "few-shot", class_folders(home / "in", 6), "--model", built("llava"), "--name", "real",
        "--epochs", 14, "--set", "data.folds=2", "--publish", *TINY, home=home,
    )  # fmt: skip
    return home / "adapters"


@pytest.fixture
def shelf(source: Path, home: Path) -> Path:
    shutil.copytree(source, home / "adapters")
    return home / "adapters"


@pytest.fixture
def models(home: Path) -> Models:
    return open_models(load_config(home=home, answerer=str(built("llava"))))


@pytest.fixture
def bench(home: Path, models: Models) -> Iterator[Workbench]:
    opened = Workbench(home, models)
    for kind in ("disc", "box"):
        opened.call("teach_label", *(picture(kind, i) for i in range(4)), label=kind)
    yield opened
    opened.close()


def base_of(models: Models) -> dict[str, str]:
    return {"base_id": models.answerer.id}


def changed_projector(shelf: Path, models: Models, name: str, **manifest: object) -> None:
    """An adapter that replaces the projector by another one."""
    folder = shelf / name
    folder.mkdir(parents=True)
    own = models.answerer.model.named_parameters()  # type: ignore[attr-defined]
    other = {n: p.detach() * -3 for n, p in own if "projector" in n}
    assert other
    save_file({n: p.contiguous() for n, p in other.items()}, folder / "weights.safetensors")
    shelve(folder, **{**base_of(models), **manifest})


def changed_lora(shelf: Path, models: Models, name: str, **manifest: object) -> None:
    """An adapter that was not trained: random LoRA matrices, and a copy of the projector."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        config = LoraConfig(
            target_modules=r".*language_model.*\.q_proj",
            modules_to_save=["multi_modal_projector"],
            init_lora_weights=False,
            task_type="CAUSAL_LM",
        )
        model = models.answerer.model  # type: ignore[attr-defined]
        get_peft_model(model, config).save_pretrained(shelf / name)
    shelve(shelf / name, **{**base_of(models), "method": "lora", **manifest})


def answers(models: Models) -> list[str]:
    """What is answered with the adapter in use, and then without any."""
    current, photo = models.adapters.current(), open_photo(DISC)
    said = [] if current is None else [models.adapters.answer(current, photo, ASK)]
    return [*said, models.answerer.answer(photo, ASK)]


def test_what_is_trained_acts_only_when_asked_and_comes_off_again(
    shelf: Path, models: Models
) -> None:
    model = models.answerer.model  # type: ignore[attr-defined]
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    (plain,) = answers(models)
    for method in ("projector", "lora"):
        folder = shelf / f"{method}-too"
        if method == "projector":
            changed_projector(shelf, models, folder.name)
            continue
        other = open_models(load_config(answerer=str(built("llava"))))
        changed_lora(shelf, other, folder.name)
    for name in ("projector-too", "real", "lora-too", "real"):
        assert models.adapters.use(name).name == name
        adapted, after = answers(models)
        assert adapted != plain and after == plain
    assert answers(models)[0] == "disc"
    assert models.adapters.stop() == "real" and not (shelf / "active.json").exists()
    now = model.state_dict()
    assert now.keys() == before.keys() and all(now[n].equal(before[n]) for n in before)


def test_an_adapter_of_4_bit_weights_needs_them(shelf: Path, home: Path, models: Models) -> None:
    config = load_config(home=home, answerer=str(built("llava")), quantize=True)
    made, small = open_models(config), open_models(config)
    precision = made.answerer.precision  # type: ignore[attr-defined]
    assert precision.startswith("nf4, computing in ")
    changed_lora(shelf, made, "four", method="qlora", precision=precision)
    (plain,) = answers(small)
    small.adapters.use("four")
    adapted, after = answers(small)
    assert adapted != plain and after == plain
    with pytest.raises(TrainingFailed, match="was trained on weights in nf4"):
        models.adapters.use("four")
    with pytest.raises(TrainingFailed, match="was trained on weights in float32"):
        small.adapters.use("real")
    current = small.adapters.current()
    assert current is not None and current.name == "four"
    small.adapters.stop()
    assert answers(small) == [plain]


def test_what_is_activated_elsewhere_is_noticed_and_told_once(
    bench: Workbench, shelf: Path, models: Models
) -> None:
    assert bench.call("answer_question", DISC, question=ASK).count("adapter") == 0
    activate(shelf, "real")
    said = bench.call("answer_question", DISC, question="What is this?")
    assert said == "Disc.\nI now use the adapter real."
    (answer,) = bench.artifacts
    assert isinstance(answer, Answer) and (answer.text, answer.adapter) == ("disc", "real")
    assert bench.call("answer_question", DISC, question=ASK) == "Disc."
    bench.call("answer_question", DISC, question="how many are there?")  # not what it learned
    (answer,) = bench.artifacts
    assert isinstance(answer, Answer) and not answer.adapter
    deactivate(shelf)
    assert "I no longer use the adapter real." in bench.call("classify_image", DISC)
    assert models.adapters.current() is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"base_id": "llava-0badcafe"}, "the answerer that runs is llava-"),
        ({"precision": "nf4, computing in bfloat16"}, "(--quantize for nf4)"),
        ({"format": 1}, "has a manifest of format 1"),
        ({"question": None, "prompt": None}, "lacks what is needed to use it"),
        ({"files": {}}, "neither adapter_model.safetensors nor"),
        ({"files": {"weights.safetensors": "0" * 64}}, "weights.safetensors is missing or altered"),
        ({"method": "linear"}, "a classifier on the embedder (linear)"),
    ],
)
def test_one_that_does_not_fit_is_explained_once_and_the_old_one_stays(
    changes: dict[str, object], words: str, shelf: Path, models: Models
) -> None:
    models.adapters.use("real")
    changed_projector(shelf, models, "other", **changes)
    if changes == {"files": {}}:
        (shelf / "other" / "weights.safetensors").unlink()
    with pytest.raises(TrainingFailed) as refused:
        models.adapters.use("other")
    assert words in str(refused.value)
    assert json.loads((shelf / "active.json").read_text())["answerer"] == "real"
    (shelf / "active.json").write_text(json.dumps({"adapter": "other"}))
    current = models.adapters.current()
    assert current is not None and current.name == "real" and answers(models)[0] == "disc"
    told = models.adapters.news()
    assert words in told and told.endswith("I go on with real.") and not models.adapters.news()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"adapter": "../x"}', '{"adapter": 3}'])
def test_a_damaged_active_json_is_explained(text: str, shelf: Path, models: Models) -> None:
    (shelf / "active.json").write_text(text)
    assert models.adapters.current() is None
    assert "active.json" in models.adapters.news()


def test_weights_of_another_shape_leave_the_old_one(shelf: Path, models: Models) -> None:
    models.adapters.use("real")
    changed_projector(shelf, models, "other")
    own = dict(models.answerer.model.named_parameters())  # type: ignore[attr-defined]
    name = next(n for n in own if "projector" in n and own[n].ndim == 2)
    weights = {name: own[name].detach()[:-1].contiguous()}
    save_file(weights, shelf / "other" / "weights.safetensors")
    shelve(shelf / "other", **base_of(models))
    with pytest.raises(TrainingFailed, match="does not fit the answerer that runs"):
        models.adapters.use("other")
    current = models.adapters.current()
    assert current is not None and current.name == "real" and answers(models)[0] == "disc"


def test_a_vote_decides_between_labels_and_never_against_memory(
    bench: Workbench, shelf: Path, models: Models
) -> None:
    share = {"value": 0.9, "low": 0.8, "high": 0.95, "n": 38}  # (34.2 + 1) / (38 + 2) = 0.88
    manifest = json.loads((shelf / "real" / "manifest.json").read_text())
    manifest |= {"worth_using": True, "metrics": {"trained": {"generated_accuracy": share}}}
    (shelf / "real" / "manifest.json").write_text(json.dumps(manifest))
    models.adapters.use("real")
    photo = open_photo(DISC)
    desk = bench.desk([DISC])

    def after(**shares: float) -> Recognition:
        found = Recognition(
            photo.id,
            "ambiguous",
            tuple(Candidate(n, p) for n, p in sorted(shares.items(), key=lambda x: -x[1])),
            "taught",
            unknown=1 - sum(shares.values()),
        )
        return voted(desk, photo, found)

    even = after(box=0.4, disc=0.4)
    assert (even.decision, even.vote, even.adapter) == ("known", "disc", "real")
    assert [c.name for c in even.candidates] == ["disc", "box"]
    assert even.candidates[0].probability == pytest.approx(0.8 * 0.88)
    assert even.unknown == pytest.approx(0.2) and even.alone == "box"
    sure = after(box=0.99, disc=0.005)
    assert sure.label == "box" and sure.vote == "disc" and not sure.alone
    other = after(box=0.2, disc=0.2, hat=0.4)  # of hats it knows nothing: 1/2 for 0.88 and 0.12
    hat = next(c.probability for c in other.candidates if c.name == "hat")
    assert hat == pytest.approx(0.8 * 0.2 / (0.2 + 0.2 * 0.88 + 0.2 * 0.12))
    unknown = Recognition(photo.id, "unknown", (Candidate("box", 0.1), Candidate("disc", 0.1)),
                          "taught", unknown=0.8)  # fmt: skip
    assert voted(desk, photo, unknown) is unknown
    assert voted(desk, photo, (mine := after(disc=0.8))) == mine and not mine.vote
    taught = open_photo(picture("box", 0))
    said = Recognition(taught.id, "known", (Candidate("box", 0.5), Candidate("disc", 0.4)),
                       "taught")  # fmt: skip
    assert voted(desk, taught, said) is said
    (shelf / "real" / "manifest.json").write_text(json.dumps(manifest | {"worth_using": False}))
    models.adapters.use("real")
    assert not after(box=0.4, disc=0.4).vote


def test_an_adapter_that_answers_questions_answers_all_of_them(
    home: Path, shelf: Path, models: Models
) -> None:
    share = {"value": 0.9, "low": 0.7, "high": 0.97, "n": 20}
    data = {"source": "rows.jsonl", "train": {}}
    changed_projector(
        shelf, models, "asked", classes=[], question=None, data=data,
        metrics={"trained": {"exact_match": share}},
    )  # fmt: skip
    with open_assistant(home=home, models=models) as imprint:
        plain = imprint.answer(DISC, "how many?")
        models.adapters.use("asked")
        step = imprint.call("answer_question", [DISC], question="how many?")
        (answer,) = step.artifacts
        assert isinstance(answer, Answer) and answer.adapter == "asked" and answer.text != plain
        assert imprint.answer(DISC, "how many?") == answer.text


def test_a_class_is_found_in_a_free_answer() -> None:
    assert named_class("Ankle boot.", ["boot", "ankle boot"]) == "ankle boot"
    assert named_class("a zorb or a blick", ["zorb", "blick"]) is None
    form = "Reasoning: {description} Answer: {label}"
    assert named_class("Reasoning: no blick. Answer: zorb", ["zorb", "blick"], form) == "zorb"
