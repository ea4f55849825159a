"""Which pictures train and which measure: by content, so that a picture never does both.

Knows nothing of files or models. Everything is seeded and depends on the pictures' ids, not on
the order of the rows.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from finetune.data.table import Table
from finetune.settings.schema import DataSettings
from tools.errors import DataError

__all__ = ["FEW", "Fold", "Plan", "make_plan"]

FEW = 30
"""Below so many pictures a tenth of them measures nothing: they are measured in turn, by folds."""


@dataclass(frozen=True)
class Fold:
    """Numbers of rows."""

    train: tuple[int, ...]
    val: tuple[int, ...]
    test: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """``final``: what the model that is kept trains on. ``folds``: how it is measured.

    With one fold it is ``final`` itself; with several, as many models are trained and measured
    on the pictures they have not seen, and the one that is kept trains on all.
    """

    how: str
    """In words, for the report."""
    final: Fold
    folds: tuple[Fold, ...]

    @property
    def crossed(self) -> bool:
        """Whether the figures are of other models, of the same recipe, than the one kept."""
        return self.folds != (self.final,)


def make_plan(table: Table, settings: DataSettings, *, cheap: bool = False) -> Plan:
    """``cheap``: training takes seconds, so few pictures are measured one by one.

    Raises :class:`DataError` where nothing would be left to train on or to measure with.
    """
    if any(row.split == "train" for row in table.rows) and any(
        row.split in ("val", "test") for row in table.rows
    ):
        return _as_given(table, settings)
    groups = _Groups(table, settings.seed)
    if settings.shots is not None:
        return _by_shots(groups, settings.shots)
    how = settings.evaluation
    if how == "auto":
        few = groups.count < FEW
        how = "split" if not few else "leave-one-out" if cheap else "folds"
    if how == "leave-one-out":
        return _by_folds(groups, [[key] for pile in groups.piles for key in pile], "leave-one-out")
    if how == "folds":
        number = min(settings.folds, min(map(len, groups.piles)))
        parts = groups.dealt(max(2, number) if table.classes else min(settings.folds, groups.count))
        return _by_folds(groups, parts, f"{len(parts)}-fold cross-validation")
    return _by_split(groups, settings)


class _Groups:
    """Photo ids in piles by class, each pile in its seeded order."""

    def __init__(self, table: Table, seed: int) -> None:
        self._rows: dict[str, list[int]] = defaultdict(list)
        piles: dict[str, list[str]] = defaultdict(list)
        for number, row in enumerate(table.rows):
            if row.photo_id not in self._rows:
                piles[row.label or ""].append(row.photo_id)
            self._rows[row.photo_id].append(number)
        rng = random.Random(seed)
        self.names = sorted(piles)
        self.piles = [_shuffled(sorted(piles[name]), rng) for name in self.names]
        self.count = len(self._rows)

    def rows(self, keys: Sequence[str]) -> tuple[int, ...]:
        return tuple(sorted(n for key in keys for n in self._rows[key]))

    def dealt(self, parts: int) -> list[list[str]]:
        """Every pile dealt out over ``parts``, going on where the last pile ended."""
        hands: list[list[str]] = [[] for _ in range(parts)]
        for place, key in enumerate(key for pile in self.piles for key in pile):
            hands[place % parts].append(key)
        return [hand for hand in hands if hand]


def _by_split(groups: _Groups, settings: DataSettings) -> Plan:
    keys: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for pile in groups.piles:
        for part, share in zip(keys, _shared(pile, settings.split), strict=True):
            keys[part] += share
    fold = Fold(*(groups.rows(part) for part in keys.values()))
    if not fold.test:
        raise DataError(
            "The split leaves no picture to measure with: raise the last share of data.split."
        )
    train, val, test = (round(100 * share) for share in settings.split)
    return Plan(f"held-out pictures ({train}/{val}/{test} %)", fold, (fold,))


def _shared(pile: list[str], shares: Sequence[float]) -> tuple[list[str], list[str], list[str]]:
    """Train, val and test: at least one to train on and one to measure with."""
    test = max(1, round(len(pile) * shares[2]))
    val = round(len(pile) * shares[1]) if len(pile) - test > 1 else 0
    return pile[test + val :], pile[test : test + val], pile[:test]


def _by_shots(groups: _Groups, shots: int) -> Plan:
    short = [n for n, p in zip(groups.names, groups.piles, strict=True) if len(p) <= shots]
    if short:
        raise DataError(
            f"{', '.join(short[:5])}: with {shots} pictures of each class to train on, none is "
            "left to measure with; give more pictures or fewer shots."
        )
    train = groups.rows([key for pile in groups.piles for key in pile[:shots]])
    test = groups.rows([key for pile in groups.piles for key in pile[shots:]])
    fold = Fold(train, (), test)
    return Plan(f"all pictures but {shots} of each class", fold, (fold,))


def _by_folds(groups: _Groups, parts: list[list[str]], how: str) -> Plan:
    everything = [key for pile in groups.piles for key in pile]
    folds = []
    for part in parts:
        out = set(part)
        folds.append(
            Fold(groups.rows([k for k in everything if k not in out]), (), groups.rows(part))
        )
    return Plan(how, Fold(groups.rows(everything), (), ()), tuple(folds))


def _as_given(table: Table, settings: DataSettings) -> Plan:
    """What the source says; without a test part, its validation part measures."""
    parts: Mapping[str | None, list[int]] = defaultdict(list)
    for number, row in enumerate(table.rows):
        parts[row.split].append(number)
    train, val, test = parts["train"] + parts[None], parts["val"], parts["test"]
    if settings.shots is not None:
        train = _first_of_each(table, train, settings)
    how = "the source's test pictures"
    if not test:
        val, test, how = [], val, "the source's validation pictures"
    untrained = {table.rows[i].label for i in test} - {table.rows[i].label for i in train}
    if untrained - {None}:
        names = ", ".join(sorted(str(name) for name in untrained))
        raise DataError(
            f"{names}: in the test pictures and not in the training pictures; add some there."
        )
    fold = Fold(tuple(train), tuple(val), tuple(test))
    return Plan(how, fold, (fold,))


def _first_of_each(table: Table, numbers: list[int], settings: DataSettings) -> list[int]:
    by_class: dict[str, list[int]] = defaultdict(list)
    for number in sorted(numbers, key=lambda i: table.rows[i].photo_id):
        by_class[table.rows[number].label or ""].append(number)
    rng = random.Random(settings.seed)
    shots = settings.shots or 0
    return sorted(n for name in sorted(by_class) for n in _shuffled(by_class[name], rng)[:shots])


def _shuffled(items: list, rng: random.Random) -> list:
    return rng.sample(items, len(items))
