"""``python -m assistant.router.learn``: train the learned reader with ``examples/*.txt``.

Writes ``learned/*.npz``, which a test compares with the examples, and what tells languages apart
(:mod:`assistant.router.tongues`). Only this needs torch. Knows nothing of how examples are written
(:mod:`assistant.router.lessons`), nor of how the router uses the reader.
"""

import argparse
import hashlib
import os
import random
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from assistant.router import tongues
from assistant.router.features import Token, features_of, tokens_in
from assistant.router.language import LANGUAGES, Language, language
from assistant.router.learned import BEFORE, DILATIONS, Reader, stored
from assistant.router.lessons import (
    RENAMED,
    SEVERAL,
    TAUGHT,
    Example,
    examples_in,
    paired,
    renamed,
)
from assistant.router.marking import TAGS
from assistant.router.spelling import checksum

__all__ = ["Network", "as_reader", "fingerprint", "fit", "main", "save", "unnamed"]

HERE = Path(__file__).parent
_LEAST = 2  # examples that a word or a feature must be in
_WIDTH, _REACH = 96, 5  # numbers for a word; words that a layer puts together
_BATCH, _RATE, _DECAY = 64, 2e-3, 0.02
_EPOCHS, _STEPS = 13, 1_000  # at least so many of each
_DROPPED = 0.3  # of the numbers
_HIDDEN = 0.05  # of the words, shown as if they were rare
_UNTOLD = 0.25  # of the examples, shown without what came before
_IGNORED = -100  # what torch's cross entropy leaves out
_PAIRED = 0.35  # of the examples, once more beside another
_BEGUN = torch.tensor(4.0)  # times a word counts with which a further wish begins: they are few


