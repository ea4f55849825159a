"""Diagonal Gaussians, and the within-class covariance that follows what is taught.

Numpy only; knows nothing of labels' names, domains' calibration or decisions.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tools.background import Array, Domain

__all__ = ["Gaussians", "adapted", "sums_by"]

_CHUNK = 1_024  # rows


class Gaussians:
    """K diagonal Gaussians N(μ_k, S_k) with what their densities need; μ and S are (…, K, d).

    Stacks of them (m, K, d) are asked about stacks of rows, as numpy's matmul does it.
    """

    def __init__(self, mean: Array, spread: Array) -> None:
        precision = 1.0 / spread
        pull = mean * precision
        self.constant = (mean * pull + np.log(spread)).sum(axis=-1)[..., None, :]
        self.precision, self.pull = (np.swapaxes(x, -1, -2) for x in (precision, pull))

    def log(self, u: Array) -> Array:
        """(…, m, d) → (…, m, K) log densities less the common d/2·log 2π."""
        return np.asarray(u @ self.pull - 0.5 * (u**2 @ self.precision + self.constant))

    def loosened(self, u: Array, r: Array, gamma: Array) -> Array:
        """:meth:`log` when the noise of row i has γ_i·r_i·r_iᵀ less (Sherman–Morrison)."""
        along = (r * u) @ self.precision - r @ self.pull
        size = np.minimum(gamma[..., None] * (r**2 @ self.precision), 0.99)
        less = gamma[..., None] * along**2 / (1.0 - size) + np.log1p(-size)
        return np.asarray(self.log(u) - 0.5 * less)


def sums_by(rows: NDArray[np.floating], owner: NDArray[np.intp]) -> Array:
    """(K, d) sums of sorted rows (N, d) by owner."""
    ends = np.searchsorted(owner, np.arange(owner[-1] + 2))
    parts = (rows[a:b] for a, b in pairwise(ends))  # a seventh of the time of add.reduceat
    return np.stack([part.sum(axis=0, dtype=np.float64) for part in parts])


def adapted(
    domain: Domain,
    centred: NDArray[np.float32],
    owner: NDArray[np.intp],
    here: NDArray[np.bool_],
    nu: float,
) -> tuple[Array, Array]:
    """(W, γ (N,)): W after the exemplars; γ·r·rᵀ is what it owes to one whose residual is r."""
    gamma = np.zeros(len(centred))
    mine = centred[here]
    _, whose, count = np.unique(owner[here], return_inverse=True, return_counts=True)
    degrees = len(mine) - len(count)
    if degrees <= 0 or np.isinf(nu):
        return domain.within, gamma
    mine -= np.asarray(sums_by(mine, whose) / count[:, None], np.float32)[whose]
    scatter = np.zeros_like(domain.within)
    for i in range(0, len(mine), _CHUNK):  # float32 is half the work, its sums kept short
        part = mine[i : i + _CHUNK]
        scatter += part.T @ part
    n = np.bincount(owner[here], minlength=owner[-1] + 1)[owner].astype(float)
    several = here & (n > 1)
    gamma[several] = n[several] / (n[several] - 1.0) / (nu + degrees - 1.0)
    return (nu * domain.within + scatter) / (nu + degrees), gamma
