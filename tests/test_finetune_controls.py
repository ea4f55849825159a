"""Runs that must be refused, for real; and what each control sees in answers that are scripted."""

import json
import random
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from assistant.progress import outcome
from finetune.data import Row
from finetune.evaluation.controls import Control, Measured, control
from finetune.evaluation.general import general_rows, is_right
from finetune.evaluation.metrics import Kind, compare, measure
from finetune.evaluation.predictions import Prediction
from finetune.learners.learner import Session
from finetune.report import verdict
from finetune.settings.files import load_settings, with_assignments
from tests.finetune_data import TINY, command, picture, run_folder, split_folders
from tests.tiny_models import build, built
from tools.config import load_config
from tools.errors import TrainingFailed
from tools.images import Photo
from tools.models import open_models
from tools.shelf import active_adapter
from tools.training import Training

CONTROLS = [*TINY, "--set", "evaluation.controls=true", "--set", "evaluation.sample=8"]
MODEL = ("--model", built("llava"))


class Scripted:
    """A learner whose answers are a function of a row: before training, and after."""

    base_name = "base model"

    def __init__(self, before: Any, after: Any) -> None:
        self.said = {True: before, False: after}
        self.asked: list[Row] = []

    def predict(
        self, rows: Sequence[Row], session: Session, *, base: bool = False
    ) -> list[Prediction]:
        self.asked += rows
        answers = [self.said[base](row) for row in rows]
        return [
            Prediction(r.photo_id, str(r.path), r.label or r.answer or "", a, 0.1, response=a)
            for r, a in zip(rows, answers, strict=True)
        ]


def rows(count: int = 40) -> list[Row]:
    return [
        Row(Path(f"{i}.png"), label="zorb" if i % 2 else "blick", photo_id=str(i))
        for i in range(count)
    ]


def found(
    before: Any, after: Any, folder: Path, *, several: list[Row] | None = None, **dotted: object
) -> dict[str, Control]:
    """The controls of a scripted learner, by name."""
    learner, several = Scripted(before, after), several or rows()
    session = Session(folder, None)  # type: ignore[arg-type]
    ours, base = (learner.predict(several, session, base=b) for b in (False, True))
    classes = sorted({row.label for row in several if row.label})
    kind: Kind = "classes" if classes else "answers"
    settings = load_settings(with_assignments({}, dotted))
    measured = Measured(kind, classes, several, several, ours, base)
    controls = control(learner, settings, measured, session, lambda name, how: how())  # type: ignore[arg-type]
    return {one.name: one for one in controls}


def sees(row: Row) -> str:
    """Right of everything but a grey picture."""
    grey = row.path.name.startswith("blank")
    return "zorb" if grey or not (row.label or row.answer) else str(row.label or row.answer)


def test_an_honest_model_passes_every_control(tmp_path: Path) -> None:
    controls = found(lambda row: "no", sees, tmp_path)
    assert set(controls) == {"commonest", "blank", "off", "no", "general"}
    assert all(c.to_json()["passed"] for c in controls.values()), controls
    assert controls["general"].figures["after"]["value"] == 1.0
    assert controls["general"].figures["after"]["n"] == 40


def test_who_guesses_from_the_words_is_no_better_with_pictures(tmp_path: Path) -> None:
    always = found(lambda row: "?", lambda row: "zorb", tmp_path)
    assert always["commonest"].behind.startswith("always “blick” (50.0 %")
    assert always["blank"].problem.endswith("it does not look")
    asked = [
        Row(Path(f"{i}.png"), question=q, answer=a, photo_id=str(i))
        for i, (q, a) in enumerate([("is it day?", "yes"), ("how many?", "two")] * 20)
    ]
    prior = found(lambda r: "?", lambda r: r.answer, tmp_path, several=asked)
    # The questions give the answers away, and so does the commonest answer to each.
    assert prior["commonest"].behind.startswith("the commonest answers (100.0 %")
    assert prior["blank"].problem
    silent = found(lambda r: "?", lambda r: "?", tmp_path)  # nothing right, with or without
    assert silent["blank"].behind and not silent["blank"].problem


def test_an_adapter_that_leaks_into_its_base_is_seen(tmp_path: Path) -> None:
    calls: list[str] = []

    def drifting(row: Row) -> str:
        calls.append(row.photo_id)
        return "before" if len(calls) <= 40 else "after"

    leaking = found(drifting, sees, tmp_path)["off"]
    assert "40 of 40 answers differ" in leaking.problem and not leaking.to_json()["passed"]


