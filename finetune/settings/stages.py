"""Stages: parts of one training that follow one another, each from what the one before learned.

A stage is a few settings laid over those of the run. What all stages share (data, prompt, models,
the adapter's shape) is set once, outside of them: there is one model, and a stage says which of
its weights move and how. Knows nothing of files, models or loops.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from finetune.settings.schema import CHANGING, Settings
from tools.errors import SettingsError

__all__ = ["Stage", "laid_over", "resolved", "stages_of", "values_of_stages", "whole"]

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_OWN = ("name", "method", "lora", "augmentation", "training")
_OWN_OF_LORA = ("projector_lr",)  # the adapter's shape is that of all stages


@dataclass(frozen=True)
class Stage:
    """``settings``: those of the run with the stage's over them; ``name`` is empty without any."""

    name: str
    settings: Settings


def stages_of(settings: Settings) -> tuple[Stage, ...]:
    """The stages in their order; a run without any is one stage of no name."""
    if not settings.stages:
        return (Stage("", settings),)
    common = settings.model_dump(exclude={"stages"})
    return tuple(
        Stage(stage["name"], Settings.model_validate(laid_over(common, _without_name(stage))))
        for stage in settings.stages
    )


def whole(settings: Settings) -> Settings:
    """The settings of a model in which everything can move that moves in any stage."""
    stages = [stage.settings for stage in stages_of(settings)]
    projector = any(s.method == "projector" or s.lora.projector_lr is not None for s in stages)
    if not settings.stages or not projector:
        return settings
    lora = settings.lora.model_copy(update={"projector_lr": settings.training.lr})
    return settings.model_copy(update={"lora": lora})


def resolved(settings: Settings) -> Settings:
    """Settings whose stages all say their method, and whose own is the one to keep.

    Raises :class:`SettingsError` for stages that do not fit together.
    """
    if not settings.stages:
        return settings
    stages = stages_of(settings)
    problems = [
        f"{stage.name} is of method {stage.settings.method}, which learns in one go (stages are "
        f"of {', '.join(CHANGING)})"
        for stage in stages
        if stage.settings.method not in CHANGING
    ]
    if settings.role != "answerer":
        problems.append(f"stages are of the answerer, not of the {settings.role}")
    methods = {stage.settings.method for stage in stages}
    kept = sorted(methods & set(CHANGING) - {"projector"})
    if len(kept) > 1:
        problems.append(f"{' and '.join(kept)} can't be kept as one model, so choose one of them")
    if problems:
        raise SettingsError(f"The stages do not fit together: {'; '.join(problems)}.")
    named = [
        {**given, "method": stage.settings.method}
        for given, stage in zip(settings.stages, stages, strict=True)
    ]
    return settings.model_copy(update={"method": (kept or ["projector"])[0], "stages": named})


def values_of_stages(
    values: Mapping[str, Any],
) -> Iterator[tuple[str, Mapping[str, Any], list[str]]]:
    """Of each stage in unchecked ``values``: what it is called in messages, the values of the run
    with its own over them, and what is wrong with it however those are read."""
    common = {key: value for key, value in values.items() if key != "stages"}
    names: set[str] = set()
    given = values.get("stages")
    for number, stage in enumerate(given if isinstance(given, list) else [], 1):
        if not isinstance(stage, Mapping):
            continue  # the schema says so
        problems = [
            f"{key} is the same for all stages; set it outside them"
            for key in _dotted(stage)
            if key.partition(".")[0] in Settings.model_fields and not _is_own(key)
        ]
        name = stage.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            problems.append(f"name: give one of a-z, 0-9, '-' and '_' (got {name!r:.40})")
        elif name in names:
            problems.append("another stage has this name")
        names.add(str(name))
        own = {
            k: v
            for k, v in _without_name(stage).items()
            if k in _OWN or k not in Settings.model_fields
        }
        yield f"stage {name or number}", laid_over(common, own), problems


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``above`` laid over ``below``, key by key, two levels deep."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = {**old, **value} if both else value  # type: ignore[dict-item]
    return merged


def _without_name(stage: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in stage.items() if key != "name"}


def _dotted(stage: Mapping[str, Any]) -> Iterator[str]:
    for key, value in stage.items():
        if isinstance(value, Mapping) and key in _OWN:
            yield from (f"{key}.{inner}" for inner in value)
        else:
            yield str(key)


def _is_own(key: str) -> bool:
    block, _, name = key.partition(".")
    return block in _OWN and (block != "lora" or not name or name in _OWN_OF_LORA)
