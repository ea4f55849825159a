"""Which strategies suit an amount of pictures and this machine, best first, each with its reasons.

A strategy says itself what it is for and what it takes (``suits`` in its file); what is here says
whether that fits. Knows nothing of how anything is trained.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from finetune.planning.machine import Machine
from finetune.settings.files import load_settings, read_yaml, strategies
from finetune.settings.schema import Settings, Task
from tools.config import ModelChoice
from tools.errors import ModelMissing
from tools.models.sources import download_command, locate

__all__ = ["Recommendation", "open_strategies", "recommend"]

_USED = 0.45
"""Share of a machine's fastest multiplication that a training step reaches: 0.47 was measured with
SmolVLM-256M's shape in one thread of a CPU (0.165 pictures of 0.24 TFLOP a second, of 0.085)."""


@dataclass(frozen=True)
class Recommendation:
    """A strategy, whether it would do, and why."""

    name: str
    fits: bool
    """There is memory, and a GPU where it needs one."""
    in_range: bool
    """It is for this many pictures of each class."""
    in_time: bool
    here: bool
    """Its model is on this machine."""
    minutes: float
    reasons: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def open_strategies() -> dict[str, Settings]:
    """The strategies that come with the package, checked."""
    return {
        name: load_settings(read_yaml(path), where=f"strategy {name}")
        for name, path in strategies().items()
    }


def recommend(
    known: dict[str, Settings],
    machine: Machine,
    *,
    task: Task,
    examples: int,
    classes: int,
    minutes: float,
) -> list[Recommendation]:
    """Those for ``task``, best first.

    What fits comes before what does not, then what is for so many pictures, then what takes no
    more than so many minutes; of those the larger model, which sees more. ``examples``: pictures
    of each class, or rows where there are no classes (then ``classes`` is 1).
    """
    found = []
    for name, settings in known.items():
        if task in settings.suits.tasks:
            one = _judged(name, settings, machine, examples, classes, minutes)
            found.append((one, settings.suits.teraflops))

    def rank(entry: tuple[Recommendation, float]) -> tuple[Any, ...]:
        one, teraflops = entry
        larger = -teraflops if one.in_time else one.minutes
        return (not one.fits, not one.in_range, not one.in_time, larger, one.name)

    return [one for one, _ in sorted(found, key=rank)]


def _judged(
    name: str, settings: Settings, machine: Machine, examples: int, classes: int, most: float
) -> Recommendation:
    suits = settings.suits
    fits, fitting = _fitting(settings, machine)
    fewest, many = suits.examples
    in_range = fewest <= examples <= many
    each = "of each class" if classes > 1 else "in all"
    if in_range:
        amount = f"for {fewest} to {many} pictures {each}"
    else:
        short = "too few" if examples < fewest else "more than it needs"
        amount = f"for {fewest} to {many} pictures {each}: {examples} are {short}"
    epochs = 1.0 if settings.uses_embedder else settings.training.epochs
    work = suits.teraflops * examples * classes * epochs
    minutes = work / (machine.teraflops * _USED) / 60 if machine.teraflops else 0.0
    in_time = minutes <= most
    here, where = _where(settings)
    over = "" if in_time else f", more than {_worded(most)}"
    time = f"trains in about {_worded(minutes)}{over}"
    reasons = (fitting, amount, time, where) if fits else (fitting, amount, where)
    return Recommendation(name, fits, in_range, in_time, here, round(minutes, 2), reasons)


def _fitting(settings: Settings, machine: Machine) -> tuple[bool, str]:
    needs, takes = settings.needs_gpu_gb, settings.suits.memory_gb
    if needs > machine.gpu_gb:
        has = f"this one has {machine.gpu_gb:.1f} GB" if machine.gpu else "there is none"
        return False, f"does not fit: it needs a GPU of {needs:g} GB, and {has}"
    what = "GPU memory" if machine.gpu else "memory"
    if takes > machine.trains_in_gb > 0:
        free = f"{machine.trains_in_gb:.1f} GB of {what} are free"
        return False, f"does not fit: it takes about {takes:g} GB, and {free}"
    return True, f"fits: about {takes:g} of {machine.trains_in_gb:.1f} GB of {what}"


def _where(settings: Settings) -> tuple[bool, str]:
    source = settings.base_model
    try:
        locate(ModelChoice(source))
    except ModelMissing:
        size = settings.suits.download_gb
        return False, f"fetch {size:g} GB with `{download_command(source)}`"
    return True, "its model is here"


def _worded(minutes: float) -> str:
    if minutes < 1:
        return "a minute"
    if minutes < 90:
        return f"{minutes:.0f} minutes"
    return f"{minutes / 60:.1f} hours" if minutes < 60 * 48 else f"{minutes / 1440:.0f} days"