class Network(nn.Module):
    """What :class:`assistant.router.learned.Reader` computes, as it is trained."""

    def __init__(self, features: int, intents: int) -> None:
        super().__init__()
        self.features = nn.EmbeddingBag(features + 1, _WIDTH, mode="sum", padding_idx=0)
        nn.init.normal_(self.features.weight, std=0.1)
        self.before = nn.Embedding(len(BEFORE), _WIDTH)
        self.norms = nn.ModuleList(nn.LayerNorm(_WIDTH) for _ in DILATIONS)
        self.layers = nn.ModuleList(
            nn.Conv1d(_WIDTH, _WIDTH, _REACH, padding=_REACH // 2 * d, dilation=d)
            for d in DILATIONS
        )
        self.intent = nn.Linear(2 * _WIDTH, intents)
        self.meant = nn.Embedding(intents, _WIDTH)
        self.mark = nn.Conv1d(_WIDTH, _WIDTH, 3, padding=1)
        self.tags = nn.Linear(_WIDTH, len(TAGS))
        self.begin = nn.Conv1d(_WIDTH, _WIDTH, 3, padding=1)
        self.starts = nn.Linear(_WIDTH, 1)
        self.drop = nn.Dropout(_DROPPED)

    def forward(
        self, features: Tensor, before: Tensor, intent: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The scores of intents (B, I), those of tags (B, T, len(TAGS)) given the intents, and
        those of each word that a further wish begins with it (B, T).

        ``features`` (B, T, F) are rows of the table, from 1; a word that is none has only 0.
        """
        size, length, _ = features.shape
        there = (features > 0).any(dim=2, keepdim=True)
        seen = self.features(features.view(size * length, -1)).view(size, length, -1)
        seen = self.drop(seen + self.before(before)[:, None]) * there
        for norm, layer in zip(self.norms, self.layers, strict=True):
            seen = seen + self.drop(self._over(layer, norm(seen) * there)) * there
        pooled = torch.cat(
            [seen.masked_fill(~there, -1e4).amax(dim=1), seen.sum(dim=1) / there.sum(dim=1)], dim=1
        )
        told = (seen + self.meant(intent)[:, None]) * there
        told = told + self._over(self.mark, told)
        begun = seen * there
        begun = begun + self._over(self.begin, begun)
        starts = self.starts(self.drop(begun)).squeeze(2)
        return self.intent(self.drop(pooled)), self.tags(self.drop(told)), starts

    def _over(self, layer: nn.Module, seen: Tensor) -> Tensor:
        return functional.gelu(layer(seen.transpose(1, 2)).transpose(1, 2), approximate="tanh")


class _Row(NamedTuple):
    features: list[list[int]]
    tags: list[int]
    intent: int
    before: int
    starts: list[float]


def fit(examples: Sequence[Example], tongue: Language, *, epochs: int | None = None) -> Reader:
    """The reader of a language.

    In each epoch the examples that give a name are seen a second time with other names, so that
    it learns what stands around them; some are put together in pairs, so that it learns where a
    wish ends and another begins, and some have talk beside them, so that it learns where none does.
    The same examples give the same reader on one machine.
    """
    torch.manual_seed(0)
    chance = random.Random(0)
    labels = TAUGHT[tongue.code]
    seen = [(e, t) for e in examples if (t := tokens_in(e.text, labels, tongue))]
    whole = [(e, tokens) for e, tokens in seen if e.intent != SEVERAL]
    tagged = [(e, t, tag) for e, tokens in whole for t, tag in _tagged(e, tokens)]
    words = Counter(t.word for _, t, tag in tagged if tag == "O" and not t.taught)
    common = frozenset(w for w, n in words.items() if n >= _LEAST)
    counts = Counter(
        checksum(f) for e, t in seen for row in features_of(e.text, t, common) for f in row
    )
    keys = sorted(key for key, n in counts.items() if n >= _LEAST)
    places = {key: place for place, key in enumerate(keys, 1)}
    intents = sorted({e.intent for e, _ in whole})
    rare = places.get(checksum("w=¤"), 0)

    def row(example: Example, tokens: Sequence[Token]) -> _Row:
        found = [
            [places.get(checksum(f), 0) for f in features]
            for features in features_of(example.text, tokens, common)
        ]
        for features in found:
            if chance.random() < _HIDDEN:
                features[0] = rare
        tags = [TAGS.index(tag) for _, tag in _tagged(example, tokens)]
        intent = _IGNORED
        if example.intent == SEVERAL:
            tags = [_IGNORED] * len(tags)
        else:
            intent = intents.index(example.intent)
        firsts = {next((t for t in tokens if t.end > s), tokens[0]) for s in example.starts}
        starts = [float(t in firsts) for t in tokens]
        before = "any" if chance.random() < _UNTOLD else example.before
        if before == "none":  # what fits in the middle of anything fits behind an answer, too
            before = chance.choice(("none", "said"))
        return _Row(found, tags, intent, BEFORE.index(before), starts)

    network = Network(len(keys), len(intents))
    epochs = epochs or max(_EPOCHS, _STEPS * _BATCH // len(seen))
    optimiser = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=_DECAY)
    swapped = sum(e.intent in RENAMED for e in examples)
    pairs = int(_PAIRED * len(examples))
    steps = epochs * -(-(len(seen) + swapped + pairs) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, steps, pct_start=0.1)
    network.train()
    for epoch in range(epochs):
        new = [*renamed(examples, chance), *paired(examples, pairs, tongue.code, chance)]
        made = [(e, t) for e in new if (t := tokens_in(e.text, labels, tongue))]
        rows = [row(e, t) for e, t in [*seen, *made]]
        rows.sort(key=lambda r: len(r.tags) + 4 * chance.random())
        batches = [rows[i : i + _BATCH] for i in range(0, len(rows), _BATCH)]
        chance.shuffle(batches)
        total = 0.0
        for batch in batches:
            features, tags, intent, before, starts = _tensors(batch)
            told, marked, begun = network(features, before, intent.clamp(min=0))
            loss = _left_out(functional.cross_entropy(told, intent, label_smoothing=0.05))
            loss = loss + _left_out(functional.cross_entropy(marked.transpose(1, 2), tags))
            there = starts >= 0
            loss = loss + functional.binary_cross_entropy_with_logits(
                begun[there], starts[there], pos_weight=_BEGUN
            )
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            if schedule.last_epoch < steps:
                schedule.step()
            total += float(loss.detach())
        sys.stdout.write(f"{tongue.code} {epoch + 1}/{epochs}: loss {total / len(batches):.3f}\n")
        sys.stdout.flush()
    return as_reader(network, keys, intents, common, tongue)


def as_reader(
    network: Network,
    keys: Sequence[int],
    intents: Sequence[str],
    common: Iterable[str],
    tongue: Language,
) -> Reader:
    """What computes the same without torch. ``keys``: the checksums of the rows of its table."""
    weights: dict[str, Any] = {
        name: value.detach().numpy().astype(np.float16)
        for name, value in network.named_parameters()
    }
    weights["features.weight"] = weights["features.weight"][1:]
    weights["keys"] = np.array(keys, dtype=np.uint32)
    return Reader(tongue, common, intents, weights)


def _tagged(example: Example, tokens: Sequence[Token]) -> Iterator[tuple[Token, str]]:
    """Each token with its tag."""
    last = "O"
    for token in tokens:
        slot = next((s for a, b, s in example.slots if token.start < b and token.end > a), "")
        begun = slot and last[1:] == slot and token.start > _start(example, slot)
        last = f"{'I' if begun else 'B'}{slot}" if slot else "O"
        yield token, last


def _start(example: Example, slot: str) -> int:
    return next(start for start, _, name in example.slots if name == slot)


def _left_out(loss: Tensor) -> Tensor:
    """The loss, or none where all of a batch was to be ignored."""
    return loss if bool(torch.isfinite(loss)) else loss.new_zeros(())


def _tensors(rows: Sequence[_Row]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Features (B, T, F), tags and starts (B, T) of rows, filled up to the longest; intents and
    before (B,)."""
    length = max(len(r.tags) for r in rows)
    features = torch.zeros(len(rows), length, len(rows[0].features[0]), dtype=torch.long)
    tags = torch.full((len(rows), length), _IGNORED)
    starts = torch.full((len(rows), length), -1.0)
    for place, row in enumerate(rows):
        features[place, : len(row.tags)] = torch.tensor(row.features)
        tags[place, : len(row.tags)] = torch.tensor(row.tags)
        starts[place, : len(row.tags)] = torch.tensor(row.starts)
    return (
        features, tags, torch.tensor([r.intent for r in rows]),
        torch.tensor([r.before for r in rows]), starts,
    )  # fmt: skip


def fingerprint(text: str) -> str:
    """What tells examples from others."""
    return hashlib.sha256(text.encode()).hexdigest()


def save(data: Mapping[str, npt.NDArray[Any]], path: Path, examples: str) -> None:
    """Write what was learned, and what tells of which examples."""
    held: dict[str, Any] = {**data, "examples": np.array(fingerprint(examples))}
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = path.with_suffix(f".{os.getpid()}")
    with whole.open("wb") as file:
        np.savez_compressed(file, **held)
    whole.replace(path)


def unnamed(example: Example) -> str:
    """What is typed around the slots: names are of no language."""
    text, end = "", 0
    for start, stop, _ in sorted(example.slots):
        text, end = text + example.text[end:start], stop
    return text + example.text[end:]


def main(arguments: Iterable[str] | None = None) -> None:
    """Train the readers of the languages that are named, or of all, and what tells all apart."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("languages", nargs="*", default=LANGUAGES, help="codes, such as en")
    options = parser.parse_args(None if arguments is None else list(arguments))
    texts = {
        code: HERE.joinpath("examples", f"{code}.txt").read_text(encoding="utf-8")
        for code in LANGUAGES
    }
    examples = {code: list(examples_in(text)) for code, text in texts.items()}
    found = tongues.learnt({c: map(unnamed, known) for c, known in examples.items()})
    save(found, HERE / "learned" / tongues.FILE, "".join(texts.values()))
    for code in options.languages:
        learned = stored(fit(examples[code], language(code)))
        save(learned, HERE / "learned" / f"{code}.npz", texts[code])


if __name__ == "__main__":
    main()
