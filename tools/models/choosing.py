"""Which profile runs, and why: what was asked for, or the best one whose weights are here.

Knows nothing of loading. torch is imported only to size the GPU, and only when the weights of
the full profile are on this machine.
"""

from dataclasses import dataclass
from pathlib import Path

from tools.config import PROFILES, Config, ModelChoice, Profile
from tools.errors import ModelMissing
from tools.models.hardware import gpu_gigabytes
from tools.models.sources import download_command, locate

__all__ = ["FULL_GIGABYTES", "ROLES", "Chosen", "choose_profile", "how_to_get", "missing"]

ROLES = ("embedder", "captioner", "answerer")
FULL_GIGABYTES = 7.5  # what a card sold as 8 GB reports, in 10⁹ bytes, is 7.9 to 8.6


@dataclass(frozen=True)
class Chosen:
    """A profile by name, its models with the overrides laid over them, and the reason."""

    name: str
    profile: Profile
    reason: str


def choose_profile(config: Config, *, hub_cache: Path | None = None) -> Chosen:
    """The profile ``config`` names; for ``auto`` the best one that can run here."""
    name, why = str(config.profile), "as set"
    if name == "auto":
        name, why = _best(config, hub_cache)
    return Chosen(name, config.choices(name), f"profile {name}: {why}")


def missing(profile: Profile, *, hub_cache: Path | None = None) -> dict[str, ModelMissing]:
    """Role → why its model can't be loaded, for those that are not on this machine."""
    absent = {}
    for role in ROLES:
        try:
            for part in getattr(profile, role).parts:
                locate(part, hub_cache=hub_cache)
        except ModelMissing as exc:
            absent[role] = exc
    return absent


def how_to_get(name: str, *, hub_cache: Path | None = None) -> str:
    """How to run profile ``name``: the commands for what is missing, then the flag."""
    absent = missing(PROFILES[name], hub_cache=hub_cache)
    choices: list[ModelChoice] = [getattr(PROFILES[name], role) for role in absent]
    if not choices:
        return f"start with `--profile {name}`"
    commands = " && ".join(download_command(choice.source) for choice in choices)
    size = sum(choice.gigabytes for choice in choices)
    return f"run `{commands}` (about {size:.3g} GB), then start with `--profile {name}`"


def _best(config: Config, hub_cache: Path | None) -> tuple[str, str]:
    full, small = (_is_here(config, name, hub_cache) for name in ("full", "small"))
    if full:
        gigabytes = gpu_gigabytes()
        if gigabytes >= FULL_GIGABYTES:
            return "full", f"its weights are here and the GPU has {gigabytes:.0f} GB"
        gpu = f"the GPU here has {gigabytes:.0f} GB" if gigabytes else "there is none here"
        why_not = f"full needs a GPU of 8 GB and {gpu}"
    else:
        why_not = "the weights of full are not on this machine"
    if small:
        return "small", f"its weights are here; {why_not}"
    if not full:
        return "pocket", "the weights of small and full are not on this machine"
    return "pocket", f"the weights of small are not on this machine; {why_not}"


def _is_here(config: Config, name: str, hub_cache: Path | None) -> bool:
    """Whether everything that ``name`` would load, overrides apart, is on this machine."""
    absent = missing(PROFILES[name], hub_cache=hub_cache)
    return not any(getattr(config, role) is None for role in absent)
