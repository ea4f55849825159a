"""What is told and shown of a training that the chat started, and of the adapter that came of it.

Frozen data, two of the artifacts (:mod:`tools.artifacts`). Knows nothing of how a training goes.
"""

from dataclasses import dataclass
from typing import Literal

__all__ = ["AdapterUse", "Figure", "Training"]


@dataclass(frozen=True)
class Figure:
    """A share that was measured on ``n`` pictures, with its 95 % interval, all in [0, 1]."""

    name: Literal["trained", "base", "exemplars"]
    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Training:
    """One fine-tuning on what was taught, as it stands now."""

    run: str
    """The name of its run, and of the adapter that comes of it."""
    state: Literal["queued", "running", "stopping", "finished", "failed", "cancelled"]
    labels: tuple[str, ...]
    pictures: int
    progress: float = 0.0
    """How much is done, in [0, 1]."""
    losses: tuple[float, ...] = ()
    """Of the model that trains now, oldest first."""
    seconds_left: float | None = None
    """At most, for training may stop early; None when it can't be told yet."""
    problem: str = ""
    """Why it failed."""
    verdict: str = ""
    """Whether the result is worth using, and why."""
    figures: tuple[Figure, ...] = ()
    offered: bool = False
    """The result is more often right than the recogniser with the same pictures."""
    resumable: bool = False
    """What it had done is kept."""
    kind: Literal["training"] = "training"

    @property
    def goes_on(self) -> bool:
        """Whether it is not over."""
        return self.state in ("queued", "running", "stopping")


@dataclass(frozen=True)
class AdapterUse:
    """An adapter that is used from now on, or no longer."""

    name: str
    in_use: bool
    kind: Literal["adapter"] = "adapter"
