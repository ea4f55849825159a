"""The methods to beat, each a function of an episode and its hyperparameters; and their tuning.

Formulae are those of the papers named at each. Knows nothing of where features come from. A
method gives logits (m, K) for the episode's queries. Hyperparameters come from a grid, by accuracy
and then log-loss on the validation rows, as in the papers; the queries are never looked at.
Where there is no text, z = 0 and zero-shot is absent.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh, solve
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from tests.bench.recognition.metrics import accuracy, log_loss
from tests.bench.recognition.tasks import Episode

Floats = NDArray[np.floating]
Hyper = dict[str, Any]


def zero_shot(episode: Episode) -> Floats:
    """z_k = s·f·t_k (Radford et al., ICML 2021)."""
    if episode.text is None:
        raise ValueError("zero-shot needs the text of the labels")
    return episode.zero_shot


def nearest(episode: Episode) -> Floats:
    """1-NN: the largest cosine to an exemplar of the label."""
    return np.stack([episode.near[:, episode.y == k].max(axis=1) for k in range(episode.labels)], 1)


def class_means(vectors: Floats, y: NDArray[np.integer]) -> Floats:
    """(K, d) means of the rows (N, d) of each label."""
    onehot = np.eye(int(y.max()) + 1)[y]
    return onehot.T @ vectors / onehot.sum(axis=0)[:, None]


def ncm(episode: Episode) -> Floats:
    """Cosine to the nearest class mean (Mensink et al., 2013)."""
    return episode.queries @ _unit(class_means(episode.shots, episode.y)).T


def cl2n(episode: Episode) -> Floats:
    """−‖f − μ_k‖², centred on the base mean and normalised (SimpleShot, Wang et al., 2019)."""
    shots, queries = (episode.domain.centred(v) for v in (episode.shots, episode.queries))
    means = class_means(shots, episode.y)
    squares = np.sum(queries**2, axis=1, keepdims=True) + np.sum(means**2, axis=1)
    return 2 * queries @ means.T - squares


def tip_adapter(episode: Episode, *, alpha: float, beta: float) -> Floats:
    """ℓ = z + α·exp(−β(1 − fFᵀ))·Y, column k over n_k (Zhang et al., ECCV 2022).

    Training-free. Dividing by n_k·(K/N) leaves the paper's formula where the shots are equal.
    """
    counts = episode.onehot.sum(axis=0)
    cache = np.exp(-beta * (1.0 - episode.near)) @ (episode.onehot / counts * counts.mean())
    return episode.zero_shot + alpha * cache


def gda_clip(episode: Episode, *, alpha: float) -> Floats:
    """ℓ_k = z_k + α(w_k·f + b_k), shared covariance (Wang et al., ICLR 2024).

    Σ⁻¹ ≈ d[(n−1)Σ̂ + tr(Σ̂)I]⁻¹ of the residuals. Features are given, not pictures, so there are no
    augmented views: at one shot the residuals are zero and Σ is taken as the identity.
    """
    means = class_means(episode.shots, episode.y)
    residual = episode.shots - means[episode.y]
    n, d = residual.shape
    scatter = residual.T @ residual
    trace = float(np.trace(scatter)) / max(1, n - 1)
    if trace < 1e-12:
        weights = means
    else:
        weights = d * solve(scatter + trace * np.eye(d), means.T, assume_a="pos").T
    offset = -np.log(episode.labels) - 0.5 * np.sum(means * weights, axis=1)
    return episode.zero_shot + alpha * (episode.queries @ weights.T + offset)


def lp_plus_plus(episode: Episode, *, steps: int, alpha: str) -> Floats:
    """ℓ_ik = f_i·(w_k + α_k t_k), full-batch cross-entropy (Huang et al., CVPR 2024).

    As in the authors' code: w starts at the class means, momentum 0.9, step sizes from Lipschitz
    constants, α_k moves every tenth step, the number of steps by validation. ``alpha``, where α_k
    starts: "paper", 250 · the mean cosine to the own text, or "scale", the embedder's s (250 is
    for CLIP). w is kept as means + FᵀA, for the gradients lie in the span of the shots F.
    """
    means = class_means(episode.shots, episode.y)
    names = np.zeros_like(means) if episode.text is None else episode.text
    n, truth, gram = len(episode.shots), *_single(episode.onehot, episode.gram)
    by_mean, by_name = _single(episode.shots @ means.T, episode.shots @ names.T)
    own = float(by_name[np.arange(n), episode.y].mean())
    scale = np.full(
        episode.labels, 250.0 * own if alpha == "paper" else episode.logit_scale, np.float32
    )
    rate = np.float32(4.0 * n / max(_largest_eigenvalue(episode.gram), 1e-12))
    largest = float(np.sum(by_name**2, axis=0).max())
    scale_rate = np.float32(n / (4.0 * max(largest, 1e-12)))
    coefficients = velocity = np.zeros_like(truth)
    for step in range(1, steps + 1):
        logits = by_mean + gram @ coefficients + scale * by_name
        error = (softmax(logits, axis=1) - truth) / np.float32(n)
        velocity = np.float32(0.9) * velocity + error
        coefficients = coefficients - rate * velocity
        if step % 10 == 0:
            scale = scale - scale_rate * np.sum(error * by_name, axis=0)
    learned = episode.near @ coefficients + scale * (episode.queries @ names.T)
    return episode.queries @ means.T + learned


def proker(episode: Episode, *, beta: float, lam: float) -> Floats:
    """ℓ = z + k(x, F)(K + λI)⁻¹(Y − z(F)), K_ij = exp(−β‖f_i − f_j‖²) (Bendou et al., CVPR 2025).

    z is the softmax of the zero-shot logits, on the scale of Y; uniform where there is no text.
    """
    kernel = np.exp(-2 * beta * (1.0 - episode.gram))
    kernel[np.diag_indices_from(kernel)] += lam
    residual = episode.onehot - softmax(episode.zero_shot_shots, axis=1)
    weights = solve(kernel, residual, assume_a="pos")
    near = np.exp(-2 * beta * (1.0 - episode.near))
    return softmax(episode.zero_shot, axis=1) + near @ weights


def logistic_regression(episode: Episode, *, c: float) -> Floats:
    """scikit-learn's, L2, no text; in the shots' own basis, which changes only the time."""
    values, vectors = eigh(episode.gram)
    keep = values > 1e-10 * values[-1]
    basis = vectors[:, keep] / np.sqrt(values[keep])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        # One picture a class is what is measured here.
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        model = LogisticRegression(C=c, max_iter=200).fit(episode.gram @ basis, episode.y)
    logits = model.decision_function(episode.near @ basis)
    return np.stack([-logits, logits], axis=1) / 2 if logits.ndim == 1 else logits


def probe_from_text(episode: Episode, *, steps: int, rate: float) -> Floats:
    """Linear probe, full-batch gradient descent from w_k = s·t_k; steps by validation.

    The "zero-shot initialised linear probe" of the LP++ and CLAP (CVPR 2024) comparisons. One step
    is ``rate`` over the Lipschitz constant λ_max(FᵀF)/2N, with momentum 0.9.
    """
    gram, start, truth = _single(episode.gram, episode.zero_shot_shots, episode.onehot)
    size = rate * 2.0 / max(_largest_eigenvalue(episode.gram), 1e-12)
    coefficients = velocity = np.zeros_like(truth)
    for _ in range(steps):
        error = softmax(start + gram @ coefficients, axis=1) - truth
        velocity = np.float32(0.9) * velocity + error
        coefficients = coefficients - np.float32(size) * velocity
    return episode.zero_shot + episode.near @ coefficients


def _single(*arrays: Floats) -> list[Floats]:
    """The arrays in float32: a long descent takes half the time."""
    return [a.astype(np.float32) for a in arrays]


def _unit(x: Floats) -> Floats:
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def _largest_eigenvalue(gram: Floats) -> float:
    last = len(gram) - 1
    return float(eigh(gram, eigvals_only=True, subset_by_index=[last, last])[0])


@dataclass(frozen=True)
class Method:
    """A function of an episode, and the values its hyperparameters may take."""

    run: Callable[..., Floats]
    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    needs_text: bool = False

    def settings(self) -> list[Hyper]:
        """Every point of the grid."""
        names = list(self.grid)
        points = itertools.product(*self.grid.values())
        return [dict(zip(names, point, strict=True)) for point in points]

    def tune(self, episode: Episode) -> Hyper:
        """The point that does best on the episode's validation rows: accuracy, then log-loss."""
        settings = self.settings()
        if len(settings) == 1:
            return settings[0]
        held = episode.validation
        if held is None:
            raise ValueError("tuning needs validation rows")

        def quality(hyper: Hyper) -> tuple[float, float]:
            logits = self.run(held, **hyper)
            return accuracy(logits, held.targets), -log_loss(logits, held.targets)

        return max(settings, key=quality)

    def logits(self, episode: Episode) -> tuple[Floats, Hyper]:
        """Tuned logits (m, K) and the hyperparameters they came from."""
        hyper = self.tune(episode)
        return self.run(episode, **hyper), hyper


METHODS: dict[str, Method] = {
    "zero-shot": Method(zero_shot, needs_text=True),
    "1-NN": Method(nearest),
    "NCM": Method(ncm),
    "CL2N": Method(cl2n),
    "Tip-Adapter": Method(
        tip_adapter,
        {"alpha": tuple(np.geomspace(0.1, 1000, 10)), "beta": tuple(np.geomspace(0.5, 50, 10))},
    ),
    "GDA-CLIP": Method(gda_clip, {"alpha": tuple(10.0**p for p in range(-5, 5))}),
    "LP++": Method(lp_plus_plus, {"steps": (1, 10, 30, 100, 300), "alpha": ("paper", "scale")}),
    "ProKeR": Method(
        proker,
        {"beta": tuple(np.geomspace(0.03, 30, 7)), "lam": tuple(10.0**p for p in range(-4, 2))},
    ),
    "logistic regression": Method(logistic_regression, {"c": tuple(10.0**p for p in range(-2, 5))}),
    "probe from text": Method(
        probe_from_text, {"steps": (1, 10, 30, 100, 300), "rate": (0.1, 1.0)}
    ),
}
"""The baselines by name. Grids are coarser than the authors' searches, over the same ranges."""
