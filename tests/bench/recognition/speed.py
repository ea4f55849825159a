"""How quick and how large the recognizer is: made-up vectors, d = 512, medians of repeated calls.

Knows nothing of accuracy. Memory is what Python and numpy hold after building (tracemalloc), the
vectors given by the caller left out.
"""

from __future__ import annotations

import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tools.background import Background, covariances, isotropic
from tools.recognizer import Recognizer, Sample

D = 512
LABELS = 100
_WIDTH = 50
Floats = NDArray[np.floating]


def background() -> Background:
    """Statistics of made-up things with unequal spread, so that no matrix is diagonal."""
    rng = np.random.default_rng(0)
    things = np.repeat(rng.standard_normal((400, D)) * np.geomspace(2, 0.2, D), 4, axis=0)
    seen = things + rng.standard_normal(things.shape)
    turned = seen @ np.linalg.qr(rng.standard_normal((D, D)))[0]
    unit = turned / np.linalg.norm(turned, axis=1, keepdims=True)
    centre, within, between = covariances(unit, np.repeat(np.arange(400), 4), 0.1)
    plain = isotropic(D)
    domain = replace(plain.domains[0], centre=centre, within=within, between=between)
    return replace(plain, domains=(domain,))


def samples(count: int) -> list[Sample]:
    """``count`` exemplars in turn for 100 labels."""
    rng = np.random.default_rng(1)
    centres = rng.standard_normal((LABELS, D))
    rows = centres[np.arange(count) % LABELS] + rng.standard_normal((count, D))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return [Sample(f"{i:07d}", f"label{i % LABELS:03d}", v) for i, v in enumerate(rows)]


def seconds(action: Callable[[int], object], i: int) -> float:
    """How long a call takes."""
    started = time.perf_counter()
    action(i)
    return time.perf_counter() - started


def summary(spent: Sequence[float]) -> str:
    """``median (min–max)`` of seconds, in milliseconds."""
    times = [1e3 * s for s in spent]
    return f"{statistics.median(times):.2f} ({min(times):.2f}–{max(times):.2f})"


def rows(count: int = 10_000, more: int = 100_000, times: int = 20) -> Iterator[tuple[str, str]]:
    """What was measured and its result, in milliseconds or megabytes."""
    known = background()
    taught, extra = samples(count), samples(count + times)[count:]
    queries = [s.vector for s in samples(times)]
    few = max(3, times // 5)

    def rebuild(i: int) -> None:
        Recognizer(taught, known).recognise(queries[i])  # what is left for later is counted

    yield (
        f"rebuild and first answer, {count:,} exemplars, ms",
        summary([seconds(rebuild, i) for i in range(few)]),
    )
    tracemalloc.start()
    recognizer = Recognizer(taught, known)
    recognizer.recognise(queries[0])
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    yield f"memory, {count:,} exemplars, MB", f"{held / 1e6:.1f}"
    yield from classify(recognizer, queries, f"{count:,} exemplars")
    kept = [recognizer]

    def add(i: int) -> None:
        kept.append(kept[-1].add(extra[i]))

    def remove(i: int) -> None:
        kept.append(kept[-1].remove(extra[i].id))

    def answer(i: int) -> None:
        kept[-1].recognise(queries[i], evidence=0)

    for name, change in (("add", add), ("remove", remove)):
        # Alternating, so that what a change leaves for the next question is seen.
        spent = []
        for i in range(times):
            spent.append((seconds(change, i), seconds(answer, i)))
            del kept[:-1]  # to let go of what was there before is no part of a change
        yield f"{name} one, ms", summary([x for x, _ in spent])
        yield f"{name} one and answer, ms", summary([x + y for x, y in spent])
    large = Recognizer(samples(more), known)
    large.recognise(queries[0])
    yield from classify(large, queries, f"{more:,} exemplars")


def classify(
    recognizer: Recognizer, queries: Sequence[Floats], what: str
) -> Iterator[tuple[str, str]]:
    """Milliseconds of an answer, with and without its evidence."""
    for name, evidence in (("classify one", 0), ("with three of evidence", 3)):
        spent = [
            seconds(lambda i, n=evidence: recognizer.recognise(queries[i], evidence=n), i)
            for i in range(len(queries))
        ]
        yield f"{name}, {what}, ms", summary(spent)


def run(*, quick: bool = False) -> Iterator[str]:
    """Measure and say so, line by line."""
    yield f"{'':{_WIDTH}}  median (min–max), d = {D}, {LABELS} labels"
    sizes = {"count": 500, "more": 2_000, "times": 10} if quick else {}
    for name, value in rows(**sizes):
        yield f"{name:{_WIDTH}}  {value}"
