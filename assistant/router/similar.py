"""What a sentence most resembles when no line of the table fits: n-grams of letters, and a doubt.

Trained from the examples: those of the table and what its lines spell out, with names taken out.
Knows nothing of grammar. A likeness acts only where nothing can be lost; where memory would
change, it asks first.
"""

import math
import re
from collections import Counter, defaultdict
from functools import lru_cache

import numpy as np

from assistant.router.actions import Action, Context
from assistant.router.handlers import HANDLERS
from assistant.router.language import Language, Reading, language
from assistant.router.names import mentioned
from assistant.router.reading import Clause

__all__ = ["alike", "asked_first", "nearest"]

_SIZES = (3, 4)
_SURE = 0.5  # cosine from which a likeness is acted on, or asked about where memory changes
_VERY_SURE = 0.75
_BUT = frozenset(("not", "never", "if", "why", "how", "what"))
_MARGIN = 0.1  # by which the best intent must lead the next
_ASKS_FIRST = frozenset(
    ("undo", "forget", "forget_all", "forget_today", "forget_session", "forget_picture", "rename",
     "merge", "split", "alias")
)  # fmt: skip
_ACTS = frozenset(
    ("report", "known", "why", "compare", "classify", "caption", "find_label", "find_like", "train",
     "training_status", "export_memory", "import_memory", "detect", "help", "dont_know")
)  # fmt: skip


class _Model:
    """The examples of a language as vectors of weighted n-grams, unit length, by n-gram."""

    def __init__(self, tongue: Language) -> None:
        texts = list(dict.fromkeys(tongue.examples()))
        texts = [(i, t) for i, t in texts if i in _ASKS_FIRST | _ACTS]
        counts = [_grams(_abstract(text, tongue)) for _, text in texts]
        spread = Counter(g for c in counts for g in c)
        self.weight = {g: math.log(1 + len(texts) / n) for g, n in spread.items()}
        self.intents = list(dict.fromkeys(intent for intent, _ in texts))
        self.intent_of = np.array([self.intents.index(intent) for intent, _ in texts], dtype=int)
        by_gram: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for place, grams in enumerate(counts):
            values = {g: n * self.weight[g] for g, n in grams.items()}
            length = math.sqrt(sum(v * v for v in values.values())) or 1.0
            for gram, value in values.items():
                by_gram[gram].append((place, value / length))
        self.by_gram = {
            gram: (np.array([p for p, _ in found]), np.array([v for _, v in found]))
            for gram, found in by_gram.items()
        }

    def nearest(self, text: str) -> list[tuple[float, str]]:
        """The intents with the cosine of their most similar example, best first."""
        unseen = math.log(1 + len(self.intent_of))
        values = {g: n * self.weight.get(g, unseen) for g, n in _grams(text).items()}
        length = math.sqrt(sum(v * v for v in values.values())) or 1.0
        scores = np.zeros(len(self.intent_of))
        for gram, value in values.items():
            if gram in self.by_gram:
                places, others = self.by_gram[gram]  # a gram has an example once
                scores[places] += value * others / length
        best = np.zeros(len(self.intents))
        np.maximum.at(best, self.intent_of, scores)
        return sorted(
            ((float(s), i) for s, i in zip(best, self.intents, strict=True)), reverse=True
        )


def alike(clause: Clause, context: Context, *, sure: bool = False) -> Action | None:
    """The action of what the clause most resembles; None when it resembles nothing enough.

    ``sure``: it could as well be a question about a picture, so it has to be very like.
    """
    tongue = clause.tongue
    if len(clause.sentence.words) < 3 or len(clause.sentence.words) > 25:
        return None
    labels = mentioned(clause.text, context.labels)
    found = nearest(" ".join(clause.sentence.words), labels, tongue)
    if not found or found[0][0] < (_VERY_SURE if sure else _SURE):
        return None
    if len(found) > 1 and found[0][0] - found[1][0] < _MARGIN:
        return None
    intent = found[0][1]
    if intent in _ASKS_FIRST and _BUT.intersection(clause.sentence.words):
        return None  # "I will never forget it"
    slots = dict(zip(("label", "other"), labels, strict=False))
    if intent in ("forget", "split", "find_label") and len(labels) != 1:
        return None
    if intent in ("rename", "merge", "alias") and len(labels) != 2:
        return None
    done = HANDLERS[intent](Reading(intent, slots), clause, context)
    if not isinstance(done, Action):
        done = next(iter(done), None) if done else None
    if done is None or intent in _ACTS or not done.tool:
        return done
    return asked_first(done, tongue)


def asked_first(action: Action, tongue: Language) -> Action:
    """What is understood, as a question: "I understood: … Is that what you want?"."""
    args = {k: str(v) for k, v in (action.args or {}).items()}
    order = language("en").order(action.tool, **args)
    said = tongue.said("understood", order=order)
    return Action(text=said, options=(order, tongue.said("neither")))


def nearest(text: str, labels: list[str], tongue: Language) -> list[tuple[float, str]]:
    """The intents that ``text`` resembles, best first, with a cosine in [0, 1]."""
    for label in labels:
        text = re.sub(rf"\b{re.escape(label.casefold())}s?\b", "{label}", text)
    return _model(tongue.code).nearest(_abstract(text, tongue))


@lru_cache(maxsize=5)
def _model(code: str) -> _Model:
    return _Model(language(code))


def _abstract(text: str, tongue: Language) -> str:
    """Known words, small; one sign for whatever name stands in a slot."""
    text = re.sub(r"\{\w+\}|\bzorbs?\b|\bblicks?\b", "§", text)
    words = [w if w == "§" else " ".join(tongue.read(w).words) for w in text.split()]
    return f" {' '.join(words)} "


def _grams(text: str) -> Counter[str]:
    return Counter(text[i : i + n] for n in _SIZES for i in range(len(text) - n + 1))
