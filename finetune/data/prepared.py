"""A data set as `prepare` writes it: every picture once, as PNG, and rows that name its split.

Knows nothing of training. It is a source like any other, with its splits fixed.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from finetune.data import Plan, Table
from finetune.files import write_bytes, write_json, write_text
from tools.errors import DataError
from tools.images import open_photo

__all__ = ["write_prepared"]


def write_prepared(folder: Path, table: Table, plan: Plan) -> None:
    """``pictures/<id>.png``, ``report.json``, and ``rows.jsonl`` last.

    Where it is measured by folds no split is written. Raises :class:`DataError` for a folder
    that holds other files.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / "rows.jsonl").exists():
        raise DataError(f"{folder} is not empty, and holds no prepared data: give another folder.")
    splits = {}
    if not plan.crossed:
        parts = {"train": plan.final.train, "val": plan.final.val, "test": plan.final.test}
        splits = {number: part for part, numbers in parts.items() for number in numbers}
    lines = []
    for number, row in enumerate(table.rows):
        name = f"pictures/{row.photo_id}.png"
        if not (folder / name).exists():
            write_bytes(folder / name, open_photo(row.path).png())
        split = splits.get(number)
        entry = replace(row, path=Path(name), split=split).to_json()  # type: ignore[arg-type]
        lines.append(json.dumps(entry, ensure_ascii=False) + "\n")
    write_json(folder / "report.json", table.to_json() | {"measured_on": plan.how})
    write_text(folder / "rows.jsonl", "".join(lines))
