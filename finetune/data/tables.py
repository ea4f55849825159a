"""Rows from a CSV, TSV, JSON-lines or JSON file that names pictures; columns are recognised.

Also the data set that `prepare` writes, and Hugging Face's `metadata.csv` beside pictures. Opens
no picture.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from finetune.data.boxes import Boxed, boxed_from_json
from finetune.data.table import DESCRIBE, Box, Found, Split
from finetune.settings.schema import DataSettings
from tools.errors import DataError

__all__ = [
    "PREPARED",
    "TABLES",
    "columns_of",
    "each_caption",
    "found_in",
    "read_json",
    "table_rows",
]

TABLES = (".csv", ".tsv", ".jsonl", ".json")
PREPARED = ("rows.jsonl", "metadata.jsonl", "metadata.csv", "captions.jsonl", "captions.csv")
_COLUMNS = {
    "image": ("image", "file_name", "filename", "image_path", "path", "file", "img", "picture"),
    "label": ("label", "class", "category", "class_name", "labels", "fine_label", "target"),
    "question": ("question", "prompt", "query", "instruction"),
    "answer": (
        *("answer", "response", "caption", "text", "answers", "captions"),
        "multiple_choice_answer",
    ),
    "caption": ("caption", "captions", "text", "sentence", "description", "answer"),
    "reasoning": ("reasoning", "rationale", "explanation"),
    "split": ("split",),
    "box": ("box",),
    "objects": ("objects",),
}
_OPTIONAL = ("reasoning", "split", "box", "objects")  # may be empty in some rows


def table_rows(path: Path, settings: DataSettings, splits: Mapping[str, Split]) -> list[Found]:
    """The rows of ``path``; files are relative to its folder. Raises :class:`DataError`."""
    records = _records(path)
    if not records:
        return []
    columns = columns_of(path, records[0], settings)
    return [
        found_in(path, number, one, columns, settings, splits)
        for number, record in enumerate(records, 1)
        for one in each_caption(record, columns)
    ]


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises :class:`DataError`."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise DataError(f"{path} is not readable JSON ({exc}): correct it.") from exc


def _records(path: Path) -> list[dict[str, Any]]:
    kind = path.suffix.lower()
    try:
        if kind == ".json":
            records = read_json(path)
        elif kind == ".jsonl":
            lines = path.read_text(encoding="utf-8").splitlines()
            records = [json.loads(line) for line in lines if line.strip()]
        else:
            with path.open(encoding="utf-8-sig", newline="") as file:
                records = list(csv.DictReader(file, delimiter="\t" if kind == ".tsv" else ","))
    except (OSError, ValueError, csv.Error) as exc:
        raise DataError(f"{path} can't be read as {kind[1:].upper()} ({exc}): correct it.") from exc
    if not isinstance(records, list) or not all(isinstance(r, dict) for r in records):
        raise DataError(
            f"{path} holds no list of rows, and is not COCO either: give one object a row, each "
            "with the picture's file and its label."
        )
    return records


def columns_of(
    path: Path,
    first: Iterable[str],
    settings: DataSettings,
    typed: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Which of the columns ``first`` is what: as the settings say, or by its type, or its name.

    Raises :class:`DataError` where that leaves something out.
    """
    first = list(first)
    chosen: dict[str, str] = {}
    for role, names in _COLUMNS.items():
        wanted = getattr(settings, f"{role}_column", None)
        if wanted is not None and wanted not in first:
            raise DataError(
                f"{path.name} has no column {wanted!r} (--{role}-column): it has "
                f"{', '.join(map(str, first))}."
            )
        by_name = {str(column).lower(): str(column) for column in first}
        called = next((by_name[name] for name in names if name in by_name), None)
        found = wanted or (typed or {}).get(role) or called
        if found is not None:
            chosen[role] = found
    if "image" not in chosen:
        raise DataError(
            f"{path.name} has no column for the picture's file (it has "
            f"{', '.join(map(str, first))}): name it with --image-column."
        )
    if settings.task == "boxes":
        if "objects" not in chosen:
            raise DataError(
                f"{path.name} has no column of objects, each [label, [left, top, right, bottom], "
                "1]: boxes are read from COCO json, and from what `prepare` made of it."
            )
        return {role: chosen[role] for role in ("image", "split", "objects") if role in chosen}
    chosen.pop("objects", None)
    if _describes(settings, chosen):
        if "caption" not in chosen:
            raise DataError(
                f"{path.name} has no column for a caption (it has {', '.join(map(str, first))}): "
                "name it with --caption-column."
            )
        return {k: v for k, v in chosen.items() if k in ("image", "caption", "split", "box")}
    chosen.pop("caption", None)
    asks = settings.task == "answer" or (settings.task == "auto" and "label" not in chosen)
    if asks and not {"question", "answer"} <= set(chosen):
        raise DataError(
            f"{path.name} has no column for a label, and none for both a question and an answer "
            f"(it has {', '.join(map(str, first))}): name them with --label-column, or with "
            "--question-column and --answer-column."
        )
    if not asks and "label" not in chosen:
        raise DataError(f"{path.name} has no column for a label: name it with --label-column.")
    for role in ("label", "reasoning") if asks else ("question", "answer"):
        chosen.pop(role, None)
    return chosen


