"""What an embedder's vectors look like before anything is taught: the statistics recognition needs.

Knows nothing of labels, pictures or models; numpy and scipy only. The statistics are those of the
two-covariance model (probabilistic LDA; Ioffe, ECCV 2006): with x̃ = norm(x − m) the centred
vector of a picture, a thing has a mean μ ~ N(c, B) and its pictures are x̃ | μ ~ N(μ, W).
"""

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

__all__ = ["Background", "covariances", "isotropic"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Background:
    """Statistics of an embedder of dimension d.

    ``mean`` (d,): m, of unit vectors of varied pictures. ``centre`` (d,): c, of centred ones.
    ``within`` (d, d): W, of pictures of one thing. ``between`` (d, d): B, of things.
    ``scale`` and ``bias``: P(known) = σ(scale·s + bias) for the log-likelihood ratio s of
    :class:`tools.recognizer.Recognizer`. ``threshold``: the probability below which a picture
    counts as unknown. ``outside`` (d + 1,): weights and bias of a logistic regression that tells
    pictures outside the embedder's world; empty when it has no such limit.
    """

    mean: Array
    centre: Array
    within: Array
    between: Array
    scale: float
    bias: float
    threshold: float
    outside: Array

    def __post_init__(self) -> None:
        d = self.mean.shape[0]
        shapes = (self.centre.shape, self.within.shape, self.between.shape)
        if shapes != ((d,), (d, d), (d, d)) or self.outside.shape not in ((0,), (d + 1,)):
            raise ValueError(f"background statistics do not fit dimension {d}: {shapes}")
        if not all(np.isfinite(getattr(self, f.name)).all() for f in fields(self)):
            raise ValueError("background statistics hold NaN or infinity")

    @property
    def dimension(self) -> int:
        """d."""
        return int(self.mean.shape[0])

    @cached_property
    def basis(self) -> tuple[Array, Array]:
        """ψ (d,) ≥ 0 and V (d, d) with VᵀWV = I and VᵀBV = diag(ψ); computed once."""
        psi, vectors = eigh(self.between, self.within)
        return np.maximum(psi, 0.0), np.asarray(vectors)

    def centred(self, features: NDArray[np.floating]) -> Array:
        """(n, d) unit vectors → (n, d) centred unit vectors, norm(x − m) (SimpleShot's CL2N)."""
        moved = np.asarray(features, dtype=np.float64) - self.mean
        norm = np.linalg.norm(moved, axis=-1, keepdims=True)
        return np.asarray(moved / np.maximum(norm, 1e-12))

    def outside_probability(self, vector: NDArray[np.floating]) -> float | None:
        """P(a picture of this vector (d,) is outside the embedder's world), or None: no limits."""
        if not self.outside.size:
            return None
        z = float(np.dot(np.asarray(vector, dtype=np.float64), self.outside[:-1]))
        return 1.0 / (1.0 + float(np.exp(-np.clip(z + self.outside[-1], -60, 60))))

    def save(self, path: Path) -> None:
        """Write an ``.npz`` (float32)."""
        arrays = {f.name: np.asarray(getattr(self, f.name), np.float32) for f in fields(self)}
        with path.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path) -> "Background":
        """Read what :meth:`save` wrote; raises ``OSError``, ``KeyError`` or ``ValueError``."""
        with np.load(path, allow_pickle=False) as data:
            read = {f.name: np.asarray(data[f.name], np.float64) for f in fields(cls)}
        return cls(
            mean=read["mean"],
            centre=read["centre"],
            within=read["within"],
            between=read["between"],
            scale=float(read["scale"]),
            bias=float(read["bias"]),
            threshold=float(read["threshold"]),
            outside=read["outside"],
        )


def isotropic(dimension: int) -> Background:
    """What is assumed of an embedder nobody has measured: the same spread in every direction.

    Recognition then depends on the cosine alone; a picture is as likely known as not at 0.72,
    where CLIP-like embedders part pictures of one thing from pictures of two.
    """
    d = dimension
    b, w = 0.6 / d, 0.4 / d
    # One exemplar, u = x/√w, ψ = b/w: the log-likelihood ratio is linear in the cosine.
    psi, size = b / w, 1.0 / w
    shrink, spread = psi / (psi + 1), 1 + psi / (1 + psi)
    slope = shrink * size / spread
    at_zero = -0.5 * (size * (1 + shrink**2) / spread + d * np.log(spread))
    at_zero += 0.5 * (size / (1 + psi) + d * np.log(1 + psi))
    scale = 25.0 / slope
    return Background(
        mean=np.zeros(d),
        centre=np.zeros(d),
        within=np.eye(d) * w,
        between=np.eye(d) * b,
        scale=scale,
        bias=-scale * (at_zero + slope * 0.72),
        threshold=0.5,
        outside=np.zeros(0),
    )


def covariances(
    features: NDArray[np.floating], classes: NDArray[np.integer], shrink: float = 0.1
) -> tuple[Array, Array, Array]:
    """(c, W, B) of centred vectors (n, d) with class numbers (n,).

    W is the pooled within-class covariance; B the covariance of class means less W/n̄, made
    positive; both are shrunk by ``shrink`` towards a multiple of the identity.
    """
    x = np.asarray(features, dtype=np.float64)
    names, index, counts = np.unique(classes, return_inverse=True, return_counts=True)
    if len(names) < 2 or len(x) <= len(names):
        raise ValueError("covariances need two classes, and one with two vectors")
    means = np.zeros((len(names), x.shape[1]))
    np.add.at(means, index, x)
    means /= counts[:, None]
    residual = x - means[index]
    within = residual.T @ residual / (len(x) - len(names))
    centre = means.mean(axis=0)
    spread = np.cov(means, rowvar=False) - within * float(np.mean(1.0 / counts))
    values, vectors = np.linalg.eigh((spread + spread.T) / 2)
    between = (vectors * np.maximum(values, 0)) @ vectors.T
    return centre, _shrunk(within, shrink), _shrunk(between, shrink)


def _shrunk(matrix: Array, amount: float) -> Array:
    d = matrix.shape[0]
    return np.asarray((1 - amount) * matrix + amount * float(np.trace(matrix)) / d * np.eye(d))
