"""Data sets as Hugging Face keeps them: Parquet, `save_to_disk`, the Hub's cache; and packs."""

import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from finetune.data import Table, gather, make_plan
from finetune.settings.schema import DataSettings
from tests.finetune_data import command, picture, read, run_folder
from tools.config import load_config
from tools.errors import DataError, SettingsError

pa = pytest.importorskip("pyarrow", reason="pip install 'imprint-assistant[data]'")
NAMES = ["disc", "box"]
FEATURES = {"photo": {"_type": "Image"}, "kind": {"names": NAMES, "_type": "ClassLabel"}}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def png(kind: str, seed: int) -> bytes:
    out = io.BytesIO()
    picture(kind, seed).save(out, "PNG")
    return out.getvalue()


def table(seeds: Sequence[int], *, features: Any = FEATURES, **more: list[Any]) -> Any:
    """As the `datasets` library makes it: pictures as bytes, classes as numbers, names beside."""
    cells = [{"bytes": png(NAMES[i % 2], i), "path": None} for i in seeds]
    columns = {"photo": cells, "kind": [i % 2 for i in seeds], **more}
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    fields = [("photo", image), ("kind", pa.int64()), *((n, pa.string()) for n in more)]
    said = {"huggingface": json.dumps({"info": {"features": features}})} if features else None
    return pa.table(columns, schema=pa.schema(fields, metadata=said))


def parquet(path: Path, rows: Any, group: int = 3) -> Path:
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, path, row_group_size=group)
    return path


def saved(folder: Path, rows: Any) -> Path:
    """A split as `save_to_disk` leaves it."""
    folder.mkdir(parents=True)
    path = folder / "data-00000-of-00001.arrow"
    with path.open("wb") as file, pa.ipc.new_stream(file, rows.schema) as writer:
        writer.write_table(rows)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": path.name}]}))
    return folder


def found(source: Path | str, home: Path, **keys: Any) -> Table:
    return gather(DataSettings(source=str(source), **keys), load_config(home=home))


def parts(rows: Table) -> list[int]:
    fold = make_plan(rows, DataSettings()).final
    return [len(part) for part in (fold.train, fold.val, fold.test)]


def test_parquet_files_with_their_columns_classes_and_splits(tmp_path: Path) -> None:
    parquet(tmp_path / "in/data/train-00000-of-00001.parquet", table(range(20)))
    parquet(tmp_path / "in/data/test-00000-of-00001.parquet", table(range(20, 28)))
    rows = found(tmp_path / "in", tmp_path / "home")
    assert rows.counts == {"box": 14, "disc": 14} and not rows.report.bad
    assert parts(rows) == [20, 0, 8]
    for row in rows.rows:
        assert row.photo().image.tobytes() == picture(str(row.label), _seed(row.path)).tobytes()
    one = found(tmp_path / "in/data/test-00000-of-00001.parquet", tmp_path / "home")
    assert one.counts == {"box": 4, "disc": 4}


def _seed(path: Path) -> int:
    return int(path.name) + (20 if path.parent.name.startswith("test") else 0)


def test_a_data_set_saved_to_disk(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "dataset_dict.json").write_text('{"splits": ["train", "validation"]}')
    saved(tmp_path / "in/train", table(range(12)))
    saved(tmp_path / "in/validation", table(range(12, 18)))
    rows = found(tmp_path / "in", tmp_path / "home")
    assert rows.counts == {"box": 9, "disc": 9} and parts(rows) == [12, 0, 6]
    single = found(saved(tmp_path / "alone", table(range(6))), tmp_path / "home")
    assert single.counts == {"box": 3, "disc": 3} and {r.split for r in single.rows} == {None}


