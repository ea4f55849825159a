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
) -> tuple[Array, Array, Array]:
    """(W, γ (N,), r (N, d)): W after the exemplars; γ·r·rᵀ is what W owes to each of them."""
    count = np.bincount(owner[here], minlength=owner[-1] + 1)
    labels = int((count > 0).sum())
    degrees = int(here.sum()) - labels
    residual = np.zeros_like(centred)
    gamma = np.zeros(len(centred))
    if degrees <= 0 or np.isinf(nu):
        return domain.within, gamma, residual
    sums = np.zeros((len(count), centred.shape[1]))
    np.add.at(sums, owner[here], centred[here])
    residual[here] = centred[here] - (sums / np.maximum(count, 1)[:, None])[owner[here]]
    n = count[owner].astype(float)
    several = here & (n > 1)
    gamma[several] = n[several] / (n[several] - 1.0) / (nu + degrees - 1.0)
    within = (nu * domain.within + residual.T @ residual) / (nu + degrees)
    return within, gamma, residual
