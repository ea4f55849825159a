"""What a good figure may hide: controls that a model must pass before it is worth using.

Is it right more often than the commonest answer, and than itself with nothing to see? Does its
base come back when it is taken off? Does it say yes to everything? What has it forgotten? Each on
a bounded sample of what measures the run. Knows nothing of how a learner learns.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from finetune.data import Row
from finetune.evaluation.asking import answered
from finetune.evaluation.general import general_rows, is_right
from finetune.evaluation.intervals import percent, resampled, wilson
from finetune.evaluation.metrics import Kind, compare, decisive, told
from finetune.evaluation.predictions import Prediction, same_answer
from finetune.files import write_bytes
from finetune.learners.learner import Learner, Session
from finetune.settings.schema import Settings
from tools.images import Photo
from tools.wording import article, capital

__all__ = ["Control", "Measured", "control"]

Kept = Callable[[str, Callable[[], list[Prediction]]], list[Prediction]]
"""A name and how to predict to the predictions, which are on disk from then on."""
_GREY = (128, 128, 128)
_FAILS = 0.5  # of the things that are no zorbs called zorbs


@dataclass(frozen=True)
class Control:
    """What a control found.

    ``problem``: why the model is not worth using; ``behind``: what it is no better than;
    ``doubt``: what too few pictures can't tell it from; ``warning``: what whoever uses it should
    know. Empty where it passed.
    """

    name: str
    found: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""
    behind: str = ""
    doubt: str = ""
    warning: str = ""

    def to_json(self) -> dict[str, Any]:
        """As ``results.json`` holds it."""
        problem = self.problem or self.behind or self.doubt or self.warning
        return {
            "found": self.found,
            "passed": not problem,
            "problem": problem or None,
            **self.figures,
        }


@dataclass(frozen=True)
class Measured:
    """What measured a run: rows, and what was said of each before and after, in one order."""

    kind: Kind
    classes: Sequence[str]
    train: Sequence[Row]
    rows: Sequence[Row]
    ours: Sequence[Prediction]
    base: Sequence[Prediction]

    def sampled(self, count: int, seed: int) -> Measured:
        """At most ``count`` of them."""
        every = range(len(self.rows))
        numbers = sorted(random.Random(seed).sample(every, min(count, len(every))))
        return replace(
            self,
            rows=[self.rows[i] for i in numbers],
            ours=[self.ours[i] for i in numbers],
            base=[self.base[i] for i in numbers],
        )


def control(
    learner: Learner, settings: Settings, measured: Measured, session: Session, kept: Kept
) -> list[Control]:
    """Every control that means something for this method and these rows.

    The answers are those of the model that is kept, with what it trained switched on and off.
    """
    folder = session.folder / "evaluation"
    part = measured.sampled(settings.evaluation.sample, settings.data.seed)
    found = [] if measured.kind == "boxes" else [_commonest(measured)]
    blank = kept("blank", lambda: answered(learner, _blank(part.rows, folder), session))
    found.append(_against_blank(part, blank))
    asks = settings.changes_answerer
    if not settings.uses_embedder:
        off = kept("off", lambda: learner.predict(part.rows, session, base=True))
        found.append(_off(part, off))
    if asks and part.classes:
        asked = _is_this(part, settings.data.seed)
        pair = _before_and_after("no", learner, [row for row, _ in asked], session, kept)
        found.append(_yes_to_all(*pair, example=asked[0][1]))
    elif part.kind == "classes":
        found.append(_false_alarms(measured))
    elif part.kind == "answers" and any(same_answer(p.truth, "no") for p in part.ours):
        found.append(
            _yes_to_all(
                *([p for p in one if same_answer(p.truth, "no")] for one in (part.base, part.ours))
            )
        )
    if asks:
        general = general_rows(folder / "general")
        found.append(_forgotten(*_before_and_after("general", learner, general, session, kept)))
    return found


def _before_and_after(
    name: str, learner: Learner, rows: Sequence[Row], session: Session, kept: Kept
) -> tuple[list[Prediction], list[Prediction]]:
    before = kept(f"{name}-base", lambda: learner.predict(rows, session, base=True))
    return before, kept(name, lambda: learner.predict(rows, session))


def _commonest(measured: Measured) -> Control:
    """Always the answer that most training pictures have; to the same question, where it was."""
    said: dict[str | None, Counter[str]] = defaultdict(Counter)
    for row in measured.train:
        for question in {row.question, None}:
            said[question][row.label or row.answer or ""] += 1
    guesses = [(said.get(row.question) or said[None]).most_common(1)[0][0] for row in measured.rows]
    theirs = [replace(p, answer=g) for p, g in zip(measured.ours, guesses, strict=True)]
    figure, gain = decisive(theirs, measured.kind), compare(measured.ours, theirs, measured.kind)
    what = f"always “{guesses[0]}”" if len(set(guesses)) == 1 else "the commonest answers"
    has = told(figure, measured.kind)
    return Control(
        "commonest",
        f"{capital(what)}: {has}.",
        {"guess": figure, "gain": gain},
        **_judged(gain, f"{what} ({has})"),
    )


def _against_blank(part: Measured, blank: Sequence[Prediction]) -> Control:
    """The same rows with a grey picture. Who is as good without it has not looked at it."""
    figure, gain = decisive(blank, part.kind), compare(part.ours, blank, part.kind)
    has = told(figure, part.kind)
    seen = decisive(part.ours, part.kind)
    judged = _judged(gain, f"itself with blank pictures ({has})")
    if "behind" in judged and seen["value"] > 0:
        judged = {"problem": f"with blank pictures it is as good ({has}): it does not look"}
    found = f"A grey picture in place of each: {has}; the pictures: {told(seen, part.kind)}."
    return Control("blank", found, {"blank": figure, "gain": gain}, **judged)


def _off(part: Measured, off: Sequence[Prediction]) -> Control:
    """With what was trained switched off, the answers of the model before training."""
    pairs = list(zip(part.base, off, strict=True))
    other = sum(_text(a) != _text(b) for a, b in pairs)
    figures = {"other_answers": other, "n": len(pairs)}
    if not other:
        found = f"Switched off, it answers as before training to all {len(pairs)}."
        return Control("off", found, figures)
    found = f"Switched off, it answers {other} of {len(pairs)} otherwise than before training."
    problem = (
        f"switched off, it does not give back the model before training ({other} of {len(pairs)} "
        "answers differ)"
    )
    return Control("off", found, figures, problem=problem)


def _yes_to_all(
    before: Sequence[Prediction], after: Sequence[Prediction], *, example: str = ""
) -> Control:
    """Questions whose answer is no. ``example``: one of them."""
    yes = [sum(_yes(p) for p in several) for several in (before, after)]
    first, last = (wilson(count, len(after)) for count in yes)
    asked = f"“{example}” of other things" if example else "questions whose answer is no"
    found = f"Yes to {asked}: {percent(last)}, before training {percent(first)}."
    failed = last["value"] > _FAILS and last["value"] >= first["value"]
    return Control(
        "no",
        found,
        {"false_yes": last, "false_yes_before": first},
        problem=f"it says yes to {asked} in {percent(last)}" if failed else "",
    )


def _false_alarms(measured: Measured) -> Control:
    """One against the others: how many pictures of other classes get the class that takes most."""
    shares = {}
    for name in measured.classes:
        others = [p for p in measured.ours if p.truth != name]
        shares[name] = wilson(sum(p.answer == name for p in others), len(others))
    worst = max(shares, key=lambda name: shares[name]["value"])
    has = percent(shares[worst])
    return Control(
        "no",
        f"The class that takes most of the others' pictures: {worst}, {has}.",
        {"false_alarms": shares},
        problem=f"it calls {has} of other things {worst}" if shares[worst]["low"] > _FAILS else "",
    )


def _forgotten(before: Sequence[Prediction], after: Sequence[Prediction]) -> Control:
    """General questions: right before and after, and how many answers are still the same."""
    right = [np.array([is_right(_text(p), p.truth) for p in x], float) for x in (before, after)]
    first, last = (wilson(int(x.sum()), len(x)) for x in right)
    same = [same_answer(_text(a), _text(b)) for a, b in zip(before, after, strict=True)]
    agreement = wilson(sum(same), len(same))
    change = resampled(lambda i: float(np.mean(right[1][i] - right[0][i])), len(after))
    found = (
        f"General questions: {percent(last)} right, before training {percent(first)}; "
        f"{percent(agreement)} answered as before."
    )
    lost = (
        f"it has forgotten general things ({percent(last)} of the questions right, before training "
        f"{percent(first)})"
    )
    return Control(
        "general",
        found,
        {"after": last, "before": first, "agreement": agreement, "change": change},
        warning=lost if change["high"] < 0 else "",
    )


def _judged(gain: Mapping[str, Any], rival: str) -> dict[str, str]:
    """Nothing where ours is shown to be better than the rival."""
    difference = gain["difference"]
    if difference["low"] > 0:
        return {}
    return {"behind" if difference["value"] <= 0 else "doubt": rival}


def _blank(rows: Sequence[Row], folder: Path) -> list[Row]:
    """As large as the picture where that says what a box means."""
    folder.mkdir(parents=True, exist_ok=True)
    blank: dict[tuple[int, int], dict[str, Any]] = {}
    found = []
    for row in rows:
        size = (224, 224) if row.objects is None else row.photo().image.size
        if size not in blank:
            grey = Photo(Image.new("RGB", size, _GREY))
            path = folder / f"blank-{size[0]}x{size[1]}.png"
            write_bytes(path, grey.png())
            blank[size] = {"path": path, "photo_id": grey.id, "box": None}
        found.append(replace(row, **blank[size]))
    return found


def _is_this(part: Measured, seed: int) -> list[tuple[Row, str]]:
    """Of each picture one class that it is not: the question, which is its own example too."""
    rng = random.Random(seed)
    found = []
    for row in part.rows:
        other = rng.choice([name for name in part.classes if name != row.label])
        question = f"is this {article(other)}?"
        asked = replace(row, label=None, question=question, answer="no", reasoning=None)
        found.append((asked, question))
    return found


def _text(prediction: Prediction) -> str:
    return prediction.answer if prediction.response is None else prediction.response


def _yes(prediction: Prediction) -> bool:
    return _text(prediction).strip().casefold().startswith("yes")