def test_columns_by_flags_and_without_the_librarys_notes(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", table(range(8), features=None, sort=["x", "y"] * 4))
    with pytest.raises(DataError, match="no column for a label"):
        found(path, tmp_path)
    assert found(path, tmp_path, label_column="kind").counts == {"0": 4, "1": 4}
    named = found(path, tmp_path, label_column="kind", class_names=["dot", "block"])
    assert named.counts == {"block": 4, "dot": 4}
    assert found(path, tmp_path, label_column="sort").counts == {"x": 4, "y": 4}
    with pytest.raises(DataError, match=r"no column 'face' \(--image-column\)"):
        found(path, tmp_path, image_column="face")
    asked = table(range(4), question=["what?"] * 4, answer=["a disc", "a box"] * 2)
    path = parquet(tmp_path / "b.parquet", asked)
    assert {r.answer for r in found(path, tmp_path, task="answer").rows} == {"a disc", "a box"}


def test_pictures_by_path_and_rows_that_cannot_be_used(tmp_path: Path) -> None:
    picture("disc", 50).save(tmp_path / "one.png")
    rows = table(range(10)).to_pydict()
    rows["photo"][0] = {"bytes": None, "path": "one.png"}
    rows["photo"][1] = {"bytes": None, "path": "gone.png"}
    rows["photo"][2] = None
    rows["photo"][3] = {"bytes": b"torn", "path": None}
    rows["kind"][4] = -1
    path = parquet(tmp_path / "a.parquet", pa.table(rows, schema=table([]).schema))
    found_ = found(path, tmp_path)
    assert found_.counts == {"box": 3, "disc": 3}
    bad = "\n".join(found_.report.bad)
    for words in ("row 5: its class is -1", "row 2 names a picture", "row 3 has no picture",
                  "is not a picture I can read"):  # fmt: skip
        assert words in bad
    assert len(found_.report.bad) == 4


def test_of_a_sample_only_its_pictures_are_copied_out(tmp_path: Path) -> None:
    path = parquet(tmp_path / "a.parquet", table(range(60)), group=10)
    rows = found(path, tmp_path / "home", max_samples=8)
    assert rows.counts == {"box": 4, "disc": 4}
    copies = [p for p in (tmp_path / "home/cache/pictures").rglob("*") if p.is_file()]
    assert len(copies) == 8
    parquet(path, table(range(100, 160)))  # another file under the same name is not mixed up
    again = found(path, tmp_path / "home", max_samples=8)
    assert not {r.photo_id for r in rows.rows} & {r.photo_id for r in again.rows}


def test_a_data_set_of_the_hub_is_looked_up_in_its_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(DataError, match="`hf download --repo-type dataset ann/things`"):
        found("hf:ann/things", tmp_path)
    with pytest.raises(DataError, match="--repo-type dataset ann/things --revision v2`"):
        found("hf:ann/things@v2", tmp_path)
    with pytest.raises(DataError, match="is no data set of the Hub"):
        found("hf:../things", tmp_path)
    root = tmp_path / "hub" / "datasets--ann--things"
    parquet(root / "snapshots" / COMMIT / "data" / "train-00000.parquet", table(range(6)))
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(COMMIT)
    assert found("hf:ann/things", tmp_path).counts == {"box": 3, "disc": 3}


def test_it_trains_on_a_data_set_and_goes_on_without_it(tmp_path: Path) -> None:
    source = parquet(tmp_path / "in/train-0.parquet", table(range(12)))
    parquet(tmp_path / "in/test-0.parquet", table(range(12, 18)))
    command("few-shot", tmp_path / "in", "--method", "prototypes", "--name", "p", home=tmp_path)
    results = read(run_folder(tmp_path, "p") / "results.json")
    assert results["pictures"] == {"train": 12, "validation": 0, "measured": 6}
    source.unlink()
    (run_folder(tmp_path, "p") / "results.json").unlink()
    command("runs", "resume", "p", home=tmp_path)
    assert read(run_folder(tmp_path, "p") / "results.json")["figures"] == results["figures"]


def test_what_cannot_be_read_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for ending in ("parquet", "arrow"):
        path = tmp_path / f"torn.{ending}"
        path.write_bytes(b"PAR1 and no more")
        with pytest.raises(DataError, match=f"can't be read as {ending}"):
            found(path, tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # as where it is not installed
    with pytest.raises(SettingsError, match=r"imprint-assistant\[data\]"):
        found(path, tmp_path)
