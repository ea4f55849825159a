"""Our recognizer in the harness: an episode's shots as samples, its queries as probabilities.

No validation rows and no tuning. ``ABLATIONS`` holds what each row of the ablation passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.bench.recognition.tasks import Episode
from tools.likelihood import Design
from tools.recognizer import Ranking, Recognizer, Sample

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]

ABLATIONS: dict[str, dict[str, Any]] = {
    "as shipped": {},
    "W of the background, not adapted": {"design": Design(adapt=False)},
    "no kernel density": {"design": Design(kernel=0.0)},
    "every picture counts in full": {"design": Design(alike=0.0)},
    "names do not move the means": {"design": Design(prior=False)},
    "one domain": {"design": Design(domains=False)},
    "sharpness not fitted": {"design": Design(temperature=False)},
}
"""Keyword arguments of :class:`Recognizer` by the name of the row."""


def label_id(number: int) -> str:
    """An id whose order is the numbers'."""
    return f"{number:05d}"


def samples_of(shots: Floats, y: Ints) -> list[Sample]:
    """The shots (N, d) of labels (N,) as samples."""
    return [
        Sample(f"{i:06d}", label_id(k), v) for i, (v, k) in enumerate(zip(shots, y, strict=True))
    ]


def teach(episode: Episode, *, text: Floats | None = None, **options: Any) -> Recognizer:
    """A recognizer taught the episode's shots; ``text`` (K, d) are the labels' names, if any."""
    names = None if text is None else {label_id(k): t for k, t in enumerate(text)}
    return Recognizer(samples_of(episode.shots, episode.y), episode.background, names, **options)


def logits(episode: Episode, **options: Any) -> Floats:
    """Log-probabilities (m, K) of the episode's queries."""
    recognizer = teach(episode, text=episode.text, **options)
    return np.log(np.maximum(recognizer.posteriors(episode.queries), 1e-30))


def rankings(recognizer: Recognizer, queries: Floats) -> Sequence[Ranking]:
    """What the product says of each query."""
    return [recognizer.recognise(q, evidence=0) for q in queries]
