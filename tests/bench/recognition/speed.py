"""How quick and how large the recognizer is: made-up vectors, d = 512, medians of repeated calls.

Knows nothing of accuracy. Memory is what Python and numpy hold after building (tracemalloc), the
vectors given by the caller left out.
"""

from __future__ import annotations

import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from tools.background import Background, covariances, isotropic
from tools.recognizer import Recognizer, Sample

D = 512
LABELS = 100


def background() -> Background:
    """Statistics of made-up things with unequal spread, so that no matrix is diagonal."""
    rng = np.random.default_rng(0)
    things = np.repeat(rng.standard_normal((400, D)) * np.geomspace(2, 0.2, D), 4, axis=0)
    seen = things + rng.standard_normal(things.shape)
    turned = seen @ np.linalg.qr(rng.standard_normal((D, D)))[0]
    unit = turned / np.linalg.norm(turned, axis=1, keepdims=True)
    centre, within, between = covariances(unit, np.repeat(np.arange(400), 4))
    return replace(isotropic(D), centre=centre, within=within, between=between)


def samples(count: int) -> list[Sample]:
    """``count`` exemplars in turn for 100 labels."""
    rng = np.random.default_rng(1)
    centres = rng.standard_normal((LABELS, D))
    rows = centres[np.arange(count) % LABELS] + rng.standard_normal((count, D))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return [Sample(f"{i:07d}", f"label{i % LABELS:03d}", v) for i, v in enumerate(rows)]


def milliseconds(action: Callable[[int], object], times: int) -> str:
    """``median (min–max)`` of ``times`` calls."""
    spent = []
    for i in range(times):
        started = time.perf_counter()
        action(i)
        spent.append(1e3 * (time.perf_counter() - started))
    return f"{statistics.median(spent):.2f} ({min(spent):.2f}–{max(spent):.2f})"


def rows(count: int = 10_000, more: int = 100_000, times: int = 50) -> Iterator[tuple[str, str]]:
    """What was measured and its result, in milliseconds or megabytes."""
    statistics_of = background()
    _ = statistics_of.basis  # computed once per embedder
    taught, extra = samples(count), samples(count + times + 1)[count:]
    queries = [s.vector for s in samples(times)]
    few = max(3, times // 10)
    yield (
        f"rebuild, {count:,} exemplars, ms",
        milliseconds(lambda _: Recognizer(taught, statistics_of), few),
    )
    tracemalloc.start()
    recognizer = Recognizer(taught, statistics_of)
    recognizer.recognise(queries[0])
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    yield f"memory, {count:,} exemplars, MB", f"{held / 1e6:.1f}"
    yield (
        "classify one, no evidence, ms",
        milliseconds(lambda i: recognizer.recognise(queries[i], evidence=0), times),
    )
    yield (
        "classify one, with evidence, ms",
        milliseconds(lambda i: recognizer.recognise(queries[i]), times),
    )
    state = [recognizer]

    def add(i: int) -> None:
        state[0] = state[0].add(extra[i])

    def remove(i: int) -> None:
        state[0] = state[0].remove(extra[i].id)

    yield "add one, ms", milliseconds(add, times)
    yield (
        "classify after adding, ms",
        milliseconds(lambda i: state[0].recognise(queries[i], evidence=0), times),
    )
    yield "remove one, ms", milliseconds(remove, times)
    large = Recognizer(samples(more), statistics_of)
    large.recognise(queries[0])
    yield (
        f"classify one of {more:,}, no evidence, ms",
        milliseconds(lambda i: large.recognise(queries[i], evidence=0), times),
    )
    yield (
        f"classify one of {more:,}, with evidence, ms",
        milliseconds(lambda i: large.recognise(queries[i]), times),
    )


def run(*, quick: bool = False) -> str:
    """Measure and say so, line by line."""
    sizes = {"count": 500, "more": 2_000, "times": 10} if quick else {}
    found = list(rows(**sizes))
    width = max(len(name) for name, _ in found)
    head = f"{'':{width}}  median (min–max), d = {D}, {LABELS} labels"
    return "\n".join([head, *(f"{name:{width}}  {value}" for name, value in found)])
