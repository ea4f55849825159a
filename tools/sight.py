"""Pictures and words as the embedder sees them: vectors, the shipped vocabulary, the world's edge.

Knows nothing of what was taught. Shared by all visitors: what it caches depends on content alone.
"""

import logging
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from tools.artifacts import Candidate
from tools.images import Photo
from tools.looks import with_looks
from tools.models.adapters import Adapters
from tools.models.roles import Answerer, Captioner, Embedder
from tools.vocabulary import Vocabulary, common_words, shipped_vocabulary

if TYPE_CHECKING:
    from tools.background import Background
    from tools.survey import Survey

__all__ = ["SURE", "TEMPLATES", "Sight", "SightModels", "softmax"]

log = logging.getLogger(__name__)
TEMPLATES = ("{}", "a picture of {}")
"""What is said of a name; its prototype is the mean over them."""
SURE = 0.22
"""A name of the vocabulary this likely is said; of drawings in a style never seen in training,
three in four such names are right (python -m tests.bench.pocket)."""
_SURER = 0.27  # and this likely where one name alone is said; with less, the word for its kind is
_CACHED = 4_096  # vectors: 4 MB at d = 256


class SightModels(Protocol):
    """The models the tools use (:class:`tools.models.Models`)."""

    @property
    def embedder(self) -> Embedder:
        """Vectors of pictures and texts."""

    @property
    def captioner(self) -> Captioner:
        """Descriptions."""

    @property
    def answerer(self) -> Answerer:
        """Answers."""

    @property
    def adapters(self) -> Adapters:
        """What was trained on top of the models."""

    @property
    def profile(self) -> str:
        """The resolved profile's name."""


