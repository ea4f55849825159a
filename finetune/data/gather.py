"""A source's rows with every picture opened once: what is bad, double or contradictory goes out.

Knows nothing of splits or models. Every picture is opened by :mod:`tools.images`.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable

from finetune.data.sources import find_rows
from finetune.data.table import Found, Report, Row, Table
from finetune.settings import DataSettings
from tools.config import Config
from tools.errors import DataError, PhotoError
from tools.images import open_photo

__all__ = ["gather"]

Progress = Callable[[int, int], None]
_SHOWN = 3
_MEASURED_FIRST = ("test", "val", "train")


def gather(
    settings: DataSettings,
    config: Config,
    *,
    measuring: bool = False,
    on_progress: Progress | None = None,
) -> Table:
    """The rows of ``settings.source``. Raises :class:`DataError` if they can't be trained on.

    ``on_progress(done, all)`` is called for each picture. ``measuring``: any picture will do, also
    of a single class.
    """
    found = find_rows(settings, config)
    if not found:
        raise DataError(
            f"{settings.source} holds no pictures: give a folder with one folder of pictures for "
            "each class."
        )
    report = Report(source=settings.source)
    rows = _opened(found, report, on_progress)
    rows = _without_leaks(_without_duplicates(_without_conflicts(rows, report), report), report)
    if settings.max_samples is not None:
        rows = _sampled(rows, settings.max_samples, settings.seed)
    table = Table(tuple(rows), report)
    if not table.rows or not measuring:
        _check(table, settings)
    return table


def _opened(found: list[Found], report: Report, on_progress: Progress | None) -> list[Row]:
    rows = []
    ids: dict[object, str | None] = {}
    for number, one in enumerate(found, 1):
        if one.path not in ids:
            ids[one.path] = None
            try:
                ids[one.path] = open_photo(one.path).id
            except PhotoError as problem:
                report.bad.append(f"{one.path}: {problem}")
        photo_id = ids[one.path]
        if photo_id is not None:
            rows.append(
                Row(photo_id, one.path, one.label, one.question, one.answer, one.split, one.box)
            )
        if on_progress is not None:
            on_progress(number, len(found))
    return rows


def _without_conflicts(rows: list[Row], report: Report) -> list[Row]:
    labels: dict[object, set[str]] = defaultdict(set)
    for row in rows:
        if row.label is not None:
            labels[row.key].add(row.label)
    kept = []
    for row in rows:
        if len(labels[row.key]) > 1:
            report.conflicts.append(f"{row.path}: {' and '.join(sorted(labels[row.key]))}")
        else:
            kept.append(row)
    return kept


def _without_duplicates(rows: list[Row], report: Report) -> list[Row]:
    """One row of each kind in each split that the source has."""
    seen: dict[object, Row] = {}
    kept = []
    for row in rows:
        first = seen.setdefault((row.key, row.answer, row.split), row)
        if first is row:
            kept.append(row)
        else:
            report.duplicates.append(f"{row.path}: the same picture as {first.path}")
    return kept


def _without_leaks(rows: list[Row], report: Report) -> list[Row]:
    """A picture that the source has in two splits stays where it measures."""
    splits: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.split is not None:
            splits[row.photo_id].add(row.split)
    kept = []
    for row in rows:
        here = next((s for s in _MEASURED_FIRST if s in splits[row.photo_id]), None)
        if row.split == here:
            kept.append(row)
        else:
            report.leaks.append(f"{row.path}: also in {here}, so not used for {row.split}")
    return kept


def _sampled(rows: list[Row], count: int, seed: int) -> list[Row]:
    """``count`` rows, taken from the classes in turn."""
    by_class: dict[tuple[str | None, str | None], list[Row]] = defaultdict(list)
    for row in rows:
        by_class[row.split, row.label].append(row)
    rng = random.Random(seed)
    piles = [rng.sample(pile, len(pile)) for _, pile in sorted(by_class.items(), key=str)]
    chosen: list[Row] = []
    while len(chosen) < count and any(piles):
        chosen += [pile.pop() for pile in piles if pile]
    taken = set(map(id, chosen[:count]))
    return [row for row in rows if id(row) in taken]


def _check(table: Table, settings: DataSettings) -> None:
    source, bad = settings.source, table.report.bad
    if not table.rows:
        shown = "; ".join(bad[:_SHOWN])
        raise DataError(
            f"None of the {len(bad)} files in {source} is a picture that opens ({shown}): give "
            "PNG, JPEG, WebP, GIF or BMP files."
        )
    if not table.classes:
        return
    if len(table.classes) == 1:
        raise DataError(
            f"{source} has one class ({table.classes[0]}): to tell things apart, give pictures of "
            "at least two."
        )
    single = [name for name, count in table.counts.items() if count == 1]
    if single:
        raise DataError(
            f"{source} has one usable picture of {_listed(single)}: give at least two of each "
            "class, one to learn from and one to measure with, or take the class out."
        )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 5} other classes" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
