"""A figure as it stands in ``metrics.json``: its value, of how many, and a 95 % interval.

Shares have Wilson's interval; everything else that of 1,000 seeded bootstrap resamples of what
was measured. Knows nothing of predictions or models.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["decimal", "figure", "percent", "resampled", "wilson"]

_RESAMPLES = 1000


def figure(value: float, n: int, low: float, high: float) -> dict[str, float]:
    """A figure of ``n`` pictures; between ``low`` and ``high`` in 95 % of such measurements."""
    return {"value": round(value, 4), "n": n, "low": round(low, 4), "high": round(high, 4)}


def percent(found: dict[str, float]) -> str:
    """``86.0 % (79.1–90.9, n=150)``."""
    value, low, high = (100 * found[k] for k in ("value", "low", "high"))
    return f"{value:.1f} % ({low:.1f}–{high:.1f}, n={found['n']:.0f})"


def decimal(found: dict[str, float]) -> str:
    """``1.23 (1.01–1.40, n=150)``, for what is no share."""
    value, low, high = (found[k] for k in ("value", "low", "high"))
    return f"{value:.2f} ({low:.2f}–{high:.2f}, n={found['n']:.0f})"


def wilson(right: int, n: int) -> dict[str, float]:
    """A share with Wilson's interval (Wilson 1927); of nothing it is 0, anywhere in 0..1."""
    if n == 0:
        return figure(0.0, 0, 0.0, 1.0)
    z = 1.959964
    share = right / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return figure(share, n, max(0.0, middle - half), min(1.0, middle + half))


def resampled(statistic: Callable[[NDArray[np.intp]], float], n: int) -> dict[str, float]:
    """``statistic`` of all of ``n`` rows, by their numbers, with its bootstrap interval."""
    everything = np.arange(n)
    if n == 0:
        return figure(0.0, 0, 0.0, 1.0)
    rng = np.random.default_rng(0)
    found = [statistic(rng.integers(0, n, n)) for _ in range(_RESAMPLES)]
    low, high = np.quantile(found, (0.025, 0.975))
    return figure(statistic(everything), n, float(low), float(high))
