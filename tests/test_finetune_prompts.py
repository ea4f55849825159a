"""What a model is asked and answers: the form, the reason before a class, what is learned of it."""

import json
from pathlib import Path

import pytest
import torch

from finetune.data import Row
from finetune.evaluation.scoring import AnswerScorer
from finetune.prompts import Prompts
from finetune.runs import open_run
from finetune.settings.files import load_settings, with_assignments
from finetune.settings.schema import PromptSettings, Settings
from finetune.training.collate import Collator, RowDataset
from finetune.vlm import IGNORED, Vlm, open_vlm
from tests.finetune_data import TINY, class_folders, command, picture, read, run_folder
from tests.tiny_models import built
from tools.config import load_config
from tools.errors import DataError, SettingsError
from tools.images import open_photo
from tools.memory import MemoryHome

MOON = PromptSettings(
    question="which of {classes}? {descriptions}",
    system="You look at the moon.",
    answer="Reasoning: {description} Answer: {label}",
    descriptions={"crater": "a ring.", "ridge": "a line."},
)
REASONED = PromptSettings(answer="Reasoning: {reasoning} Answer: {label}")
WHY = {"disc": "it is round.", "box": "it has corners."}


def row(label: str, reasoning: str | None = None) -> Row:
    return Row(Path("x.png"), label=label, reasoning=reasoning, photo_id="x")


def tiny(kind: str) -> Vlm:
    return open_vlm(load_settings(with_assignments({}, {"model.answerer": str(built(kind))})))


def test_a_class_is_read_out_of_a_free_answer() -> None:
    prompts = Prompts(PromptSettings(), ["boot", "ankle boot", "bag"])
    for text, name in {
        "Ankle boot.": "ankle boot",
        "it is a boot": "boot",
        "an ankle boot": "ankle boot",
        "a bag or a boot": None,
        "a handbag": None,
        "": None,
    }.items():
        assert prompts.parse(text) == name, text


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("Reasoning: {description} Answer: {label}", "Reasoning: no crater here. Answer: ridge"),
        ("Answer: {label}. Reasoning: {description}", "Answer: ridge. Reasoning: no crater here"),
        ("It is a {label}", "It is a ridge"),
        ("{label}, for {description}", "ridge, for it is no crater"),
    ],
)
def test_only_what_stands_in_the_place_of_the_class_counts(form: str, said: str) -> None:
    prompts = Prompts(MOON.model_copy(update={"answer": form}), ["crater", "ridge"])
    assert prompts.parse(said) == "ridge"


def test_an_answer_may_give_a_reason_first() -> None:
    prompts = Prompts(MOON, ["crater", "ridge"])
    assert prompts.answer(row("ridge")) == "Reasoning: a line. Answer: ridge"
    assert prompts.asked(row("ridge")) == (
        "You look at the moon. which of crater, ridge? crater: a ring.; ridge: a line."
    )
    assert prompts.scored("ridge") == "ridge"
    assert prompts.lead("Reasoning: round. Answer: ridge") == "Reasoning: round. Answer: "
    assert prompts.lead("Reasoning: it never ends") == "Reasoning: it never ends Answer: "
    assert prompts.lead() == "Answer: "
    with pytest.raises(SettingsError, match="there is none for plain"):
        Prompts(MOON, ["crater", "plain", "ridge"])
    with pytest.raises(SettingsError, match="no class is called ridge"):
        Prompts(MOON, ["crater"])
    assert Prompts(Settings().prompt, []).question == "what is this?"
    with pytest.raises(SettingsError, match="needs a word between the reason and"):
        load_settings({"prompt": {"answer": "{reasoning}, {label}"}})


def test_what_is_filled_in_is_never_read_as_a_form() -> None:
    sly = MOON.model_copy(update={"descriptions": {"crater": "{label}", "ridge": "{classes}"}})
    prompts = Prompts(sly, ["crater", "ridge"])
    assert prompts.answer(row("crater")) == "Reasoning: {label} Answer: crater"
    assert prompts.question.endswith("crater: {label}; ridge: {classes}")


def test_a_reason_that_the_source_does_not_give_is_asked_for() -> None:
    prompts = Prompts(REASONED, ["box", "disc"])
    assert prompts.answer(row("disc", "round.")) == "Reasoning: round. Answer: disc"
    with pytest.raises(DataError, match=r"gives none for this picture.*--reasoning-column"):
        prompts.answer(row("disc"))


