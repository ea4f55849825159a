"""Boxes: read from COCO, measured as COCO does, and found for real by a head that was trained."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from finetune.data import gather
from finetune.data.boxes import Boxed, Frame, boxed_from_json
from finetune.data.table import Row
from finetune.evaluation.boxes import measure_boxes, more_map50, overlaps
from finetune.evaluation.predictions import Prediction, read_predictions, write_predictions
from finetune.learners.box_head import NO_CLASS, BoxHead, corners, generalised_iou, set_loss
from finetune.settings.schema import DataSettings
from tests.box_scenes import write_scenes
from tests.finetune_data import command, events, read, run_folder
from tests.tiny_models import built
from tools.config import load_config
from tools.errors import DataError


def said(there: list[Boxed], found: list[Boxed], number: int = 0) -> Prediction:
    return Prediction(
        str(number), f"{number}.png", "", "", 0.1, objects=tuple(there), found=tuple(found)
    )


def sides(
    left: float, top: float, right: float, bottom: float
) -> tuple[float, float, float, float]:
    return left, top, right, bottom


def precision(predictions: list[Prediction], name: str = "map50") -> float:
    return float(measure_boxes(predictions)[name]["value"])


A = sides(0, 0, 10, 10)


def test_overlap_is_intersection_over_union() -> None:
    found = overlaps([Boxed("a", A)], [Boxed("a", A), Boxed("a", sides(5, 0, 15, 10)),
                                      Boxed("a", sides(20, 20, 30, 30))])  # fmt: skip
    assert np.allclose(found, [[1, 1 / 3, 0]])


def test_generalised_iou_by_hand() -> None:
    one = torch.tensor([0.0, 0.0, 1.0, 1.0])
    assert generalised_iou(one, one) == pytest.approx(1.0)
    # Side by side with a gap of 1: no overlap, and a third of the hull is covered by neither.
    assert generalised_iou(one, torch.tensor([2.0, 0, 3, 1])) == pytest.approx(-1 / 3)
    assert generalised_iou(one, torch.tensor([0.5, 0, 1.5, 1])) == pytest.approx(1 / 3)


def test_average_precision_by_hand() -> None:
    """Two things; the surest box is right, the next wrong, the third right: precision 1 up to a
    recall of 0.5 (51 of the 101 places), then 2/3 up to 1 (the other 50)."""
    there = [Boxed("a", A), Boxed("a", sides(20, 20, 30, 30))]
    found = [
        Boxed("a", A, 0.9),
        Boxed("a", sides(40, 40, 50, 50), 0.8),
        Boxed("a", sides(20, 20, 30, 30), 0.7),
    ]
    assert precision([said(there, found)]) == pytest.approx((51 + 50 * 2 / 3) / 101, abs=1e-4)
    # Without the third box recall ends at one half.
    assert precision([said(there, found[:2])]) == pytest.approx(51 / 101, abs=1e-4)
    assert precision([said(there, [])]) == 0.0


def test_a_thing_is_found_once_and_each_threshold_counts() -> None:
    there = [Boxed("a", A)]
    twice = [Boxed("a", A, 0.9), Boxed("a", A, 0.8)]
    assert precision([said(there, twice)]) == 1.0  # the copy comes after full recall
    copies = [Boxed("a", sides(0, 0, 10, 9.0), 0.9), Boxed("a", A, 0.8)]
    # At 0.9 IoU: right up to 0.90 (9 thresholds), and at 0.95 only the second box, of two.
    assert precision([said(there, copies)], "map") == pytest.approx(
        (9 * 1 + 1 * 0.5) / 10, abs=1e-4
    )
    wide = [Boxed("a", sides(0, 0, 10, 16), 0.9)]  # IoU 0.625: thresholds 0.5, 0.55 and 0.6
    assert precision([said(there, wide)], "map") == pytest.approx(0.3, abs=1e-4)
    assert precision([said(there, [Boxed("b", A, 0.9)])]) == 0.0


def test_classes_count_alike_and_only_those_that_are_there() -> None:
    first = said([Boxed("a", A)], [Boxed("a", A, 0.9)])
    second = said([Boxed("a", A), Boxed("b", A)], [Boxed("a", A, 0.9)], 1)
    assert precision([first]) == 1.0
    assert precision([first, second]) == pytest.approx(0.5, abs=1e-4)
    found = measure_boxes([first, second])
    assert found["average_precision_50"] == {"a": 1.0, "b": 0.0}
    assert found["mean_iou"]["value"] == pytest.approx(2 / 3, abs=1e-4)
    assert found["boxes"] == 3
    assert found["map50"]["low"] <= 0.5 <= found["map50"]["high"]


def test_a_sure_false_box_costs_what_an_unsure_one_does_not() -> None:
    there, right = [Boxed("a", A)], Boxed("a", A, 0.5)
    false = sides(50, 50, 60, 60)
    assert precision([said(there, [right, Boxed("a", false, 0.4)])]) == 1.0
    assert precision([said(there, [right, Boxed("a", false, 0.6)])]) == pytest.approx(0.5)
    # In another picture, with nothing in it, all the same.
    empty = said([], [Boxed("a", false, 0.6)], 1)
    assert precision([said(there, [right]), empty]) == pytest.approx(0.5)


def test_precision_is_that_of_the_definition_written_out() -> None:
    """Random boxes, against a second way to compute it: picture after picture, box after box."""
    rng = np.random.default_rng(0)

    def boxes(count: int, *, sure: bool) -> list[Boxed]:
        corner, size = rng.uniform(0, 20, (count, 2)), rng.uniform(8, 16, (count, 2))
        score = rng.uniform(0, 1, count) if sure else np.ones(count)
        return [
            Boxed("ab"[int(rng.integers(2))], sides(*c, *(c + s)), float(p))
            for c, s, p in zip(corner, size, score, strict=True)
        ]

    pictures = [(boxes(3, sure=False), boxes(8, sure=True)) for _ in range(12)]
    expected = []
    for label in "ab":
        for threshold in np.linspace(0.5, 0.95, 10):
            listed = sorted(
                ((one.score, n, one) for n, (_, f) in enumerate(pictures) for one in f
                 if one.label == label), key=lambda x: -x[0],
            )  # fmt: skip
            taken: set[tuple[int, int]] = set()
            right = []
            for _, n, one in listed:
                mine = [t for t in pictures[n][0] if t.label == label]
                free = [
                    (float(overlaps([one], [t])[0, 0]), i)
                    for i, t in enumerate(mine) if (n, i) not in taken
                ]  # fmt: skip
                best = max(free, default=(0.0, -1))
                right.append(best[0] >= threshold)
                if right[-1]:
                    taken.add((n, best[1]))
            positives = sum(t.label == label for true, _ in pictures for t in true)
            hits = np.cumsum(right)
            recall, share = hits / positives, hits / np.arange(1, len(right) + 1)
            expected.append(
                np.mean([max(share[recall >= r], default=0.0) for r in np.linspace(0, 1, 101)])
            )
    predictions = [said(t, f, n) for n, (t, f) in enumerate(pictures)]
    assert precision(predictions, "map") == pytest.approx(float(np.mean(expected)), abs=1e-4)
    nothing = [said(t, [], n) for n, (t, _) in enumerate(pictures)]
    gain = more_map50(predictions, nothing)
    assert gain["value"] == pytest.approx(precision(predictions), abs=1e-4)


def test_the_loss_is_least_where_the_boxes_are_right_and_counts_every_box() -> None:
    logits = torch.full((1, 4, 3), -9.0)
    logits[..., 2] = 9.0  # nothing, everywhere
    boxes = torch.rand(1, 4, 4) * 0.1 + 0.4
    labels = torch.tensor([[1, NO_CLASS]])
    true = torch.tensor([[[0.2, 0.3, 0.2, 0.2], [0.0, 0, 0, 0]]])
    before = set_loss(logits, boxes, labels, true)
    right_logits, right_boxes = logits.clone(), boxes.clone()
    right_logits[0, 3] = torch.tensor([-9.0, 9.0, -9.0])
    right_boxes[0, 3] = true[0, 0]
    assert set_loss(right_logits, right_boxes, labels, true) < 1e-4 < before
    # Padding is no box; a picture without any learns that there is nothing.
    alone = set_loss(logits, boxes, labels[:, 1:], true[:, 1:])
    assert alone < 1e-4 < set_loss(right_logits, boxes, labels[:, 1:], true[:, 1:])
    assert set_loss(logits, boxes, labels, true) == set_loss(
        logits, boxes, labels[:, :1], true[:, :1]
    )


def test_the_head_starts_at_its_patches_and_with_nothing() -> None:
    torch.manual_seed(0)
    head = BoxHead(16, 4, 3, hidden=16, layers=1).eval()
    with torch.no_grad():
        head.box[2].weight.zero_()
        head.box[2].bias.zero_()
    logits, boxes = head(torch.randn(2, 16, 16))
    assert logits.shape == (2, 16, 4) and boxes.shape == (2, 16, 4)
    assert torch.allclose(boxes[0, 5, :2], torch.tensor([0.375, 0.375]))
    assert (corners(boxes)[..., 2:] > corners(boxes)[..., :2]).all()
    assert (logits.argmax(-1) == 3).all()


def test_a_picture_is_shown_whole_and_boxes_come_back() -> None:
    for size in ((100, 60), (30, 90), (64, 64), (7, 500)):
        frame = Frame(size, 64)
        assert frame.square(Image.new("RGB", size, "red")).size == (64, 64)
        box = sides(size[0] * 0.25, size[1] * 0.1, size[0] * 0.75, size[1] * 0.9)
        inside = frame.inward(box)
        assert 0 <= min(inside) <= max(inside) <= 1
        assert frame.outward(inside) == pytest.approx(box)
    image = Image.new("RGB", (100, 50), "black")
    image.paste((255, 255, 255), (50, 0, 100, 50))
    square = np.asarray(Frame((100, 50), 64).square(image))
    left, top, right, bottom = (64 * x for x in Frame((100, 50), 64).inward((50, 0, 100, 50)))
    assert (square[int(top) + 1 : int(bottom) - 1, int(left) + 2 : int(right)] > 250).all()
    assert Frame((100, 50), 64).outward((-1, -1, 2, 2)) == (0, 0, 100, 50)


def test_coco_boxes_are_read_and_bad_ones_are_named(tmp_path: Path) -> None:
    path = write_scenes(tmp_path, 4)
    content = json.loads(path.read_text(encoding="utf-8"))
    good = len(content["annotations"])
    entry: dict[str, Any] = {"image_id": 0, "category_id": 0}
    for number, (box, more) in enumerate((
        ([1, 2, 0, 5], {}), ([1, 2, 3], {}), (["x", 1, 2, 3], {}), ([200, 2, 9, 9], {}),
        ([1, 1, float("nan"), 4], {}), (None, {}), ([1, 1, 9, 9], {"iscrowd": 1}),
    )):  # fmt: skip
        content["annotations"].append({**entry, "id": 900 + number, "bbox": box, **more})
    over = {**entry, "id": 999, "bbox": [80, 60, 50, 50]}  # over the edge: cut off there
    content["annotations"].append(over)
    Image.new("RGB", (96, 80), "white").save(tmp_path / "empty.png")
    content["images"].append({"id": "e", "file_name": "empty.png"})
    path.write_text(json.dumps(content), encoding="utf-8")
    table = gather(DataSettings(source=str(path), task="boxes"), load_config(home=tmp_path))
    assert table.boxed and table.classes == ("box", "disc", "triangle")
    assert len(table.rows) == 5 and table.rows[4].objects == ()
    assert sum(table.counts.values()) == good + 1
    assert Boxed("disc", (80.0, 60.0, 96.0, 80.0)) in (table.rows[0].objects or ())
    bad = table.report.bad
    assert len(bad) == 7
    for number, words in enumerate(
        ("covers nothing", "is not [left", "is not [left", "outside of its picture of 96 by 80",
         "covers nothing", "is not [left", "iscrowd")
    ):  # fmt: skip
        assert f"0.png, disc 90{number}: " in bad[number] and words in bad[number]
    only = DataSettings(source=str(path), task="boxes", only=["disc"])
    assert gather(only, load_config(home=tmp_path)).classes == ("disc",)


def test_rows_with_objects_are_what_they_were(tmp_path: Path) -> None:
    for objects in ((), (Boxed("a", A), Boxed("b", sides(0.5, 1, 2, 3)))):
        row = Row(tmp_path / "x.png", objects=objects, photo_id="1")
        assert Row.from_json(json.loads(json.dumps(row.to_json()))) == row
    prediction = said([Boxed("a", A)], [Boxed("b", A, 0.25)])
    write_predictions(tmp_path / "p.json", [prediction])
    assert read_predictions(tmp_path / "p.json") == [prediction]
    with pytest.raises(ValueError, match="unpack"):
        boxed_from_json([["a", [1, 2, 3], 1]])


def test_sources_without_boxes_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "x.png")
    rows = tmp_path / "rows.csv"
    with rows.open("w", newline="") as file:
        csv.writer(file).writerows([["image", "label"], ["x.png", "disc"]])
    for source in (rows,):
        with pytest.raises(DataError, match="no column of objects"):
            gather(DataSettings(source=str(source), task="boxes"), load_config(home=tmp_path))
    write_scenes(tmp_path / "in" / "disc", 3)
    (tmp_path / "in" / "disc" / "scenes.json").unlink()
    with pytest.raises(DataError, match="does not say what is where"):
        folder = DataSettings(source=str(tmp_path / "in"), task="boxes")
        gather(folder, load_config(home=tmp_path))


BOX = (
    "--method", "box", "--task", "boxes", "--batch", 16, "--lr", 0.003, "--set",
    "training.weight_decay=0.01", "--set", "training.save_steps=50",
)  # fmt: skip


def test_a_head_on_the_pocket_tower_learns_to_find_things(tmp_path: Path) -> None:
    """Through the command line: mAP before and after, boxes predicted, a run that is resumed."""
    source = write_scenes(tmp_path / "scenes", 120)
    said = command(
        "train", source, "--strategy", "pocket-boxes", *BOX, "--epochs", 30, "--name", "b",
        "--json", home=tmp_path,
    )  # fmt: skip
    results = json.loads(said)
    before, after = (results["figures"][name]["map50"] for name in ("base", "trained"))
    assert before["value"] < 0.1 < 0.3 < after["low"]
    assert results["figures"]["trained"]["map"]["value"] < after["value"]
    assert results["figure"] == "map50" and results["gains"]["base"]["difference"]["low"] > 0.2
    assert "does not say what is where" in results["no_exemplars"]
    assert "mAP@0.5" in results["verdict"] and results["controls"]["blank"]["passed"]
    card = (run_folder(tmp_path, "b") / "README.md").read_text(encoding="utf-8")
    assert "| mAP@[.5:.95] |" in card
    measured = {p["image"]: p for p in read(run_folder(tmp_path, "b") / "evaluation" / "test.json")}
    command("predict", "b", *measured, "--output", tmp_path / "out.csv", home=tmp_path)
    told = json.loads(command("predict", "b", *measured, home=tmp_path))
    for entry in told:  # the model that is loaded again says the same
        shown = [one for one in measured[entry["image"]]["found"] if one[2] >= 0.5]
        assert [one["label"] for one in entry["boxes"]] == [one[0] for one in shown]
        for one, (_, box, score) in zip(entry["boxes"], shown, strict=True):
            assert one["box"] == pytest.approx(box, abs=0.1)
            assert one["score"] == pytest.approx(score, abs=0.01)
    with (tmp_path / "out.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [json.loads(line["boxes"])[:1] for line in lines] == [e["boxes"][:1] for e in told]
    again = json.loads(command("evaluate", "b", source, "--json", home=tmp_path))
    assert again["trained"]["n"] == 120 and again["trained"]["map50"]["low"] > 0.3


def test_stopped_and_resumed_the_head_has_the_same_curve(tmp_path: Path) -> None:
    source = write_scenes(tmp_path / "scenes", 24)
    start = (
        "train", source, "--strategy", "pocket-boxes", *BOX, "--embedder", built("clip"),
        "--max-steps", 8, "--set", "training.save_steps=5", "--set", "data.evaluation=split",
        "--set", "evaluation.controls=false",
        "--set", "augmentation={colour: 0.2, noise: 0.05}",
    )  # fmt: skip
    command(*start, "--name", "whole", "--json", home=tmp_path)
    command(*start, "--name", "cut", "--json", home=tmp_path)
    folder = run_folder(tmp_path, "cut")
    losses = [e["loss"] for e in events(tmp_path, "whole")]
    assert len(losses) == 8 and losses == [e["loss"] for e in events(tmp_path, "cut")]
    for name in ("final_model", "best_model", "checkpoints/fold-0/checkpoint-8"):
        shutil.rmtree(folder / name)
    for name in ("results.json", "evaluation/test.json"):
        (folder / name).unlink()
    metadata = read(folder / "training_metadata.json")
    text = json.dumps({**metadata, "status": "stopped"})
    (folder / "training_metadata.json").write_text(text, encoding="utf-8")
    command("runs", "resume", "cut", home=tmp_path)
    resumed = [e["loss"] for e in events(tmp_path, "cut")]
    assert resumed == pytest.approx(losses, rel=1e-5)


def test_settings_that_would_move_things_from_their_boxes_are_refused(tmp_path: Path) -> None:
    source = write_scenes(tmp_path / "scenes", 12)
    start = ("few-shot", source, *BOX)
    said = command(*start, "--embedder", built("clip"), home=tmp_path, fails=2)
    assert "move things away from their boxes" in said
    said = command("train", source, "--strategy", "pocket-few-shot", "--method", "box",
                   home=tmp_path, fails=2)  # fmt: skip
    assert "set data.task to boxes" in said
    said = command("few-shot", source, "--task", "boxes", home=tmp_path, fails=2)
    assert "which method box learns" in said
    plain = ("train", source, "--strategy", "pocket-boxes", *BOX)
    said = command(*plain, "--embedder", built("siglip2"), home=tmp_path, fails=2)
    assert "boxes need one grid" in said
