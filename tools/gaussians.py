"""Diagonal Gaussians, and the within-class covariance that follows what is taught.

Numpy only; knows nothing of labels' names, domains' calibration or decisions.
"""

import numpy as np
from numpy.typing import NDArray

from tools.background import Array, Domain

__all__ = ["Gaussians", "adapted", "sums_by"]


class Gaussians:
    """K diagonal Gaussians N(μ_k, S_k) with what their densities need; μ and S are (K, d)."""

    def __init__(self, mean: Array, spread: Array) -> None:
        self.precision = 1.0 / spread
        self.pull = mean * self.precision
        self.constant = (mean * self.pull).sum(axis=1) + np.log(spread).sum(axis=1)

    def log(self, u: Array) -> Array:
        """(m, d) → (m, K) log densities less the common d/2·log 2π."""
        distance = u**2 @ self.precision.T - 2.0 * (u @ self.pull.T) + self.constant
        return np.asarray(-0.5 * distance)

    def loosened(self, u: Array, r: Array, gamma: Array) -> Array:
        """:meth:`log` when the noise of row i has γ_i·r_i·r_iᵀ less (Sherman–Morrison)."""
        along = (r * u) @ self.precision.T - r @ self.pull.T
        size = np.minimum(gamma[:, None] * (r**2 @ self.precision.T), 0.99)
        less = gamma[:, None] * along**2 / (1.0 - size) + np.log1p(-size)
        return np.asarray(self.log(u) - 0.5 * less)


def sums_by(rows: NDArray[np.floating], owner: NDArray[np.intp]) -> Array:
    """(K, d) sums of sorted rows (N, d) by owner."""
    starts = np.searchsorted(owner, np.arange(owner[-1] + 1))
    return np.asarray(np.add.reduceat(np.asarray(rows, np.float64), starts, axis=0))


def adapted(
    domain: Domain, centred: Array, owner: NDArray[np.intp], here: NDArray[np.bool_], nu: float
) -> tuple[Array, Array]:
    """(W, γ (N,)): W after the exemplars; γ·r·rᵀ is what it owes to one whose residual is r."""
    gamma = np.zeros(len(centred))
    mine = centred[here]
    _, whose, count = np.unique(owner[here], return_inverse=True, return_counts=True)
    degrees = len(mine) - len(count)
    if degrees <= 0 or np.isinf(nu):
        return domain.within, gamma
    sums = sums_by(mine, whose)
    scatter = mine.T @ mine - (sums / count[:, None]).T @ sums
    n = np.bincount(owner[here], minlength=owner[-1] + 1)[owner].astype(float)
    several = here & (n > 1)
    gamma[several] = n[several] / (n[several] - 1.0) / (nu + degrees - 1.0)
    return (nu * domain.within + scatter) / (nu + degrees), gamma
