"""Whether a picture shows anything that was taught at all (open-set recognition).

Numpy and scipy only; knows nothing of vectors, names or decisions.

A picture may be of several domains, so P(known | x) = Σ_d P(d | x)·P_d(known | x): pictures of
kinds that no domain was measured on are of two or three of them, and the likeliest alone is a
matter of chance. What is known is of the domains that were taught, by their shares, and a stranger
of any: P(d | x) takes the middle, the root of the shares. Between labels they count in full.

A domain's threshold lets one in twenty strangers pass in the pictures that it was measured on. What
a person teaches may be more alike, or less. From two labels on, every exemplar is a stranger to the
other labels, so that the largest of its scores over *them* is what it would have had, had its own
label never been taught. The threshold's log-odds are moved by q·N/(N + 19), where q is how far the
95 % quantile of those strangers lies above it: a conformal threshold (Vovk et al., 2005) that is
trusted as the strangers become enough to have one. Labels count alike, N is Kish's effective number
of strangers, and below nineteen of them their largest is only the quantile 1 − 1/(N + 1), from
which on the log-odds of strangers are taken to fall off by e in each unit, as calibrated log-odds
do against those of what is known.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from tools.background import Array, Domain
from tools.likelihood import Scores

__all__ = ["FALSE_ACCEPTS", "Judged", "judged", "moved", "stranger_shift"]

FALSE_ACCEPTS = 0.05
"""Share of things not taught that may be taken for a taught one."""
_LOWEST, _HIGHEST = 0.5, 0.97  # known is no less than likely, and need not be all but certain

Rows = NDArray[np.intp]


class Judged(NamedTuple):
    """Of m pictures: P(known) (m,), its threshold (m,), and the scores between labels (m, K)."""

    known: Array
    threshold: Array
    between: Array


def judged(
    domains: Sequence[Domain],
    weights: Array,
    where: Rows | int,
    scores: Callable[[int, Rows], Scores],
    shots: NDArray[np.integer],
) -> Judged:
    """What the domains say together of pictures with probabilities ``weights`` (m, D) of each.

    ``where`` (m,): the domain that decides between labels, of a weight above 0. ``scores``: in a
    domain, of these pictures. ``shots`` (m, K): exemplars of each label, 0 where a picture can't
    be of it.
    """
    known, between = np.zeros(len(shots)), np.zeros(shots.shape)
    for d in np.flatnonzero(weights.any(axis=0)).tolist():
        rows = np.flatnonzero(weights[:, d])
        found = scores(d, rows)
        possible = shots[rows] > 0
        ratio = np.where(possible, found.known, -np.inf)
        nearest = ratio.argmax(axis=1)
        deep = shots[rows, nearest]
        chance = domains[d].known(ratio.max(axis=1), possible.sum(axis=1), deep)
        known[rows] += weights[rows, d] * chance
        mine = np.full(len(shots), where)[rows] == d
        between[rows[mine]] = found.between[mine]
    return Judged(known, weights @ [x.threshold for x in domains], between)


def moved(threshold: float, shift: float) -> float:
    """The threshold with its log-odds moved; further out of bounds than it was it never is."""
    if not shift:
        return threshold
    after = float(expit(logit(threshold) + shift))
    return min(max(after, min(threshold, _LOWEST)), max(threshold, _HIGHEST))


def stranger_shift(strangers: Judged, owner: Rows) -> float:
    """By how much exemplars that were judged by the other labels move the threshold's log-odds.

    ``owner`` (m,): the label of each.
    """
    margin = _odds(strangers.known) - _odds(strangers.threshold)
    _, whose, count = np.unique(owner, return_inverse=True, return_counts=True)
    each = 1.0 / count[whose]
    number = len(count) ** 2 / (1.0 / count).sum()
    above = np.quantile(margin, 1.0 - FALSE_ACCEPTS, weights=each, method="inverted_cdf")
    enough = 1.0 / FALSE_ACCEPTS  # strangers, of which one may pass
    above += max(0.0, np.log(enough / (number + 1.0)))
    return float(above * number / (number + enough - 1.0))


def _odds(probability: Array | float) -> Array:
    return np.asarray(logit(np.clip(probability, 1e-9, 1.0 - 1e-9)))
