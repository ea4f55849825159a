"""A source's rows with every picture opened once: what is bad, double or contradictory goes out.

Knows nothing of splits or models. Every picture is opened by :mod:`tools.images`.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from finetune.data.sources import find_rows
from finetune.data.table import Found, Report, Row, Table
from finetune.settings.schema import DataSettings
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
    source = find_rows(settings, config)
    if not source.rows:
        raise DataError(
            f"{settings.source} holds no pictures: give a folder with one folder of pictures for "
            "each class."
        )
    report = Report(source=settings.source, bad=list(source.bad))
    found = _chosen(list(source.rows), settings)
    if settings.max_samples is not None:  # first: of a million pictures only these are opened
        found = _sampled(found, settings.max_samples, settings.seed)
    rows = _opened(found, source.bring, report, on_progress)
    rows = _without_leaks(_without_duplicates(_without_conflicts(rows, report), report), report)
    table = Table(tuple(rows), report, source.descriptions)
    if not table.rows or not measuring:
        _check(table, settings)
    return table


def _chosen(found: list[Found], settings: DataSettings) -> list[Found]:
    """The rows of the classes that are wanted."""
    if settings.only is None:
        return found
    missing = sorted(set(settings.only) - {label for one in found for label in one.labels})
    if missing:
        raise DataError(
            f"{settings.source} has no class called {', '.join(missing)}: name others in data.only."
        )
    wanted = set(settings.only)
    return [
        replace(one, objects=tuple(x for x in one.objects if x.label in wanted))
        if one.objects is not None
        else one
        for one in found
        if one.objects is not None or one.label in wanted
    ]


def _opened(
    found: list[Found],
    bring: Callable[[Path], None] | None,
    report: Report,
    on_progress: Progress | None,
) -> list[Row]:
    rows = []
    ids: dict[object, str | None] = {}
    for number, one in enumerate(found, 1):
        if one.path not in ids:
            ids[one.path] = None
            try:
                if bring is not None and not one.path.exists():
                    bring(one.path)
                ids[one.path] = open_photo(one.path).id
            except PhotoError as problem:
                report.bad.append(f"{one.path}: {problem}")
        photo_id = ids[one.path]
        if photo_id is not None:
            rows.append(Row(**vars(one), photo_id=photo_id))
        if on_progress is not None:
            on_progress(number, len(found))
    return rows


def _without_conflicts(rows: list[Row], report: Report) -> list[Row]:
    labels: dict[object, set[str]] = defaultdict(set)
    for row in rows:
        if row.label is not None:
            labels[row.key].add(row.label)

    def why(row: Row) -> str | None:
        several = sorted(labels[row.key])
        return " and ".join(several) if len(several) > 1 else None

    return _sifted(rows, why, report.conflicts)


def _without_duplicates(rows: list[Row], report: Report) -> list[Row]:
    """One row of each kind in each split that the source has."""
    seen: dict[object, Row] = {}

    def why(row: Row) -> str | None:
        first = seen.setdefault((row.key, row.answer, row.split), row)
        return None if first is row else f"the same picture as {first.path}"

    return _sifted(rows, why, report.duplicates)


def _without_leaks(rows: list[Row], report: Report) -> list[Row]:
    """A picture that the source has in two splits stays where it measures."""
    splits: dict[str, set[str | None]] = defaultdict(set)
    for row in rows:
        splits[row.photo_id].add(row.split)

    def why(row: Row) -> str | None:
        here = next((s for s in _MEASURED_FIRST if s in splits[row.photo_id]), None)
        return None if row.split == here else f"also in {here}, so not used for {row.split}"

    return _sifted(rows, why, report.leaks)


def _sifted(rows: list[Row], why: Callable[[Row], str | None], out: list[str]) -> list[Row]:
    """The rows without a reason to leave them out; the others go to ``out`` with theirs."""
    kept = []
    for row in rows:
        reason = why(row)
        if reason is None:
            kept.append(row)
        else:
            out.append(f"{row.path}: {reason}")
    return kept


def _sampled(rows: list[Found], count: int, seed: int) -> list[Found]:
    """``count`` rows, taken from the classes in turn."""
    by_class: dict[tuple[str | None, str | None], list[Found]] = defaultdict(list)
    for row in rows:
        by_class[row.split, row.label].append(row)
    rng = random.Random(seed)
    piles = [rng.sample(pile, len(pile)) for _, pile in sorted(by_class.items(), key=str)]
    chosen: list[Found] = []
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
    if settings.task == "boxes" and not table.boxed:
        raise DataError(
            f"{source} does not say what is where: give COCO json with a bbox for each annotation, "
            "or what `prepare` made of it."
        )
    if table.boxed and not table.classes:
        why = "; ".join(bad[:_SHOWN]) or "none are given"
        raise DataError(
            f"{source} has no box that can be used ({why}): give each picture the boxes of what "
            "is in it."
        )
    if not table.classes or table.boxed:
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