@pytest.mark.parametrize("kind", ["llava", "idefics3"])
@pytest.mark.parametrize("form", [MOON, REASONED, PromptSettings(answer="It is a {label}.")])
def test_the_reason_and_the_class_are_supervised_and_the_question_is_not(
    kind: str, form: PromptSettings, tmp_path: Path
) -> None:
    vlm = tiny(kind)
    said = {name: WHY[name] for name in ("box", "disc")}
    form = form.model_copy(update={"descriptions": said if form.descriptions else {}})
    prompts = Prompts(form, ["box", "disc"])
    picture("disc", 0).save(tmp_path / "a.png")
    photo = open_photo(tmp_path / "a.png")
    one = Row(tmp_path / "a.png", label="disc", reasoning=WHY["disc"], photo_id=photo.id)
    batch = Collator(vlm, prompts)([RowDataset([one])[0]])
    labels, ids = batch["labels"][0], batch["input_ids"][0]
    learned = (labels != IGNORED).nonzero().flatten()
    words = "It is a disc." if not prompts.reasons else "Reasoning: it is round. Answer: disc"
    end = {"llava": "</s>", "idefics3": "<end_of_utterance>"}[kind]
    assert vlm.tokenizer.decode(labels[learned]).strip().removesuffix("\n") == words + end
    asked = vlm.prompt(photo.image, prompts.asked(one))["input_ids"][0]
    assert torch.equal(ids[: learned[0]], asked)
    assert learned.tolist() == list(range(len(asked), len(ids)))


@pytest.mark.parametrize("kind", ["llava", "idefics3"])
def test_behind_a_reason_only_the_class_is_scored(kind: str) -> None:
    """Through the cache as in one pass, each picture behind the reason that it was given."""
    vlm = tiny(kind)
    names = ["cup", "cupboard", "hat"]
    prompts = Prompts(REASONED, names)
    answers = [prompts.scored(name) for name in names]
    scorer = AnswerScorer(vlm, "what?", answers, lead=prompts.lead(), ended=prompts.whole)
    images = [picture("disc", 0), picture("disc", 0), picture("box", 1)]
    leads = [prompts.lead(f"Reasoning: {why} Answer: hat") for why in ("a", "a", "it is flat")]
    found = scorer.likelihoods(images, leads)
    for image, lead, scores in zip(images, leads, found, strict=True):
        for name, score in zip(names, scores, strict=True):
            prompt = vlm.prompt(image, "what?")
            whole = vlm.answer_ids(lead + name)
            counted = len(whole) - len(vlm.answer_ids(lead, ended=False))
            ids = torch.cat([prompt.pop("input_ids"), torch.tensor([whole])], dim=1)
            prompt.pop("attention_mask")
            with torch.no_grad():
                logits = vlm.model(input_ids=ids, **prompt).logits.float().log_softmax(-1)
            steps = logits[0, -counted - 1 : -1]
            mean = steps.gather(1, torch.tensor(whole[-counted:])[:, None]).mean()
            assert score == pytest.approx(float(mean), abs=2e-3)
    assert found[0] == pytest.approx(found[1]) and abs(found[0] - found[2]).max() > 0.01


def test_a_model_learns_to_reason_and_is_judged_by_what_follows(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "in", each=12)
    lines = [
        json.dumps({"image": f"{kind}/{i}.png", "label": kind, "reasoning": why,
                    "split": "train" if i < 8 else "test"})
        for kind, why in (("disc", "round."), ("box", "flat."))
        for i in range(12)
    ]  # fmt: skip
    (root / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    command(
        "few-shot", root / "rows.jsonl", "--model", built("llava"), "--name", "r", *TINY,
        "--epochs", 20, "--answer", REASONED.answer, "--system", "Look.", home=tmp_path,
    )  # fmt: skip
    results = read(run_folder(tmp_path, "r") / "results.json")
    assert results["model"]["question"] == "Look. what is this?"
    figures = results["figures"]["trained"]
    assert figures["generated_accuracy"]["value"] >= 0.9 <= figures["accuracy"]["value"]
    rows = (run_folder(tmp_path, "r") / "predictions.csv").read_text(encoding="utf-8")
    assert "Reasoning: round. Answer: disc" in rows
    # A row without its reason is named before anything is trained.
    unsaid = [lines[0].replace("round.", " "), *lines[1:]]
    (root / "rows.jsonl").write_text("\n".join(unsaid), encoding="utf-8")
    said = command("few-shot", root / "rows.jsonl", "--model", built("llava"),
                   "--answer", REASONED.answer, home=tmp_path, fails=1)  # fmt: skip
    assert "the source gives none for this picture" in said and "0.png" in said


def test_what_the_chat_was_told_of_a_label_describes_its_class(tmp_path: Path) -> None:
    home = MemoryHome(load_config(home=tmp_path))
    memory = home.workspace("default")
    for name in ("disc", "box"):
        memory.teach(name, [open_photo(picture(name, i)) for i in range(3)], WHY[name])
    home.close()
    command(
        "few-shot", "memory:default", "--model", built("llava"), "--name", "d", *TINY,
        "--max-steps", 1, "--set", "data.folds=2", "--answer", MOON.answer,
        "--descriptions", "{box: it is a box.}", home=tmp_path,
    )  # fmt: skip
    run = open_run(tmp_path / "runs", "d")
    assert run.settings.prompt.descriptions == {"disc": "it is round.", "box": "it is a box."}
    table, _ = run.data()
    assert (
        Prompts(run.settings.prompt, table.classes)
        .answer(table.rows[0])
        .endswith(f"Answer: {table.rows[0].label}")
    )
