"""What an embedder's vectors look like before anything is taught: the statistics recognition needs.

Knows nothing of labels, pictures or models; numpy and scipy only. An embedder sees several
*domains* (drawings, photos, letters…), and what tells two letters apart is not what tells two
animals apart. In each, the statistics are those of the two-covariance model (probabilistic LDA;
Ioffe, ECCV 2006): with x̃ = norm(x − m) − c the centred vector of a picture, a thing has a mean
μ ~ N(0, B) and its pictures are x̃ | μ ~ N(μ, W).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.special import expit, softmax

from tools.edge import Edge
from tools.looks import LOOKS

__all__ = ["Background", "Domain", "Prior", "covariances", "isotropic", "spectrum", "unlabelled"]

Array = NDArray[np.float64]
_DOUBT = 4.0  # what the gate's logits are divided by when there is a share to go by


@dataclass(frozen=True, eq=False)
class Domain:
    """Statistics of one kind of picture, for vectors of dimension d.

    ``mean`` (d,): m, of unit vectors. ``centre`` (d,): c, of norm(x − m). ``within`` (d, d): W, of
    pictures of one thing, estimated with ``degrees`` of freedom. ``between`` (d, d): B, of things.
    ``scale``, ``bias``, ``crowding`` and ``depth``: P(known) = σ(scale·s + bias + crowding·log K +
    depth·(1 − 1/n)) for the largest log-likelihood ratio s of K labels, of a label with n exemplars
    (:class:`tools.recognizer.Recognizer`). ``threshold``: the probability below which a picture
    counts as unknown. ``contrast``: between labels, P(k) is the softmax of contrast·s_k. ``gain``
    and ``residual`` (d, d): how far names say what things look like (:class:`Prior`); a gain of 0
    is not at all.
    """

    name: str
    mean: Array
    centre: Array
    within: Array
    degrees: float
    between: Array
    scale: float
    bias: float
    crowding: float
    depth: float
    threshold: float
    contrast: float
    gain: float
    residual: Array

    def __post_init__(self) -> None:
        d = self.mean.shape[0]
        shapes = tuple(x.shape for x in (self.centre, self.within, self.between, self.residual))
        if shapes != ((d,), (d, d), (d, d), (d, d)):
            raise ValueError(f"the statistics of {self.name} do not fit dimension {d}: {shapes}")
        numbers = [getattr(self, f.name) for f in fields(self) if f.name != "name"]
        if not all(np.isfinite(x).all() for x in numbers):
            raise ValueError(f"the statistics of {self.name} hold NaN or infinity")

    @cached_property
    def spectrum(self) -> tuple[Array, Array]:
        """ψ (d,) and V (d, d), the basis in which W is the identity and B has the diagonal ψ."""
        return spectrum(self.between, self.within)

    def known(self, ratio: Array, labels: Array | int, shots: Array | int) -> Array:
        """P(known) of the largest ratio (m,) over ``labels`` labels, of one with ``shots``."""
        z = self.scale * ratio + self.bias
        z = z + self.crowding * np.log(labels) + self.depth * (1.0 - 1.0 / np.asarray(shots))
        return np.asarray(expit(z))

    def centred(self, vectors: NDArray[np.floating]) -> Array:
        """(n, d) unit vectors → (n, d) x̃ = norm(x − m) − c."""
        moved = np.asarray(vectors, np.float64) - self.mean
        moved /= np.maximum(np.sqrt(np.vecdot(moved, moved)), 1e-12)[..., None]
        moved -= self.centre
        return moved


@dataclass(frozen=True, eq=False)
class Prior:
    """What a name says of a thing's mean: μ ≈ gain·norm(t − mean), with covariance ``residual``.

    ``mean`` (d,): of the unit text vectors of a vocabulary. Each :class:`Domain` has its own gain
    and residual.
    """

    mean: Array

    def directions(self, texts: NDArray[np.floating]) -> Array:
        """(K, d) unit text vectors → (K, d) norm(t − mean)."""
        moved = np.asarray(texts, np.float64) - self.mean
        norm = np.linalg.norm(moved, axis=-1, keepdims=True)
        return np.asarray(moved / np.maximum(norm, 1e-12))


@dataclass(frozen=True, eq=False)
class Background:
    """The domains of an embedder, and how to tell them apart.

    ``gate`` (D, d + 1): weights and biases of a softmax regression over the D domains; (0, d + 1)
    where there is one. ``prior``: what names say, None without a text tower. ``edge``: where the
    embedder's world ends, None when nothing is known of that.
    """

    domains: tuple[Domain, ...]
    gate: Array
    prior: Prior | None = None
    edge: Edge | None = None

    def __post_init__(self) -> None:
        if not self.domains:
            raise ValueError("background statistics need a domain")
        d, count = self.dimension, len(self.domains)
        fits = all(x.mean.shape == (d,) for x in self.domains)
        gates = {(count, d + 1)} | ({(0, d + 1)} if count == 1 else set())
        prior = self.prior is None or self.prior.mean.shape == (d,)
        if not fits or self.gate.shape not in gates or not prior:
            raise ValueError(f"background statistics do not fit dimension {d}")
        if self.edge is not None and self.edge.mean.shape[1] != d + LOOKS:
            raise ValueError(f"background statistics do not fit dimension {d}: edge")
        arrays = [self.gate]
        arrays += [] if self.prior is None else [self.prior.mean]
        if not all(np.isfinite(a).all() for a in arrays):
            raise ValueError("background statistics hold NaN or infinity")

    @property
    def dimension(self) -> int:
        """d."""
        return int(self.domains[0].mean.shape[0])

    def weights(self, vectors: NDArray[np.floating], share: Array | None = None) -> Array:
        """(n, d) unit vectors → (n, D) probabilities of the domains.

        ``share`` (D,): how much of what was seen before is of each domain (:meth:`shares`), which
        counts more than the gate alone: of kinds of pictures it was not fitted to it is too sure.
        """
        if len(self.domains) == 1:
            return np.ones((len(vectors), 1))
        gated = self._gated(vectors)
        if share is not None:
            gated = gated / _DOUBT + np.log(np.maximum(share, 1e-12))
        return np.asarray(softmax(gated, axis=1))

    def domain_of(
        self, vectors: NDArray[np.floating], share: Array | None = None
    ) -> NDArray[np.intp]:
        """(n, d) unit vectors → (n,) index of the likeliest domain; ``share``: :meth:`weights`."""
        return np.asarray(self.weights(vectors, share).argmax(axis=1), np.intp)

    def shares(self, vectors: NDArray[np.floating]) -> Array:
        """(n, d) unit vectors → (D,) mean probabilities of the domains; alike for none."""
        found = self.weights(vectors)
        return np.asarray(found.mean(axis=0) if len(found) else np.full(len(self.domains), 1.0))

    def _gated(self, vectors: NDArray[np.floating]) -> Array:
        return np.asarray(np.asarray(vectors, np.float64) @ self.gate[:, :-1].T + self.gate[:, -1])

    def units(self, vectors: Iterable[NDArray[np.floating]]) -> Array:
        """(n, d) of vectors made unit; raises ``ValueError`` for another shape, zero or NaN."""
        rows, d = list(vectors), self.dimension
        for shape in {np.shape(v) for v in rows} - {(d,)}:
            raise ValueError(f"a vector has shape {shape}, the embedder makes ({d},)")
        x = np.array(rows, np.float64).reshape(-1, d)
        size = np.vecdot(x, x)
        if not (np.isfinite(size) & (size > 0.0)).all():
            raise ValueError("a vector is zero or not finite")
        x /= np.sqrt(size)[:, None]
        return x

    def save(self, path: Path) -> None:
        """Write an ``.npz`` (float32)."""
        arrays = {
            f.name: np.stack([np.asarray(getattr(x, f.name)) for x in self.domains])
            for f in fields(Domain)
        }
        arrays["gate"] = self.gate
        if self.prior is not None:
            arrays["prior"] = self.prior.mean
        if self.edge is not None:
            arrays |= {f"edge_{f.name}": getattr(self.edge, f.name) for f in fields(Edge)}
        small = {k: v if k == "name" else np.asarray(v, np.float32) for k, v in arrays.items()}
        with path.open("wb") as file:
            np.savez_compressed(file, **small)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path) -> "Background":
        """Read what :meth:`save` wrote; raises ``OSError``, ``KeyError`` or ``ValueError``."""
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            read = {k: data[k] if k == "name" else np.asarray(data[k], float) for k in data.files}
        names = [f.name for f in fields(Domain) if f.name != "name"]
        domains = tuple(
            Domain(str(name), *(_row(read[k], i) for k in names))
            for i, name in enumerate(read["name"])
        )
        prior = Prior(read["prior"]) if "prior" in read else None
        edge = None
        if "edge_mean" in read:
            mean, root, constant = (read[f"edge_{x}"] for x in ("mean", "root", "constant"))
            edge = Edge(mean, root, constant, float(read["edge_limit"]))
        return cls(domains, read["gate"], prior, edge)


def _row(stacked: Array, index: int) -> Any:
    return stacked[index] if stacked.ndim > 1 else float(stacked[index])


def spectrum(between: Array, within: Array) -> tuple[Array, Array]:
    """ψ (d,), above 0, and V (d, d) with VᵀWV = 1 and VᵀBV = ψ."""
    psi, basis = eigh(between, within)
    return np.maximum(psi, 1e-9), np.asarray(basis)


def isotropic(dimension: int, mean: Array | None = None) -> Background:
    """What is assumed of an embedder nobody has measured: the same spread in every direction.

    Recognition then depends on the cosine (of centred vectors, given their ``mean``) alone; a
    picture is as likely known as not at 0.72 (0.5 if centred), where CLIP-like embedders part
    pictures of one thing from pictures of two.
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
    domain = Domain(
        name="anything",
        mean=np.zeros(d) if mean is None else np.asarray(mean, float),
        centre=np.zeros(d),
        within=np.eye(d) * w,
        degrees=0.0,
        between=np.eye(d) * b,
        scale=scale,
        bias=-scale * (at_zero + slope * (0.72 if mean is None else 0.5)),
        crowding=0.0,
        depth=0.0,
        threshold=0.5,
        contrast=scale,
        gain=0.0,
        residual=np.zeros((d, d)),
    )
    return Background((domain,), np.zeros((0, d + 1)))


