"""What a source says, what is wrong with it, and which pictures measure."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from finetune.data import Report, Row, Table, gather, make_plan
from finetune.data.prepared import write_prepared
from finetune.settings.files import load_settings, read_yaml, strategies
from finetune.settings.schema import DataSettings
from tests.finetune_data import class_folders, command, picture
from tools.config import load_config
from tools.errors import DataError, SettingsError
from tools.images import open_photo
from tools.memory import MemoryHome


def found(source: Path | str, home: Path, **keys: object) -> Table:
    return gather(DataSettings(source=str(source), **keys), load_config(home=home))  # type: ignore[arg-type]


def table(counts: dict[str, int], copies: int = 1) -> Table:
    """Rows without files: ``copies`` rows of each picture."""
    rows = [
        Row(Path(f"{name}-{i}.png"), label=name, photo_id=f"{name}-{i}")
        for name, count in counts.items()
        for i in range(count)
        for _ in range(copies)
    ]
    return Table(tuple(rows), Report())


# --- splits -------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    counts=st.dictionaries(st.sampled_from("abcdef"), st.integers(2, 40), min_size=2),
    copies=st.integers(1, 3),
    seed=st.integers(0, 5),
    cheap=st.booleans(),
    shots=st.sampled_from([None, 1]),
)
def test_a_picture_never_trains_and_measures(
    counts: dict[str, int], copies: int, seed: int, cheap: bool, shots: int | None
) -> None:
    rows = table(counts, copies)
    plan = make_plan(rows, DataSettings(seed=seed, shots=shots), cheap=cheap)
    ids = [row.photo_id for row in rows.rows]
    for fold in plan.folds:
        parts = [{ids[i] for i in part} for part in (fold.train, fold.val, fold.test)]
        assert parts[0] and parts[2]
        assert not parts[0] & parts[2] and not parts[0] & parts[1] and not parts[1] & parts[2]
        assert sorted(fold.train + fold.val + fold.test) == list(range(len(ids)))
        trained = {rows.rows[i].label for i in fold.train}
        assert trained == set(counts), "a class that is measured was never shown"
    measured = [i for fold in plan.folds for i in fold.test]
    assert len(measured) == len(set(measured))
    if plan.crossed:
        assert sorted(measured) == list(range(len(ids)))
        assert plan.final.train == tuple(range(len(ids)))


def test_copies_of_a_picture_in_several_files_stay_together() -> None:
    """What a row is grouped by is what its picture shows, not where it lies or what is asked."""
    rows = tuple(
        Row(Path(f"{name}-{i}-{copy}.png"), label=name, question=str(copy), photo_id=f"{name}-{i}")
        for name in "ab"
        for i in range(20)
        for copy in range(3)
    )
    fold = make_plan(Table(rows, Report()), DataSettings()).final
    parts = [{rows[i].photo_id for i in part} for part in (fold.train, fold.val, fold.test)]
    assert [len(part) for part in parts] == [32, 4, 4]
    assert not parts[0] & parts[2] and not parts[0] & parts[1] and not parts[1] & parts[2]


def test_the_split_does_not_depend_on_the_order_of_the_rows() -> None:
    one = table({"a": 20, "b": 30})
    other = Table(tuple(reversed(one.rows)), Report())
    tests = [
        {t.rows[i].photo_id for i in make_plan(t, DataSettings()).final.test} for t in (one, other)
    ]
    assert tests[0] == tests[1]
    assert sorted(name[0] for name in tests[0]) == ["a"] * 2 + ["b"] * 3  # a tenth of each class
    again = make_plan(one, DataSettings(seed=1)).final.test
    assert {one.rows[i].photo_id for i in again} != tests[0]


def test_few_pictures_are_measured_in_turn() -> None:
    few = table({"a": 8, "b": 8})
    assert make_plan(few, DataSettings()).how == "5-fold cross-validation"
    assert len(make_plan(few, DataSettings(), cheap=True).folds) == 16
    assert make_plan(table({"a": 2, "b": 9}), DataSettings()).how == "2-fold cross-validation"
    assert not make_plan(table({"a": 15, "b": 15}), DataSettings()).crossed
    with pytest.raises(DataError, match=r"a, b: with 8 pictures of each class"):
        make_plan(few, DataSettings(shots=8))


# --- sources ------------------------------------------------------------------------------------


def test_folders_with_bad_double_and_contradictory_files(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "in", each=4, kinds=("disc", "red_box"))
    (root / "disc" / "torn.png").write_bytes((root / "disc" / "0.png").read_bytes()[:60])
    (root / "disc" / "notes.txt").write_text("no picture")
    (root / "disc" / ".DS_Store").write_bytes(b"x")
    picture("disc", 1).save(root / "disc" / "copy.bmp")
    picture("disc", 2).save(root / "red_box" / "wrong.png")
    rows = found(root, tmp_path)
    assert rows.counts == {"disc": 3, "red box": 4}
    assert len(rows.report.bad) == 2 and "torn.png is damaged" in "".join(rows.report.bad)
    assert len(rows.report.duplicates) == 1 and "copy.bmp" in rows.report.duplicates[0]
    assert len(rows.report.conflicts) == 2 and "disc and red box" in rows.report.conflicts[0]


def test_one_bad_picture_in_ten_thousand_is_named_skipped_and_counted(tmp_path: Path) -> None:
    root = tmp_path / "in"
    for kind in ("dark", "light"):
        (root / kind).mkdir(parents=True)
    for i in range(9_999):
        ground = (i % 256, i // 256, 0 if i % 2 else 255)
        Image.new("RGB", (8, 8), ground).save(root / ("dark" if i % 2 else "light") / f"{i}.bmp")
    (root / "dark" / "torn.bmp").write_bytes((root / "dark" / "1.bmp").read_bytes()[:60])
    said = json.loads(command("prepare", root, "--json", home=tmp_path))
    assert said["bad"]["count"] == 1 and "torn.bmp is damaged" in said["bad"]["files"][0]
    assert said["pictures"] == 9_999 and said["classes"] == {"dark": 4_999, "light": 5_000}
    shown = command("prepare", root, "--max-samples", 80, home=tmp_path)
    assert "80 pictures, 80 rows" in shown and "64 train, 8 validate, 8 measure" in shown


def test_a_split_that_leaks_is_mended_towards_measuring(tmp_path: Path) -> None:
    class_folders(tmp_path / "in" / "train", each=6)
    class_folders(tmp_path / "in" / "validation", each=2, start=4)
    class_folders(tmp_path / "in" / "test", each=3, start=5)
    rows = found(tmp_path / "in", tmp_path)
    assert len(rows.report.leaks) == 6  # 4 and 5 leave training, 5 leaves validation; both classes
    plan = make_plan(rows, DataSettings())
    assert [len(p) for p in (plan.final.train, plan.final.val, plan.final.test)] == [8, 2, 6]


def test_tables_with_columns_by_their_names_or_by_flags(tmp_path: Path) -> None:
    class_folders(tmp_path / "pictures", each=3)
    files = [f"pictures/{kind}/{i}.png" for kind in ("disc", "box") for i in range(3)]
    for separator, name in ((",", "a.csv"), ("\t", "a.tsv")):
        lines = [f"{f}{separator}{i // 3}" for i, f in enumerate(files)]
        text = "\n".join([f"File_Name{separator}kind", *lines])
        (tmp_path / name).write_text(text)
        rows = found(tmp_path / name, tmp_path, label_column="kind", class_names=["disc", "box"])
        assert rows.counts == {"box": 3, "disc": 3}
        with pytest.raises(DataError, match="no column for a label"):
            found(tmp_path / name, tmp_path)
        with pytest.raises(DataError, match=r"no column 'sort' \(--label-column\)"):
            found(tmp_path / name, tmp_path, label_column="sort")
    asked = [{"image": f, "question": "what?", "answer": f"a {f[9:12]}"} for f in files]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, asked)))
    rows = found(tmp_path / "a.jsonl", tmp_path)
    assert not rows.classes and {r.answer for r in rows.rows} == {"a dis", "a box"}
    asked[2]["answer"] = " "
    (tmp_path / "a.json").write_text(json.dumps(asked))
    with pytest.raises(DataError, match=r"a\.json, row 3: answer is empty"):
        found(tmp_path / "a.json", tmp_path)


def test_coco_captions_and_boxes(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for i in range(4):
        picture("disc", i, side=64).save(tmp_path / "images" / f"{i}.png")
    coco: dict[str, list[dict[str, object]]] = {
        "images": [{"id": i, "file_name": f"{i}.png"} for i in range(4)],
        "categories": [{"id": 7, "name": "cup"}, {"id": 9, "name": "hat"}],
        "annotations": [
            {"image_id": i, "category_id": c, "bbox": [4, 4 + i, 20.4, 30]}
            for i in range(4)
            for c in (7, 9)
        ],
    }
    coco["annotations"] += [{"image_id": 0, "category_id": 7, "bbox": [0, 0, 3, 3]}]
    for number, entry in enumerate(coco["annotations"]):
        entry["bbox"] = [*(entry["bbox"][:3]), 30 + number]  # type: ignore[index]
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(coco))
    rows = found(path, tmp_path)
    assert rows.counts == {"cup": 4, "hat": 4}
    (small,) = rows.report.bad  # the box of three pixels
    assert small.endswith("0.png: a cup that is too small to show what it is")
    assert rows.rows[0].photo().size == (20, 30)
    assert len({row.photo_id for row in rows.rows}) == 4
    said = command("prepare", path, "--task", "caption", home=tmp_path, fails=1)
    words = "give annotations with a caption, or leave --task caption out."
    assert said == f"instances.json has no captions: {words}\n"
    coco["annotations"] = [{"image_id": i, "caption": f"Disc {i}. "} for i in range(4)]
    path.write_text(json.dumps(coco))
    assert [row.answer for row in found(path, tmp_path).rows] == [f"Disc {i}." for i in range(4)]
    coco["annotations"] = [{"image_id": 99, "caption": "?"}]
    path.write_text(json.dumps(coco))
    with pytest.raises(DataError, match=r"not complete COCO \(KeyError: 99\)"):
        found(path, tmp_path)


def test_what_was_taught_in_the_chat_is_a_source(tmp_path: Path) -> None:
    home = MemoryHome(load_config(home=tmp_path))
    memory = home.workspace("default")
    for name in ("disc", "box"):
        memory.teach(name, [open_photo(picture(name, i)) for i in range(3)])
    memory.reject("disc", [open_photo(picture("box", 9))])
    home.close()
    assert found("memory:default", tmp_path).counts == {"box": 3, "disc": 3}
    assert found("memory:", tmp_path).counts == {"box": 3, "disc": 3}
    with pytest.raises(DataError, match="Nothing has been taught in workspace 'ann'"):
        found("memory:ann", tmp_path)
    assert not (tmp_path / "memory" / "ann").exists()


def test_a_prepared_data_set_is_a_source_with_its_splits(tmp_path: Path) -> None:
    rows = found(class_folders(tmp_path / "in", each=20), tmp_path)
    plan = make_plan(rows, DataSettings())
    write_prepared(tmp_path / "out", rows, plan)
    again = found(tmp_path / "out", tmp_path)
    assert again.counts == rows.counts
    mine, other = ({t.rows[i].photo_id for i in make_plan(t, DataSettings()).final.test}
                   for t in (rows, again))  # fmt: skip
    assert mine == other
    with pytest.raises(DataError, match="is not empty"):
        write_prepared(tmp_path / "in", rows, plan)
    said = command("prepare", tmp_path / "in", "--output", tmp_path / "b", home=tmp_path)
    assert "2 classes: box 20, disc 20" in said and (tmp_path / "b" / "rows.jsonl").exists()


def test_a_sample_is_even_over_the_classes(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "in", each=3, kinds=("disc",))
    class_folders(root, each=12, kinds=("box",))
    assert found(root, tmp_path, max_samples=6).counts == {"box": 3, "disc": 3}
    assert found(root, tmp_path, max_samples=10).counts == {"box": 7, "disc": 3}
    assert found(root, tmp_path).imbalance == 4
    assert "imbalance: the largest class has 4.0" in command("prepare", root, home=tmp_path)


# --- bad input ----------------------------------------------------------------------------------


def test_sources_that_cannot_be_trained_on_are_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "flat").mkdir()
    picture("disc", 0).save(tmp_path / "flat" / "a.png")
    class_folders(tmp_path / "one", each=3, kinds=("disc",))
    class_folders(tmp_path / "single", each=3, kinds=("disc",))
    class_folders(tmp_path / "single", each=1, kinds=("box",))
    (tmp_path / "broken" / "disc").mkdir(parents=True)
    (tmp_path / "broken" / "disc" / "a.png").write_bytes(b"nothing")
    (tmp_path / "a.tar").write_bytes(b"PK")
    for name, words in {
        "nowhere": "There is no .*nowhere",
        "empty": "holds no pictures",
        "flat": "has files and no class folders",
        "one": r"has one class \(disc\)",
        "single": "one usable picture of box",
        "broken": "None of the 1 files",
        "a.tar": "no source of pictures",
    }.items():
        with pytest.raises(DataError, match=words):
            found(tmp_path / name, tmp_path)
        said = command("few-shot", tmp_path / name, home=tmp_path / "home", fails=1)
        assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "home").exists()


def test_a_picture_that_changes_under_a_run_is_noticed(tmp_path: Path) -> None:
    rows = found(class_folders(tmp_path / "in", each=2), tmp_path)
    Image.new("RGB", (32, 32)).save(rows.rows[0].path)
    with pytest.raises(DataError, match="has changed since"):
        rows.rows[0].photo()


def test_all_problems_of_a_settings_file_are_said_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        "method: lorra\ntraning: {lr: 1}\ntraining: {learning_rate: 0.1, lrr: 2, batch: 0}\n"
        "prompt: {answer: nothing}\ndata: {split: [0.5, 0.5, 0.5]}\nlerning_rate: 1\nzzz: 1\n"
    )
    said = command("train", "x", "--config", path, home=tmp_path, fails=2)
    for words in (
        "method: Input should be 'lora'",
        "unknown key traning (did you mean training?)",
        "unknown key training.learning_rate (did you mean training.lr?)",
        "unknown key training.lrr (did you mean training.lr?)",
        "unknown key lerning_rate (did you mean training.lr?)",
        "unknown key zzz.",
        "training.batch: Input should be greater than or equal to 1 (got 0)",
        "answer must contain {label}",
        "split must be three shares of sum 1",
    ):
        assert words in said
    assert len(said.strip().splitlines()) == 1
    for text, words in (("a: [", "is not YAML"), ("- 1", "holds no settings")):
        path.write_text(text)
        assert words in command("train", "--config", path, home=tmp_path, fails=2)
    assert "no strategy 'none'" in command("train", "--strategy", "none", home=tmp_path, fails=2)
    assert "KEY=VALUE" in command("few-shot", "x", "--set", "lr", home=tmp_path, fails=2)


def test_every_strategy_can_be_read_and_says_what_it_is_for() -> None:
    assert {"pocket-few-shot", "pocket-many-shot", "llava-few-shot"} <= set(strategies())
    for path in strategies().values():
        one = load_settings(read_yaml(path))
        assert one.description.endswith(".")
        assert load_settings(yaml.safe_load(one.yaml())) == one
    with pytest.raises(SettingsError, match=r"unknown key lora\.r "):
        load_settings({"lora": {"r": 4}})


def test_answers_of_several_people_measure_and_the_commonest_trains(tmp_path: Path) -> None:
    picture("disc", 0).save(tmp_path / "a.png")
    people = [{"answer": "no"}, {"answer": "yes"}, {"answer": "yes"}]
    rows = [
        {"image": "a.png", "question": "is it round?", "answers": people},
        {"image": "a.png", "question": "what is it?", "answers": ["disc", " ", "circle"]},
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    table = gather(DataSettings(source=str(tmp_path / "rows.jsonl")), load_config())
    assert [(r.answer, r.others) for r in table.rows] == [
        ("yes", ("no", "yes")),
        ("disc", ("circle",)),
    ]
    assert [Row.from_json(json.loads(json.dumps(r.to_json()))) for r in table.rows] == list(
        table.rows
    )
    (tmp_path / "rows.jsonl").write_text(json.dumps({**rows[0], "answers": []}), encoding="utf-8")
    with pytest.raises(DataError, match="answers is empty"):
        gather(DataSettings(source=str(tmp_path / "rows.jsonl")), load_config())
