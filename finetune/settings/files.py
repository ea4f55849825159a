"""Settings from YAML files, strategies and assignments, with every problem told at once.

Unknown keys are refused with the nearest known one. Knows nothing of flags or data.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import ValidationError

from finetune.settings.schema import Part, Settings
from finetune.settings.stages import resolved, values_of_stages
from tools.errors import SettingsError

__all__ = ["load_settings", "read_yaml", "strategies", "with_assignments"]

_STRATEGIES = Path(__file__).parents[1] / "strategies"
_ALSO_CALLED = {
    "learning_rate": "training.lr",
    "batch_size": "training.batch",
    "gradient_accumulation_steps": "training.accumulation",
    "num_train_epochs": "training.epochs",
    "warmup_ratio": "training.warmup",
    "lora_alpha": "lora.alpha",
    "lora_r": "lora.rank",
    "target_modules": "lora.targets",
    "base_model": "model.answerer",
}


def strategies() -> dict[str, Path]:
    """The strategies that come with the package: name → file."""
    return {path.stem: path for path in sorted(_STRATEGIES.glob("*.yaml"))}


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in ``path``. Raises :class:`SettingsError`."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise SettingsError(
            f"{path} can't be read ({exc.strerror}): give a YAML file of settings."
        ) from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise SettingsError(
            f"{path} is not YAML ({' '.join(str(exc).split())}): correct it."
        ) from exc
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise SettingsError(f"{path} holds no settings: it must be `key: value` lines.")
    return found


def with_assignments(values: Mapping[str, Any], assignments: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` with dotted keys (``training.lr``) set; None is left as it was."""
    result: dict[str, Any] = {
        k: dict(v) if isinstance(v, Mapping) else v for k, v in values.items()
    }
    for key, value in assignments.items():
        if value is None:
            continue
        part, _, name = key.partition(".")
        if part == "stages" and name:
            _assign_in_stage(result, key, value)
            continue
        _check_not_hidden(result, key)
        if not name:
            result[part] = value
        elif isinstance(result.setdefault(part, {}), dict):
            result[part][name] = value
    return result


def load_settings(values: Mapping[str, Any], *, where: str = "The settings") -> Settings:
    """Checked settings. Raises :class:`SettingsError` that names every problem at once."""
    found, problems = _checked(values)
    common = set(problems)
    for stage, laid, wrong in values_of_stages(values):
        also = [problem for problem in _checked(laid)[1] if problem not in common]
        problems += [f"{stage}: {problem}" for problem in (*wrong, *also)]
    if found is None or problems:
        raise SettingsError(f"{where}: {'; '.join(problems)}.")
    return resolved(found)


def _checked(values: Mapping[str, Any]) -> tuple[Settings | None, list[str]]:
    """The settings, or what is wrong with them."""
    try:
        return Settings.model_validate(dict(values)), []
    except ValidationError as exc:
        return None, [_worded(error) for error in exc.errors()]


def _assign_in_stage(values: dict[str, Any], key: str, value: Any) -> None:
    """Set ``stages.NAME.KEY``. Raises :class:`SettingsError` if no stage has that name."""
    _, name, *inner = key.split(".", 2)
    stages = _stages(values)
    if not inner or name not in [stage.get("name") for stage in stages]:
        known = ", ".join(str(stage.get("name")) for stage in stages) or "none"
        raise SettingsError(
            f"{key}: write stages.NAME.KEY with the name of a stage; there is {known}."
        )
    values["stages"] = [
        with_assignments(stage, {inner[0]: value}) if stage.get("name") == name else stage
        for stage in stages
    ]


def _check_not_hidden(values: Mapping[str, Any], key: str) -> None:
    """Raises :class:`SettingsError` for a key that every stage which reads it sets itself."""
    block, _, name = key.partition(".")
    for stage in _stages(values):
        own = stage.get(block)
        if own is not None and (not name or (isinstance(own, Mapping) and name in own)):
            raise SettingsError(
                f"{key}: stage {stage.get('name')} sets its own; set "
                f"stages.{stage.get('name')}.{key}."
            )


def _stages(values: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The stages as far as they are some; what is wrong with others is told by the schema."""
    given = values.get("stages")
    return [s for s in given if isinstance(s, Mapping)] if isinstance(given, list) else []


def _worded(error: Any) -> str:
    place = [str(part) for part in error["loc"]]
    name = ".".join(place)
    if error["type"] == "extra_forbidden":
        near = _nearest(name, place[-1])
        return f"unknown key {name}" + (f" (did you mean {near}?)" if near else "")
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "value_error":
        return f"{name}: {message}" if name else message
    return f"{name}: {message} (got {error['input']!r:.60})"


def _nearest(name: str, last: str) -> str | None:
    """The key that is spelt most like ``name``, or whose ``last`` part or other name is."""
    words = {key: key for key in _keys()}
    for key in list(words):
        words.setdefault(key.rpartition(".")[2], key)
    words |= _ALSO_CALLED
    near = [
        (difflib.SequenceMatcher(None, given, word).ratio(), word)
        for given in (name, last)
        for word in difflib.get_close_matches(given, words, n=1)
    ]
    return words[max(near)[1]] if near else None


def _keys() -> Iterator[str]:
    """Every key of the schema, dotted."""
    for name, field in Settings.model_fields.items():
        yield name
        kinds = [field.annotation, *get_args(field.annotation)]
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, Part):
                yield from (f"{name}.{inner}" for inner in kind.model_fields)