def unlabelled(features: NDArray[np.floating]) -> Background:
    """The statistics of unit vectors (n, d) of varied pictures of which nothing else is known.

    Without two pictures of one thing no direction can be told to be noise, so only the mean is
    taken: whitening with the total covariance was measured to lose to the plain centred cosine.
    """
    x = np.asarray(features, np.float64)
    return isotropic(x.shape[1], x.mean(axis=0))


def covariances(
    vectors: NDArray[np.floating], classes: NDArray[np.integer], shrink: float | Sequence[float]
) -> tuple[Array, Array, Array]:
    """(c, W, B) of normalised vectors (n, d) with class numbers (n,).

    W is the pooled within-class covariance; B the covariance of class means less W/n̄, made
    positive; both are shrunk by ``shrink`` (W's, B's) towards a multiple of the identity.
    """
    x = np.asarray(vectors, dtype=np.float64)
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
    values, vectors_ = np.linalg.eigh((spread + spread.T) / 2)
    between = (vectors_ * np.maximum(values, 0)) @ vectors_.T
    of_within, of_between = (shrink, shrink) if isinstance(shrink, float | int) else shrink
    return centre, _shrunk(within, of_within), _shrunk(between, of_between)


def _shrunk(matrix: Array, amount: float) -> Array:
    d = matrix.shape[0]
    return np.asarray((1 - amount) * matrix + amount * float(np.trace(matrix)) / d * np.eye(d))
