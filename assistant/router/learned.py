"""The reader that learned from examples how people say things: an intent, and what fills its slots.

A small network of convolutions over the words of a message, one a language
(:mod:`assistant.router.learn` trains it): the intent is read off the whole message, and then for
each word whether it belongs to a slot of that intent; of all ways to mark the words the likeliest
that is one is taken (Viterbi, 1967). Runs in numpy, in about a millisecond. Knows nothing
of tools, and of what came before no more than a word.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files
from typing import Any

import numpy as np
import numpy.typing as npt

from assistant.router.features import Token, features_of, tokens_in
from assistant.router.language import Language
from assistant.router.marking import SLOTS, spans
from assistant.router.spelling import checksum

__all__ = ["BEFORE", "DILATIONS", "Guess", "Reader", "loaded", "reader", "stored"]

BEFORE = ("photo", "asked", "said", "none", "any")
"""What may have come before a message: it comes with a picture; "what is it?" was asked; something
was said or done that it may be about; nothing such; or that is not known."""
DILATIONS = (1, 1, 2, 3)
"""How far apart the words are that each layer puts together."""
_TANH = np.float32(np.sqrt(2 / np.pi))
_FAR = np.float32(80)  # its exponential is a float32 still, and x by it nothing
_SMALL = 1e-5  # beside a variance, as torch's LayerNorm has it
_OPENING, _CLOSING = "\"'“«„‘<「", "\"'”“»’>」"

Array = npt.NDArray[np.float32]


_Look = tuple[list[Token], Array]
"""The words of a message, and each of them with its neighbours in view (T, d)."""


@dataclass(frozen=True)
class Guess:
    """What a message most likely means."""

    intent: str
    probability: float
    """Of the intent, in [0, 1]."""
    slots: dict[str, str]
    """What was typed for each slot."""
    surety: dict[str, float]
    """For each slot how likely each of its words belongs to it, on average, in [0, 1]."""
    words: frozenset[str] = frozenset()
    """All words of the message."""
    lead: str = ""
    """What was typed before the label."""
    text: str = ""
    """The message."""


class Reader:
    """The network of one language."""

    def __init__(
        self,
        tongue: Language,
        common: Iterable[str],
        intents: Sequence[str],
        weights: Mapping[str, npt.NDArray[np.generic]],
    ) -> None:
        """``common``: the words that are seen as they are. ``weights``: ``keys`` (F,), the sorted
        checksums of the features, and the parameters by the names of the trained module."""
        self.tongue, self.intents = tongue, tuple(intents)
        self.common = frozenset(common)
        self.keys = weights["keys"]
        self.weights = {
            name: np.asarray(value, dtype=np.float32)
            for name, value in weights.items()
            if name != "keys"
        }
        self._places = {key: place for place, key in enumerate(self.keys.tolist())}
        table = self.weights["features.weight"]
        self._rows = np.concatenate([table, np.zeros_like(table[:1])])
        """The numbers of each feature, and of one that is not known: none (F + 1, d)."""
        self._kernels = {
            name.removesuffix(".weight"): value.transpose(2, 1, 0).reshape(-1, value.shape[0])
            for name, value in self.weights.items()
            if value.ndim == 3
        }
        """Of each convolution, for a row of so many words one after the other (width · d, d)."""
        # A message is read, looked at for where it may be cut, and judged beside the tables.
        kept = lru_cache(maxsize=16)
        self._looked = kept(self._look)
        self._guessed = kept(self._guess)
        self._cut = kept(self._find)

    def read(self, text: str, labels: Sequence[str], before: str) -> Guess | None:
        """What ``text`` most likely means; None when there is no word in it.

        ``labels`` are the names that are taught; ``before`` is one of :data:`BEFORE`.
        """
        return self._guessed(text, tuple(labels), before)

    def _guess(self, text: str, labels: tuple[str, ...], before: str) -> Guess | None:
        tokens, seen = self._looked(text, labels, before)
        if not tokens:
            return None
        pooled = np.concatenate([seen.max(axis=0), np.add.reduce(seen) / len(seen)])
        scores = _log_softmax(self._linear("intent", pooled))
        best = int(scores.argmax())
        intent = self.intents[best]
        slots = SLOTS.get(intent, ())
        filled: dict[str, str] = {}
        surety: dict[str, float] = {}
        lead = ""
        if slots:
            marks = self._marks(seen, best)
            for slot, (start, end, sure) in spans(marks, intent).items():
                filled[slot] = _typed(text, tokens[start].start, tokens[end - 1].end)
                lead = text[: tokens[start].start] if slot == "label" else lead
                surety[slot] = sure
        words = frozenset(t.word for t in tokens)
        return Guess(intent, float(np.exp(scores[best])), filled, surety, words, lead, text)

    def cuts(self, text: str, labels: Sequence[str], before: str) -> list[tuple[int, float]]:
        """The characters of ``text`` at which a further wish may begin, and how likely each is,
        in [0, 1]; the arguments are those of :meth:`read`."""
        return self._cut(text, tuple(labels), before)

    def _find(self, text: str, labels: tuple[str, ...], before: str) -> list[tuple[int, float]]:
        tokens, seen = self._looked(text, labels, before)
        if len(tokens) < 2:
            return []
        shares = self._begun(seen).tolist()
        return [
            (_opened(text, token.start), share)
            for token, share in zip(tokens[1:], shares[1:], strict=True)
        ]

    def _look(self, text: str, labels: tuple[str, ...], before: str) -> _Look:
        tokens = tokens_in(text, labels, self.tongue)
        return tokens, self._seen(text, tokens, before) if tokens else np.zeros((0, 0), "f4")

    def _seen(self, text: str, tokens: Sequence[Token], before: str) -> Array:
        """The words of a message, each with its neighbours in view (T, d)."""
        features = features_of(text, tokens, self.common)
        none = len(self.keys)
        places = [[self._places.get(checksum(f), none) for f in row] for row in features]
        seen: Array = np.add.reduce(self._rows.take(places, axis=0), axis=1)
        seen += self.weights["before.weight"][BEFORE.index(before)]
        each = np.full(seen.shape[1], 1 / seen.shape[1], np.float32)
        for layer, dilation in enumerate(DILATIONS):
            even = seen - (seen @ each)[:, None]  # of so few numbers mean() is mostly its call
            even /= np.sqrt(np.vecdot(even, even) / seen.shape[1] + _SMALL)[:, None]
            even *= self.weights[f"norms.{layer}.weight"]
            even += self.weights[f"norms.{layer}.bias"]
            seen += _gelu(self._convolved(f"layers.{layer}", even, dilation))
        return seen

    def _begun(self, seen: Array) -> Array:
        """For each word how likely a further wish begins with it (T,)."""
        seen = seen + _gelu(self._convolved("begin", seen, 1))
        found: Array = np.exp(-np.logaddexp(0, -self._linear("starts", seen)[:, 0]))
        return found

    def _marks(self, seen: Array, intent: int) -> Array:
        """For each word the logarithm of the probability of each tag (T, len(TAGS))."""
        seen = seen + self.weights["meant.weight"][intent]
        seen = seen + _gelu(self._convolved("mark", seen, 1))
        marks: Array = _log_softmax(self._linear("tags", seen))
        return marks

    def _convolved(self, name: str, seen: Array, dilation: int) -> Array:
        kernel = self._kernels[name]
        (size, depth), width = seen.shape, len(kernel) // seen.shape[1]
        reach = width // 2 * dilation
        padded = np.zeros((size + 2 * reach, depth), dtype=np.float32)
        padded[reach : reach + size] = seen
        views = padded.take(_windows(size, width, dilation), axis=0)
        found: Array = views.reshape(size, -1) @ kernel
        found += self.weights[f"{name}.bias"]
        return found

    def _linear(self, name: str, seen: Array) -> Array:
        found: Array = seen @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]
        return found


@lru_cache(maxsize=512)
def _windows(size: int, width: int, dilation: int) -> npt.NDArray[np.intp]:
    """For each of ``size`` rows which padded rows it is put together of (size, width)."""
    return np.arange(size)[:, None] + np.arange(width) * dilation


def _gelu(x: Array) -> Array:
    """As torch has it, approximated by tanh; 1 + tanh(y) is 2 / (1 + exp(-2 y))."""
    found: Array = x * x  # and on in place: of so few numbers an array costs more than they do
    found *= -2 * _TANH * np.float32(0.044715)
    found -= 2 * _TANH
    found *= x
    np.minimum(found, _FAR, out=found)
    np.exp(found, out=found)
    found += 1
    np.divide(x, found, out=found)
    return found


def _log_softmax(scores: Array) -> Array:
    even = scores - scores.max(axis=-1, keepdims=True)
    found: Array = even - np.log(np.exp(even).sum(axis=-1, keepdims=True))
    return found


def _typed(text: str, start: int, end: int) -> str:
    """What was typed there, with the quotes and brackets that belong to it."""
    start = _opened(text, start)
    while end < len(text) and text[end] in _CLOSING:
        end += 1
    return text[start:end]


def _opened(text: str, start: int) -> int:
    """Where the quotes and brackets begin that are opened before a place."""
    while start and text[start - 1] in _OPENING:
        start -= 1
    return start


def stored(reader: Reader) -> dict[str, npt.NDArray[Any]]:
    """A reader as a file holds it: the numbers of features in a byte each, the others in two."""
    table = reader.weights["features.weight"]
    scale = np.abs(table).max(axis=1, keepdims=True) / 127 + np.finfo(np.float16).tiny
    return {
        **{name: value.astype(np.float16) for name, value in reader.weights.items()},
        "features.weight": np.round(table / scale).astype(np.int8),
        "features.scale": scale.astype(np.float16),
        "keys": reader.keys,
        "common": np.array("\n".join(sorted(reader.common))),
        "intents": np.array("\n".join(reader.intents)),
    }


def loaded(tongue: Language, held: Mapping[str, npt.NDArray[Any]]) -> Reader:
    """The reader that a file holds."""
    weights = dict(held)
    common, intents = (str(weights.pop(name)).split() for name in ("common", "intents"))
    scale = weights.pop("features.scale").astype(np.float32)
    weights["features.weight"] = weights["features.weight"] * scale
    return Reader(tongue, common, intents, weights)


@lru_cache(maxsize=5)
def reader(tongue: Language) -> Reader:
    """The reader of a language, loaded once."""
    with (
        as_file(files("assistant.router").joinpath("learned", f"{tongue.code}.npz")) as path,
        np.load(path) as data,
    ):
        return loaded(tongue, {name: data[name] for name in data.files if name != "examples"})
