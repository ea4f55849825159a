"""Parquet and Arrow files: how Hugging Face data sets are kept on the Hub and by `save_to_disk`.

No code of a data set is run and nothing is downloaded. Opens no picture: those are copied out of
their file, one by one, when they are first needed. Knows nothing of other formats.
"""

from __future__ import annotations

import hashlib
import json
import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path
from typing import Any

from finetune.cache import cached
from finetune.data.table import Found, Source, Split
from finetune.data.tables import columns_of, each_caption, found_in
from finetune.settings.schema import DataSettings
from tools.errors import DataError, PhotoError, SettingsError
from tools.whole import whole_file

__all__ = ["arrow_files", "arrow_source", "hub_folder"]

_ENDINGS = (".parquet", ".arrow")
_HUB_NAME = re.compile(r"(?P<repo>[\w-][\w.-]*(?:/[\w.-]+)?)(?:@(?P<revision>[\w./-]+))?")


def arrow_files(path: Path) -> list[Path]:
    """``path`` itself, or those below it; empty where there is none."""
    inside = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [
        p
        for p in inside
        if p.suffix.lower() in _ENDINGS and p.is_file() and not p.name.startswith((".", "cache-"))
    ]


def hub_folder(name: str) -> Path:
    """Where the Hub's data set ``owner/name[@revision]`` lies in this machine's cache.

    Raises :class:`DataError` with the command that brings it.
    """
    match = _HUB_NAME.fullmatch(name)
    if match is None:
        raise DataError(f"hf:{name} is no data set of the Hub: write hf:OWNER/NAME.")
    repo, revision = match["repo"], match["revision"]
    folder = cached(repo, revision, data_set=True)
    if folder is None:
        asked = f" --revision {revision}" if revision else ""
        raise DataError(
            f"The data set {name} is not on this machine: fetch it with "
            f"`hf download --repo-type dataset {repo}{asked}`."
        )
    return folder


def arrow_source(
    root: Path,
    files: list[Path],
    settings: DataSettings,
    splits: Mapping[str, Split],
    cache: Path,
) -> Source:
    """The rows of ``files`` below ``root``; their pictures will lie in ``cache``.

    Splits are a column's, else those that files and folders are named after. Raises
    :class:`DataError`.
    """
    if find_spec("pyarrow") is None:
        raise SettingsError(
            f"{files[0].name} is read by pyarrow, which is not installed: install it with `pip "
            "install 'imprint-assistant[data]'`."
        )
    rows: list[Found] = []
    unlabelled: list[str] = []
    places: dict[Path, tuple[_Shard, str, int]] = {}
    for file in files:
        shard = _Shard(file)
        columns = columns_of(file, shard.names, settings, shard.typed)
        image = columns["image"]
        known = settings.class_names or shard.classes.get(columns.get("label", ""))
        named = settings.model_copy(update={"class_names": known})
        split = _split_of(file, root, splits)
        folder = cache / f"{file.stem}-{_stamp(file)}"
        records = shard.records([c for role, c in columns.items() if role != "image"])
        for number, record in enumerate(records):
            place = folder / str(number)
            if known and record.get(columns.get("label", "")) == -1:  # how a hidden test set is
                unlabelled.append(f"{file}, row {number + 1}: its class is -1, which is none")
                continue
            places[place] = (shard, image, number)
            for one in each_caption(record, columns):
                found = found_in(file, number + 1, {**one, image: place}, columns, named, splits)
                rows.append(replace(found, split=found.split or split))

    def bring(path: Path) -> None:
        shard, column, number = places[path]
        with whole_file(path) as temporary:
            temporary.write_bytes(shard.picture(column, number))

    return Source(rows, bring=bring, bad=unlabelled)


