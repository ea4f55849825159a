"""Episodes: a few pictures of a few labels to learn from, and others of the same to be asked about.

Which labels and pictures make them in training is kept apart from what makes them in measuring.
Everything is seeded by what is asked, not by the order of rows. Knows nothing of models.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from finetune.data import Fold, Plan, Row, Table
from finetune.settings.schema import MamlSettings, Settings
from tools.errors import DataError, SettingsError

__all__ = ["Episode", "Pool", "episode_plan"]


@dataclass(frozen=True)
class Episode:
    """``labels``: what may be answered; ``support``: what was shown of them; ``queries``: what is
    asked. Pictures of ``support`` are never asked about."""

    labels: tuple[str, ...]
    support: tuple[Row, ...]
    queries: tuple[Row, ...]


class Pool:
    """Pictures by label, of which episodes are drawn."""

    def __init__(self, rows: Sequence[Row], settings: MamlSettings) -> None:
        """Labels with too few pictures for an episode are left out."""
        self._settings = settings
        piles = _piles(rows)
        self.piles = {name: pile for name, pile in piles.items() if len(pile) > settings.shots}

    @property
    def enough(self) -> bool:
        """Whether there are as many labels as an episode has."""
        return len(self.piles) >= self._settings.ways

    def draw(self, *seed: object) -> Episode:
        """The episode of ``seed``."""
        rng, settings = random.Random(repr(seed)), self._settings
        labels = rng.sample(sorted(self.piles), settings.ways)
        support, queries = [], []
        for label in labels:
            count = settings.shots + settings.queries
            mine = rng.sample(self.piles[label], min(count, len(self.piles[label])))
            support += mine[: settings.shots]
            queries += mine[settings.shots :]
        return Episode(tuple(labels), tuple(support), tuple(queries))

    def around(self, query: Row, *seed: object) -> Episode:
        """An episode in which ``query``, of one of the pool's labels, is asked about."""
        rng, settings = random.Random(repr((*seed, query.photo_id, query.label))), self._settings
        own = str(query.label)
        others = rng.sample(sorted(set(self.piles) - {own}), settings.ways - 1)
        labels = sorted([own, *others])
        support = [
            row
            for label in labels
            for row in rng.sample(
                [row for row in self.piles[label] if row.photo_id != query.photo_id],
                settings.shots,
            )
        ]
        return Episode(tuple(labels), tuple(support), (query,))


def episode_plan(table: Table, settings: Settings) -> Plan:
    """Labels, or where there are too few pictures, held out to measure in episodes.

    Raises :class:`DataError` where there is not enough for an episode on either side.
    """
    data, maml = settings.data, settings.maml
    if not table.classes:
        raise SettingsError(
            f"method maml tells labels apart, and {data.source} has none; choose another method."
        )
    if data.shots is not None or data.evaluation in ("folds", "leave-one-out"):
        raise SettingsError(
            "method maml is measured in episodes of what is held out: set maml.shots in place of "
            "data.shots, and leave data.evaluation."
        )
    splits = {row.split for row in table.rows}
    if "train" in splits and splits & {"val", "test"}:
        parts, how = _as_given(table), "the source's"
    elif (by_labels := _by_labels(table, settings)) is not None:
        parts, how = by_labels, "held-out labels'"
    else:
        parts, how = _by_pictures(table, settings), "held-out pictures'"
    train, val, test = parts
    asked = Pool(table.take(test), maml).piles
    test = [number for number in test if table.rows[number].label in asked]
    fold = Fold(*(tuple(sorted(part)) for part in (train, val, test)))
    for part, words in ((fold.train, "to learn from"), (fold.test, "to measure with")):
        if not Pool(table.take(part), maml).enough:
            raise _too_few(table, maml, words)
    return Plan(f"{how} {maml.ways}-way {maml.shots}-shot episodes, one a picture", fold, (fold,))


Parts = tuple[list[int], list[int], list[int]]


def _as_given(table: Table) -> Parts:
    by_split: Mapping[str | None, list[int]] = defaultdict(list)
    for number, row in enumerate(table.rows):
        by_split[row.split].append(number)
    train, val, test = by_split["train"] + by_split[None], by_split["val"], by_split["test"]
    return (train, val, test) if test else (train, [], val)


def _by_labels(table: Table, settings: Settings) -> Parts | None:
    """None where there are too few labels to hold some out."""
    ways, (_, val_share, test_share) = settings.maml.ways, settings.data.split
    labels = sorted(Pool(table.rows, settings.maml).piles)
    labels = random.Random(settings.data.seed).sample(labels, len(labels))
    test = max(ways, round(len(labels) * test_share))
    if len(labels) < ways + test:
        return None
    val = round(len(labels) * val_share)
    val = val if ways <= val <= len(labels) - test - ways else 0
    held = set(labels[:test])
    choosing = set(labels[test : test + val])
    tested = {row.photo_id for row in table.rows if row.label in held}
    parts: Parts = ([], [], [])
    for number, row in enumerate(table.rows):
        if row.label in held:
            parts[2].append(number)
        elif row.photo_id not in tested:  # a part of a picture may be of another label
            parts[1 if row.label in choosing else 0].append(number)
    return parts


def _by_pictures(table: Table, settings: Settings) -> Parts:
    """Enough pictures of each label for an episode on either side; of poorer ones all train."""
    least, rng = settings.maml.shots + 1, random.Random(settings.data.seed)
    tested: set[str] = set()
    for _, pile in sorted(_piles(table.rows).items()):
        ids = sorted({row.photo_id for row in pile})
        if len(ids) >= 2 * least:
            count = min(max(least, round(len(ids) * settings.data.split[2])), len(ids) - least)
            tested |= set(rng.sample(ids, count))
    parts: Parts = ([], [], [])
    for number, row in enumerate(table.rows):
        parts[2 if row.photo_id in tested else 0].append(number)
    return parts


def _piles(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """One row a picture and label, in the order of the pictures' ids."""
    piles: dict[str, dict[str, Row]] = defaultdict(dict)
    for row in sorted(rows, key=lambda row: (row.photo_id, row.box or ())):
        if row.label is not None:
            piles[row.label].setdefault(row.photo_id, row)
    return {name: list(pile.values()) for name, pile in piles.items()}


def _too_few(table: Table, maml: MamlSettings, words: str) -> DataError:
    counts = sorted(table.counts.values(), reverse=True)
    return DataError(
        f"{table.report.source} has too little for episodes {words}: they take {maml.ways} labels "
        f"with {maml.shots + 1} pictures each there, and as much on the other side (its "
        f"{len(counts)} labels have {', '.join(map(str, counts[:6]))}{'…' if counts[6:] else ''}); "
        "give more pictures, or lower maml.ways or maml.shots."
    )