def test_an_adapter_that_says_yes_to_everything_is_refused(tmp_path: Path) -> None:
    def eager(row: Row) -> str:
        return "Yes." if row.question and row.question.startswith("is ") else sees(row)

    controls = found(sees, eager, tmp_path)
    assert controls["no"].problem.startswith("it says yes to “is this a ")
    assert controls["no"].figures["false_yes"]["value"] == 1.0
    assert controls["no"].figures["false_yes_before"]["value"] == 0.0
    # It says yes where nothing is, too: that is forgotten.
    assert "it has forgotten general things (80.0 %" in controls["general"].warning
    assert not found(eager, sees, tmp_path)["no"].problem  # it has learned not to
    asked = [
        Row(Path(f"{i}.png"), question="is it red?", answer="yes" if i % 2 else "no",
            photo_id=str(i))
        for i in range(40)
    ]  # fmt: skip
    answers = found(lambda r: r.answer, lambda r: "yes", tmp_path, several=asked)
    assert "questions whose answer is no in 100.0 %" in answers["no"].problem
    assert answers["no"].figures["false_yes"]["n"] == 20


def test_a_class_that_takes_everything_is_a_false_alarm(tmp_path: Path) -> None:
    three = [replace(r, label="gromp") if int(r.photo_id) % 4 == 0 else r for r in rows()]
    controls = found(sees, lambda r: "zorb", tmp_path, several=three, method="linear")
    assert set(controls) == {"commonest", "blank", "no"}
    assert controls["no"].problem.endswith("of other things zorb")
    fine = found(sees, sees, tmp_path, several=three, method="linear")
    assert not fine["no"].problem and fine["no"].figures["false_alarms"]["zorb"]["n"] == 20


def test_controls_look_at_a_bounded_sample_that_is_always_the_same(tmp_path: Path) -> None:
    several = [found(sees, sees, tmp_path, several=rows(300)) for _ in range(2)]
    assert several[0] == several[1]
    assert several[0]["blank"].figures["blank"]["n"] == 100
    fewer = found(sees, sees, tmp_path, several=rows(300), **{"evaluation.sample": 20})
    assert fewer["no"].figures["false_yes"]["n"] == 20


def test_general_questions_are_the_same_in_every_run(tmp_path: Path) -> None:
    first, again = general_rows(tmp_path / "a"), general_rows(tmp_path / "b")
    assert len(first) == 40 and [r.photo_id for r in first] == [r.photo_id for r in again]
    assert len({r.photo_id for r in first}) == 8 and all(r.photo() for r in first)
    assert {r.answer for r in first} >= {"red", "star", "3", "yes", "no"}
    for said, truth, right in [
        ("It is a red one.", "red", True),
        ("red and blue", "red", False),
        ("Three.", "3", True),
        ("No, there is not.", "no", True),
        ("a circle", "circle", True),
        ("", "yes", False),
        ("zorb", "red", False),
    ]:
        assert is_right(said, truth) == right, said


@pytest.mark.parametrize(
    ("one", "begins", "says"),
    [
        (Control("a", ""), "Worth using", ""),
        (Control("a", "", problem="it leaks"), "Not worth using", "; it leaks."),
        (Control("a", "", behind="always a"), "Not worth using", "no better than always a."),
        (Control("a", "", doubt="grey"), "Not shown to be worth using", "to tell it from grey."),
        (Control("a", "", warning="it forgot"), "Worth using", "; it forgot."),
    ],
)
def test_the_verdict_follows_the_controls(one: Control, begins: str, says: str) -> None:
    truth = "ab" * 50
    rows = {
        name: [Prediction(t, "", t, s, 0.1) for t, s in zip(truth, said, strict=True)]
        for name, said in {"trained": truth, "base": "a" * 100}.items()
    }
    figures = {name: measure(x, "ab") for name, x in rows.items()}
    gains = {"base": compare(rows["trained"], rows["base"])}
    worth, sentence = verdict("lora", "classes", figures, gains, "", [one])
    assert sentence.startswith(begins) and sentence.endswith(says)
    assert worth == (begins == "Worth using")


# --- runs that must be refused, through the command line ------------------------------------------


def run(source: Path, home: Path, name: str, *more: object, model: Any = MODEL) -> dict[str, Any]:
    said = command(
        "few-shot", source, *model, "--name", name, "--epochs", 6, "--json", *CONTROLS, *more,
        home=home,
    )  # fmt: skip
    return dict(json.loads(said))


def refused(home: Path, name: str, results: dict[str, Any]) -> None:
    """It says so, the chat does not offer it, and the terminal wants to be told twice."""
    assert not results["worth_using"]
    assert results["verdict"].startswith(("Not worth using", "Not shown to be worth using"))
    told = Training(name, "running", ("a", "b"), 8)
    ended = outcome(told, run_folder(home, name), [], stopped=False)
    assert ended.state == "finished" and not ended.offered and ended.verdict == results["verdict"]
    said = command("publish", name, "--activate", home=home, fails=1)
    assert results["verdict"] in said and "--anyway" in said
    assert active_adapter(home / "adapters") is None


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return split_folders(tmp_path_factory.mktemp("data"), measured=6)