class _Shard:
    """One file: its columns, what the `datasets` library says of them, its rows."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._path = path
        self._file: Any = None  # of Parquet, read by groups of rows
        self._table: Any = None  # of Arrow, mapped into memory
        self._last: tuple[tuple[int, str], Any] | None = None
        try:
            if path.suffix.lower() == ".parquet":
                self._file = pq.ParquetFile(path, memory_map=True)
                schema, meta = self._file.schema_arrow, self._file.metadata
                sizes = [meta.row_group(i).num_rows for i in range(meta.num_row_groups)]
            else:
                self._table = _arrow(path)
                schema, sizes = self._table.schema, [self._table.num_rows]
        except (pa.ArrowException, OSError) as exc:
            reason = " ".join(str(exc).split())[:200]
            raise DataError(
                f"{path} can't be read as {path.suffix[1:]} ({reason}): fetch or save it again."
            ) from exc
        self.names = list(schema.names)
        self._ends = list(accumulate(sizes))
        features = _features(schema.metadata)
        self.classes = {
            name: list(feature["names"])
            for name, feature in features.items()
            if feature.get("_type") == "ClassLabel" and feature.get("names")
        }
        """Names of the classes, by column."""
        images = [n for n, f in features.items() if f.get("_type") == "Image" and n in self.names]
        images += [f.name for f in schema if _holds_bytes(f.type)]
        self.typed = {
            role: columns[0]
            for role, columns in (("image", images), ("label", list(self.classes)))
            if columns
        }
        """Columns that are what they are by their type, whatever they are called."""

    def records(self, columns: list[str]) -> list[dict[str, Any]]:
        """Every row's values in ``columns``."""
        table = self._table if self._file is None else self._file.read(columns=columns)
        if not columns:
            return [{} for _ in range(self._ends[-1] if self._ends else 0)]
        found: list[dict[str, Any]] = table.select(columns).to_pylist()
        return found

    def picture(self, column: str, number: int) -> bytes:
        """The encoded picture of a row. Raises :class:`PhotoError` if there is none."""
        part = bisect_right(self._ends, number)
        if self._file is None:
            cells = self._table[column]
        else:  # a group of rows is read at once, and its pictures are asked for in turn
            if self._last is None or self._last[0] != (part, column):
                group = self._file.read_row_group(part, columns=[column])[column]
                self._last = ((part, column), group)
            cells = self._last[1]
        start = self._ends[part - 1] if part else 0
        value = cells[number - start].as_py()
        if isinstance(value, Mapping):
            value = value.get("bytes") or value.get("path")
        if isinstance(value, bytes):
            return value
        if not value:
            raise PhotoError(f"{self._path.name}, row {number + 1} has no picture: take it out.")
        try:
            return (self._path.parent / str(value)).read_bytes()
        except OSError as exc:
            raise PhotoError(
                f"{self._path.name}, row {number + 1} names a picture that can't be read ({exc})."
            ) from exc


def _arrow(path: Path) -> Any:
    """An Arrow file as `save_to_disk` writes it, a stream, or in the file format."""
    import pyarrow as pa

    mapped = pa.memory_map(str(path))
    try:
        return pa.ipc.open_stream(mapped).read_all()
    except pa.ArrowInvalid:
        return pa.ipc.open_file(mapped).read_all()


def _features(metadata: Mapping[bytes, bytes] | None) -> dict[str, dict[str, Any]]:
    """What the `datasets` library wrote of each column, if it wrote the file."""
    try:
        said = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return {name: feature for name, feature in said.items() if isinstance(feature, dict)}
    except (KeyError, TypeError, ValueError):
        return {}


def _holds_bytes(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return {"bytes", "path"} <= {kind.field(i).name for i in range(kind.num_fields)}
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _split_of(file: Path, root: Path, splits: Mapping[str, Split]) -> Split | None:
    """``data/test-00000-of-00001.parquet`` and ``test/data-00000.arrow`` are of the test split."""
    parts = file.relative_to(root).parts if root.is_dir() else (file.name,)
    words = [re.split(r"[-_.]", part)[0].lower() for part in reversed(parts)]
    return next((splits[word] for word in words if word in splits), None)


def _stamp(file: Path) -> str:
    """Changes whenever the file does."""
    status = file.stat()
    said = f"{file.resolve()}:{status.st_size}:{status.st_mtime_ns}"
    return hashlib.sha256(said.encode()).hexdigest()[:12]
