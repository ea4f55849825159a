"""Where an embedder's world ends: which pictures are of no kind it was trained for.

Numpy and scipy only; knows nothing of what the kinds are, or of what a row of a picture holds
(:func:`tools.looks.with_looks`: its unit vector, and how it is drawn). Each kind of picture of the
world is a Gaussian, and what lies outside is one more (quadratic discriminant analysis): a plane
between the two sides fails because garments lie where photos do, though nothing like as far about.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.special import logsumexp

__all__ = ["Edge"]

Array = NDArray[np.float64]
Parts = Sequence[NDArray[np.floating]]
_SHRINK = 0.1  # of each covariance towards a multiple of the identity


@dataclass(frozen=True, eq=False)
class Edge:
    """C Gaussians of rows of d numbers, the last of what lies outside.

    ``mean`` (C, d). ``root`` (C, d, d): R with RᵀR = Σ⁻¹. ``constant`` (C,): log |R|. ``limit``:
    the log-likelihood ratio above which a picture is outside.
    """

    mean: Array
    root: Array
    constant: Array
    limit: float

    def __post_init__(self) -> None:
        count, d = self.mean.shape
        if self.root.shape != (count, d, d) or self.constant.shape != (count,) or count < 2:
            raise ValueError(f"the edge of a world does not fit dimension {d}: {self.root.shape}")
        arrays = (self.mean, self.root, self.constant, self.limit)
        if not all(np.isfinite(x).all() for x in arrays):
            raise ValueError("the edge of a world holds NaN or infinity")

    @classmethod
    def between(cls, world: Sequence[Parts], outside: Parts) -> "Edge":
        """Fitted to kinds of pictures, each in parts (n, d) that count alike; limit 0."""
        fits = [_gaussian(parts) for parts in (*world, outside)]
        mean, root, constant = (np.stack(x) for x in zip(*fits, strict=True))
        return cls(mean, root, constant, 0.0)

    def limited(self, world: Parts, mistaken: float) -> "Edge":
        """With the limit at which, of no part (n, d) of the world, more than this share is out."""
        limits = [np.quantile(self.ratio(part), 1.0 - mistaken) for part in world]
        return replace(self, limit=float(max(limits)))

    def ratio(self, rows: NDArray[np.floating]) -> Array:
        """(n, d) → (n,) log p(x | outside) − log Σ p(x | kind)."""
        x = np.asarray(rows, np.float64)
        logs = [
            c - 0.5 * (((x - m) @ r.T) ** 2).sum(axis=1)
            for m, r, c in zip(self.mean, self.root, self.constant, strict=True)
        ]
        return np.asarray(logs[-1] - logsumexp(logs[:-1], axis=0))

    def crossed(self, rows: NDArray[np.floating]) -> NDArray[np.bool_]:
        """(n, d) → (n,) whether each lies outside."""
        return np.asarray(self.ratio(rows) > self.limit)


def _gaussian(parts: Parts) -> tuple[Array, Array, Array]:
    """(mean (d,), R (d, d), log |R|) of parts that count alike."""
    mean = np.mean([np.mean(p, axis=0, dtype=np.float64) for p in parts], axis=0)
    total = np.mean([(p - mean).T @ (p - mean) / len(p) for p in parts], axis=0)
    d = len(mean)
    total = (1 - _SHRINK) * total + _SHRINK * float(np.trace(total)) / d * np.eye(d)
    root = solve_triangular(cholesky(total, lower=True), np.eye(d), lower=True)
    return mean, root, np.array(np.log(np.diag(root)).sum())
