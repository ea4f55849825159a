"""What a model said of a picture, beside what is true: the unit that every figure is made of.

Knows nothing of models or figures.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from finetune.data.boxes import Boxed, boxed_from_json
from finetune.files import write_json, write_text

__all__ = [
    "Prediction",
    "csv_text",
    "read_predictions",
    "same_answer",
    "write_csv",
    "write_predictions",
]

_WORDS = re.compile(r"[\W_]+")
_COLUMNS = ("image", "id", "truth", "answer", "right", "confidence", "said", "response", "seconds")


@dataclass(frozen=True)
class Prediction:
    """One row's prediction.

    ``answer``: the class of highest probability, or the text that was generated. ``said``: the
    class that the generated ``response`` names, None if none. ``probabilities``: of the classes
    in alphabetical order. ``seconds``: for this picture, all of it. ``others``: what else is true.
    ``objects``: what is where, if that is asked, and ``found``: what was seen where, surest first.
    """

    id: str
    image: str
    truth: str
    answer: str
    seconds: float
    probabilities: tuple[float, ...] = ()
    said: str | None = None
    response: str | None = None
    others: tuple[str, ...] = ()
    by_name: str | None = None
    """The class by its name alone, where the answer is not by the name alone."""
    likelihood: float | None = None
    """Mean log probability of a token of what is true."""
    objects: tuple[Boxed, ...] | None = None
    found: tuple[Boxed, ...] | None = None

    @property
    def references(self) -> tuple[str, ...]:
        """Everything that was said of it by who knows: answers of several people, or captions."""
        return (self.truth, *self.others)

    @property
    def right(self) -> bool:
        """Whether the answer is a true one, but for case and punctuation."""
        return any(same_answer(self.answer, one) for one in self.references)

    @property
    def confidence(self) -> float | None:
        """The probability of the answer."""
        return max(self.probabilities) if self.probabilities else None


def same_answer(a: str, b: str) -> bool:
    """Whether two answers are the same but for case, spaces and punctuation."""
    plain = [_WORDS.sub(" ", text.casefold()).strip() for text in (a, b)]
    return plain[0] == plain[1] and (plain[0] != "" or a.strip() == b.strip())


def write_predictions(path: Path, predictions: Sequence[Prediction]) -> None:
    """All of them, whole, as JSON."""
    write_json(path, [asdict(p) for p in predictions])


def read_predictions(path: Path) -> list[Prediction] | None:
    """What :func:`write_predictions` wrote; None where nothing has been yet."""
    if not path.is_file():
        return None
    rows = json.loads(path.read_text(encoding="utf-8"))
    return [_prediction(row) for row in rows]


def _prediction(row: Mapping[str, Any]) -> Prediction:
    lists = {name: tuple(row.get(name, ())) for name in ("probabilities", "others")}
    boxes = {name: boxed_from_json(row.get(name)) for name in ("objects", "found")}
    return Prediction(**{**row, **lists, **boxes})


def write_csv(
    path: Path,
    predictions: Sequence[Prediction],
    beside: dict[str, Sequence[Prediction]] | None = None,
) -> None:
    """One line a picture, with a column of answers for each of ``beside``."""
    write_text(path, csv_text(predictions, beside))


def csv_text(
    predictions: Sequence[Prediction],
    beside: dict[str, Sequence[Prediction]] | None = None,
) -> str:
    """The same as text; ``beside`` holds predictions of the same rows in the same order."""
    others = {name: list(rows) for name, rows in (beside or {}).items() if rows}
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*_COLUMNS, *others])
    for number, p in enumerate(predictions):
        values = [p.image, p.id, p.truth, p.answer, p.right, p.confidence, p.said, p.response]
        extra = [rows[number].answer for rows in others.values()]
        writer.writerow(["" if v is None else v for v in (*values, round(p.seconds, 4), *extra)])
    return out.getvalue()