def each_caption(record: Mapping[str, Any], columns: Mapping[str, str]) -> list[Mapping[str, Any]]:
    """The record, once for each caption where it has a list of them: every one is learned."""
    column = columns.get("caption", "")
    several = record.get(column)
    if not isinstance(several, list):
        return [record]
    return [{**record, column: text} for text in several]


def found_in(
    path: Path,
    number: int,
    record: Mapping[str, Any],
    columns: Mapping[str, str],
    settings: DataSettings,
    splits: Mapping[str, Split],
) -> Found:
    """What a record says; a picture is named relative to ``path``. Raises :class:`DataError`."""
    values = {role: record.get(column) for role, column in columns.items()}
    values["answer"], *others = _answers(values.get("caption", values.get("answer")))
    absent = [columns[r] for r in columns if r not in _OPTIONAL and _empty(values[r])]
    if absent:
        raise DataError(f"{path.name}, row {number}: {', '.join(absent)} is empty; fill it in.")
    split = values.get("split")
    if not _empty(split) and str(split).lower() not in splits:
        raise DataError(f"{path.name}, row {number}: no split {split!r}; use train, val or test.")
    return Found(
        path.parent / str(values["image"]),
        label=_label(path, number, values.get("label"), settings.class_names),
        question=DESCRIBE if "caption" in columns else _text(values.get("question")),
        answer=values["answer"],
        split=None if _empty(split) else splits[str(split).lower()],
        box=_box(path, number, values.get("box")),
        reasoning=_text(values.get("reasoning")) or None,
        others=tuple(others),
    )


def _answers(value: Any) -> list[Any]:
    """What was answered: the commonest first, then what everybody else said (VQA's ``answers``)."""
    if not isinstance(value, list):
        return [_text(value)]
    said = [_text(one.get("answer") if isinstance(one, Mapping) else one) for one in value]
    said = [one for one in said if one]
    if not said:
        return [None]
    first = max(said, key=said.count)
    said.remove(first)
    return [first, *said]


def _describes(settings: DataSettings, chosen: Mapping[str, str]) -> bool:
    """Whether the rows are captions: when that is asked for, or nothing else is there."""
    if settings.task != "auto":
        return settings.task == "caption"
    return "caption" in chosen and (
        settings.caption_column is not None or not {"label", "question"} & set(chosen)
    )


def _label(path: Path, number: int, value: Any, names: Sequence[str] | None) -> str | None:
    """The class's name; ``names`` translates 0, 1, 2…"""
    if value is None or names is None or not str(value).strip().isdigit():
        return _text(value)
    index = int(str(value))
    if index >= len(names):
        raise DataError(
            f"{path.name}, row {number}: class {index}, and --class-names has only {len(names)}."
        )
    return names[index]


def _box(path: Path, number: int, value: Any) -> Box | None:
    if _empty(value):
        return None
    try:
        left, top, right, bottom = (int(side) for side in value)
    except (TypeError, ValueError):
        raise DataError(
            f"{path.name}, row {number}: box {value!r} is not [left, top, right, bottom]."
        ) from None
    return (left, top, right, bottom)


def _objects(path: Path, number: int, value: Any) -> tuple[Boxed, ...] | None:
    try:
        return boxed_from_json(value)
    except (TypeError, ValueError, LookupError):
        raise DataError(
            f"{path.name}, row {number}: objects {value!r:.60} is not a list of [label, [left, "
            "top, right, bottom], 1]."
        ) from None


def _empty(value: Any) -> bool:
    return value is None or str(value).strip() == ""


def _text(value: Any) -> str | None:
    return None if value is None else str(value).strip()