def test_a_run_with_controls_tells_what_they_found(honest: Path, tmp_path: Path) -> None:
    results = run(honest, tmp_path, "honest", "--epochs", 20)
    controls = results["controls"]
    assert set(controls) == {"commonest", "blank", "off", "no", "general"}
    assert all(controls[c]["passed"] for c in ("commonest", "blank", "off", "no")), controls
    assert controls["blank"]["blank"]["n"] == controls["off"]["n"] == 8
    readme = (run_folder(tmp_path, "honest") / "README.md").read_text(encoding="utf-8")
    assert readme.count("- passed: ") >= 4 and "A grey picture in place of each" in readme
    kept = {p.name for p in (run_folder(tmp_path, "honest") / "evaluation").iterdir()}
    assert {"blank.json", "off.json", "no.json", "general.json"} <= kept
    without = command("runs", "show", "honest", "--json", home=tmp_path)
    assert json.loads(without)["results"]["controls"] == controls


def test_shuffled_labels_teach_nothing(tmp_path: Path) -> None:
    names = ["disc", "box"] * 12
    random.Random(1).shuffle(names)
    for seed in range(24):
        part = "train" if seed < 12 else "test"
        folder = tmp_path / "data" / part / names[seed]
        folder.mkdir(parents=True, exist_ok=True)
        picture(("disc", "box")[seed % 2], seed).save(folder / f"{seed}.png")
    results = run(tmp_path / "data", tmp_path, "shuffled", "--epochs", 20)
    refused(tmp_path, "shuffled", results)
    assert not results["controls"]["commonest"]["passed"]
    assert "commonest" in results["verdict"] or "always" in results["verdict"]


def test_dropped_pictures_are_seen_by_the_blank_control(tmp_path: Path) -> None:
    """One grey for all: the questions alone tell the answers, and the model learns that."""
    entries = []
    for i in range(12):
        Image.new("RGB", (32, 32), (128 + i % 2, 128, 128 + i)).save(tmp_path / f"{i}.png")
        for question, answer in (("is it round?", "yes"), ("how many?", "two")):
            entries.append({"image": f"{i}.png", "question": question, "answer": answer,
                            "split": "train" if i < 6 else "test"})  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, entries)), encoding="utf-8")
    results = run(tmp_path / "rows.jsonl", tmp_path, "grey", "--epochs", 20)
    assert results["figures"]["trained"]["exact_match"]["value"] == 1.0
    refused(tmp_path, "grey", results)
    assert "with blank pictures it is as good (100.0 %" in results["verdict"]


def test_controls_can_be_left_out_and_the_results_say_so(honest: Path, tmp_path: Path) -> None:
    source = tmp_path / "data"
    shutil.copytree(honest, source)
    results = run(source, tmp_path, "p", "--method", "prototypes", "--set",
                  "evaluation.controls=false", model=())  # fmt: skip
    assert results["controls"] == "left out (evaluation.controls)"
    assert "Controls were left out" in (run_folder(tmp_path, "p") / "README.md").read_text()
    results = run(source, tmp_path, "q", "--method", "prototypes", model=())
    assert set(results["controls"]) == {"commonest", "blank", "no"}
    assert results["controls"]["no"]["passed"] and results["controls"]["blank"]["passed"]


def test_an_adapter_of_another_base_is_explained_and_the_old_one_stays(
    honest: Path, tmp_path: Path
) -> None:
    """The same architecture with other weights: every shape fits, and it would answer nonsense."""
    bases = {"mine": built("llava"), "other": build("llava", tmp_path / "llava", seed=1)}
    for name, base in bases.items():
        command(
            "few-shot", honest, "--model", base, "--name", name, "--method", "projector", *TINY,
            "--max-steps", 2, "--publish", home=tmp_path,
        )  # fmt: skip
    models = open_models(load_config(home=tmp_path, answerer=str(bases["mine"])))
    models.adapters.use("mine")
    photo = Photo(picture("disc", 7))
    said = models.adapters.answer(models.adapters.current(), photo, "what is this?")  # type: ignore[arg-type]
    with pytest.raises(TrainingFailed, match="the answerer that runs is"):
        models.adapters.use("other")
    command("publish", "other", "--replace", "--activate", "--anyway", home=tmp_path)
    current = models.adapters.current()
    assert current is not None and current.name == "mine"
    assert models.adapters.answer(current, photo, "what is this?") == said
    told = models.adapters.news()
    assert "the answerer that runs is" in told and told.endswith("I go on with mine.")
