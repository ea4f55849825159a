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

from finetune.settings import Part, Settings
from tools.errors import SettingsError

__all__ = ["load_settings", "read_yaml", "strategies", "with_assignments"]

_STRATEGIES = Path(__file__).parent / "strategies"
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
        if not name:
            result[part] = value
        elif isinstance(result.setdefault(part, {}), dict):
            result[part][name] = value
    return result


def load_settings(values: Mapping[str, Any], *, where: str = "The settings") -> Settings:
    """Checked settings. Raises :class:`SettingsError` that names every problem at once."""
    try:
        return Settings.model_validate(dict(values))
    except ValidationError as exc:
        problems = "; ".join(_worded(error) for error in exc.errors())
        raise SettingsError(f"{where}: {problems}.") from exc


def _worded(error: Any) -> str:
    place = [str(part) for part in error["loc"]]
    name = ".".join(place)
    if error["type"] == "extra_forbidden":
        known = list(_keys())
        known_as = _ALSO_CALLED.get(place[-1])
        near = [known_as] if known_as else []
        near = near or difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        near = near or [k for k in known if k.rpartition(".")[2] == place[-1]][:1]
        near = near or difflib.get_close_matches(place[-1], [k.rpartition(".")[2] for k in known])
        return f"unknown key {name}" + (f" (did you mean {near[0]}?)" if near else "")
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "value_error":
        return f"{name}: {message}" if name else message
    return f"{name}: {message} (got {error['input']!r:.60})"


def _keys() -> Iterator[str]:
    """Every key of the schema, dotted."""
    for name, field in Settings.model_fields.items():
        yield name
        kinds = [field.annotation, *get_args(field.annotation)]
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, Part):
                yield from (f"{name}.{inner}" for inner in kind.model_fields)