class Sight:
    """The embedder with what belongs to it. Thread-safe."""

    def __init__(
        self, models: SightModels, cache: Path | None = None, survey: "Survey | None" = None
    ) -> None:
        """``cache``: a folder for what takes long to compute and any start may use again."""
        self.models = models
        from tools.survey import Survey  # scipy's optimisers take long to import

        self.survey = survey or Survey(cache / "background" if cache else None)
        self._lock = Lock()
        self._embedder: Embedder | None = None
        self._vectors: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self._words: dict[str, NDArray[np.float32]] = {}
        self._names: Vocabulary | None = None
        self._known: frozenset[str] | None = None
        self._vocabulary: tuple[list[str], NDArray[np.float32]] | None = None

    @property
    def embedder(self) -> Embedder:
        """The embedder itself: the same one for good, whatever is activated meanwhile."""
        if self._embedder is None:
            found = self.models.embedder
            with self._lock:
                self._embedder = self._embedder or found
        return self._embedder

    def fresh(self) -> "Sight":
        """This one, or where another embedder runs by now a new one, for what begins now.

        Vectors of two embedders must never meet, so who has begun with one ends with it.
        """
        if self._embedder is None or self.models.embedder is self._embedder:
            return self
        return Sight(self.models, survey=self.survey)

    @property
    def background(self) -> "Background":
        """The embedder's statistics; measured now when there are none yet."""
        return self.survey.background(self.embedder, self.words)

    @property
    def vocabulary(self) -> Vocabulary:
        """Names with aliases: the embedder's own, or those shipped for embedders without."""
        if self._names is None:
            self._names = tuple(self.embedder.vocabulary) or shipped_vocabulary()
        return self._names

    def knows_word(self, word: str) -> bool:
        """Whether ``word`` is a name or an alias of the vocabulary."""
        if self._known is None:
            self._known = frozenset(
                n.casefold() for name, aliases in self.vocabulary for n in (name, *aliases)
            )
        return word.casefold() in self._known

    def vector(self, photo: Photo) -> NDArray[np.float32]:
        """The unit vector (d,) of a photo."""
        return self.vectors([photo])[0]

    def vectors(self, photos: Sequence[Photo]) -> list[NDArray[np.float32]]:
        """The unit vectors (d,) of photos, in one batch for those not seen lately."""
        with self._lock:
            known = {p.id: self._vectors[p.id] for p in photos if p.id in self._vectors}
        new = list({p.id: p for p in photos if p.id not in known}.values())
        if new:
            made = self.embedder.embed_photos(new)
            known.update({p.id: v for p, v in zip(new, made, strict=True)})
            with self._lock:
                for p in new:
                    self._vectors[p.id] = known[p.id]
                while len(self._vectors) > _CACHED:
                    self._vectors.popitem(last=False)
        return [known[p.id] for p in photos]

    def outside(self, photo: Photo) -> bool:
        """Whether the photo is outside the world that the embedder was trained on."""
        edge = self.background.edge
        if edge is None:
            return False
        return bool(edge.crossed(with_looks(self.vector(photo)[None], [photo]))[0])

    def words(self, names: Sequence[str]) -> NDArray[np.float32]:
        """(n, d) unit prototypes: the normalised mean of each name's prompt vectors."""
        with self._lock:
            known = {n: self._words[n] for n in names if n in self._words}
        new = [n for n in dict.fromkeys(names) if n not in known]
        if new:
            prompts = [t.format(n) for n in new for t in TEMPLATES]
            made = self.embedder.embed_texts(prompts)
            mean = made.reshape(len(new), len(TEMPLATES), -1).mean(axis=1)
            mean /= np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)
            known.update(zip(new, mean, strict=True))
            with self._lock:
                if len(self._words) > _CACHED:
                    self._words.clear()
                self._words.update({n: known[n] for n in new})
        return np.stack([known[n] for n in names])

    def zero_shot(self, vector: NDArray[np.float32], names: Sequence[str]) -> list[Candidate]:
        """``names`` by falling softmax probability of scale·cosine."""
        share = softmax(self.embedder.logit_scale * (self.words(names) @ vector))
        order = np.argsort(-share, kind="stable")
        return [Candidate(names[i], float(share[i])) for i in order]

    def name(self, vector: NDArray[np.float32], count: int = 5) -> list[Candidate]:
        """The likeliest names of the shipped vocabulary; empty where there is none."""
        names, features = self._named()
        if not names:
            return []
        share = softmax(self.embedder.logit_scale * (features @ vector))
        order = np.argsort(-share, kind="stable")[:count]
        return [Candidate(names[i], float(share[i])) for i in order]

    def sure_name(self, *views: NDArray[np.float32]) -> str | None:
        """What may be said of a picture: a name, or the word that the likeliest names share.

        Three clocks at a fifth each are a clock, whatever it shows (Deng et al., "Hedging your
        bets", CVPR 2012). Of several views of one thing the mean of what each says counts: what
        they differ about is not sure.
        """
        names, features = self._named()
        if not names:
            return None
        scale = self.embedder.logit_scale
        share = np.mean([softmax(scale * (features @ view)) for view in views], axis=0)
        best = int(share.argmax())
        if share[best] >= _SURER:
            return names[best]
        kinds = [(float(share[list(of)].sum()), word) for word, of in self._kinds[best]]
        chance, word = max(kinds, default=(0.0, ""))
        return word if chance >= SURE else None

    @cached_property
    def _kinds(self) -> list[list[tuple[str, tuple[int, ...]]]]:
        """Of each name the words that it shares, and with which names."""
        found: list[list[tuple[str, tuple[int, ...]]]] = [[] for _ in self._named()[0]]
        for word, numbers in common_words(self.vocabulary).items():
            for number in numbers:
                found[number].append((word, numbers))
        return found

    def likelihood(self, vectors: NDArray[np.float32], name: str) -> NDArray[np.float64]:
        """(n, d) → (n,) log(P(name | picture) · K): above 0 likelier than one of K names at random.

        P is the softmax over the vocabulary's K names, to which ``name`` need not belong.
        """
        scale = self.embedder.logit_scale
        known = scale * (vectors @ self._named()[1].T).astype(np.float64)
        own = scale * (vectors @ self.words([name])[0]).astype(np.float64)
        return np.asarray(own - np.logaddexp.reduce(known, axis=1) + np.log(known.shape[1]))

    def warm_up(self) -> None:
        """Compute now what the first question would otherwise wait for."""
        self._named()
        _ = self.background

    def _named(self) -> tuple[list[str], NDArray[np.float32]]:
        if self._vocabulary is None:
            names = [name for name, _ in self.vocabulary]
            features = self.embedder.embed_texts(names) if names else np.zeros((0, 1), np.float32)
            self._vocabulary = (names, features)
        return self._vocabulary


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Probabilities of logits, (n,) → (n,)."""
    z = np.asarray(logits, dtype=np.float64)
    e = np.exp(z - z.max())
    return np.asarray(e / e.sum())
