"""The flags of the command line, each defined once, and what they set.

Knows nothing of what the commands do.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
import yaml
from pydantic.fields import FieldInfo

from finetune.settings.files import load_settings, read_yaml, strategies, with_assignments
from finetune.settings.schema import Settings
from finetune.settings.stages import laid_over
from tools.errors import SettingsError

Source = Annotated[
    str,
    typer.Argument(
        help="A folder (per class, or train/val/test), a .json, .csv, .tsv, .jsonl or .parquet "
        "file, a data set of the Hub (hf:OWNER/NAME) or of `save_to_disk`, memory:WORKSPACE, or an "
        "exported memory (.zip)."
    ),
]
OptionalSource = Annotated[
    str | None, typer.Argument(help="As for few-shot; the file of settings may name it instead.")
]
Home = Annotated[Path | None, typer.Option(help="Folder of everything Imprint keeps.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and only that.")]
RunName = Annotated[str, typer.Argument(help="A run, as `runs list` names it.")]
Config = Annotated[Path | None, typer.Option(help="A YAML file of settings.")]
Strategy = Annotated[str | None, typer.Option(help="Settings that come with the package, by name.")]
Name = Annotated[str | None, typer.Option(help="What the run is called.")]
Publish = Annotated[bool, typer.Option(help="Put the result on the shelf when it is done.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any setting, as KEY=VALUE: training.lr=0.001; may be repeated."),
]
DATA = (
    "task",
    "image_column",
    "label_column",
    "question_column",
    "answer_column",
    "reasoning_column",
    "caption_column",
    "class_names",
    "max_samples",
    "shots",
    "seed",
)
"""Flags for what is trained on."""
TRAINING = (
    "role",
    "model",
    "captioner",
    "embedder",
    "method",
    "epochs",
    "max_steps",
    "lr",
    "batch",
    "accumulation",
    "rank",
    "question",
    "answer",
    "system",
    "descriptions",
    "max_length",
    "flip",
    "report_to",
)
"""Flags for how."""
_KEYS = {
    "source": "data.source",
    **{flag: f"data.{flag}" for flag in DATA},
    **{flag: f"training.{flag}" for flag in TRAINING},
    **{flag: f"prompt.{flag}" for flag in ("question", "answer", "system", "descriptions")},
    "model": "model.answerer",
    "captioner": "model.captioner",
    "embedder": "model.embedder",
    "role": "role",
    "method": "method",
    "rank": "lora.rank",
    "flip": "augmentation.flip",
}
"""The setting that each flag sets; its type and its help are the setting's."""


def with_flags(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the flags ``names``; their values arrive in its parameter ``flags``."""

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        own = [p for name, p in signature.parameters.items() if name != "flags"]
        every = [p.replace(kind=p.KEYWORD_ONLY) for p in (*own, *map(_parameter, names))]

        @wraps(command)
        def wrapped(**given: Any) -> None:
            flags = {name: given.pop(name) for name in names}
            command(**given, flags=flags)

        wrapped.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
        wrapped.__annotations__ = {p.name: p.annotation for p in every}
        return wrapped

    return decorated


def _parameter(flag: str) -> inspect.Parameter:
    field = _field(flag)
    kinds = (field.annotation, *get_args(field.annotation))
    kind = next((k for k in (bool, int, float) if k in kinds), str)
    words = str(field.description).rstrip(".")
    if choices := _choices(field.annotation):
        words += f": {', '.join(choices)}"
    if _holds(field, list):
        words += ", joined by commas"
    option = typer.Option(f"--{flag.replace('_', '-')}", help=f"{words}.")
    return inspect.Parameter(
        flag,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, option],
    )


def _field(flag: str) -> FieldInfo:
    model: Any = Settings
    *parts, name = _KEYS[flag].split(".")
    for part in parts:
        model = model.model_fields[part].annotation
    found: FieldInfo = model.model_fields[name]
    return found


def _choices(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [choice for inner in get_args(annotation) for choice in _choices(inner)]


def _holds(field: FieldInfo, kind: type) -> bool:
    return kind in (get_origin(k) for k in (field.annotation, *get_args(field.annotation)))


def settings_of(
    flags: Mapping[str, Any],
    *,
    strategy: str | None = None,
    config: Path | None = None,
    assignments: list[str] | None = None,
) -> Settings:
    """The settings of a strategy, the file over it, the flags over that, and ``--set`` over all.

    Raises :class:`SettingsError` with every problem at once.
    """
    values: dict[str, Any] = {}
    where = []
    if strategy is not None:
        known = strategies()
        if strategy not in known:
            raise SettingsError(f"There is no strategy {strategy!r}: there is {', '.join(known)}.")
        values = read_yaml(known[strategy])
        where.append(f"strategy {strategy}")
    if config is not None:
        values = laid_over(values, read_yaml(config))
        where.append(str(config))
    given = {flag: value for flag, value in flags.items() if value is not None}
    named = {_KEYS[flag]: _read(flag, value) for flag, value in given.items()}
    role = str(given.get("role") or values.get("role") or "answerer")
    if "model" in given and f"model.{role}" not in named:
        named[f"model.{role}"] = named.pop(_KEYS["model"])  # the model that is trained
    if "seed" in given:
        named["training.seed"] = given["seed"]
    return load_settings(
        with_assignments(values, named | _assigned(assignments or [])),
        where=f"The settings ({', '.join([*where, 'flags'])})",
    )


def _read(flag: str, value: Any) -> Any:
    """The value of a flag as its setting has it: lists are joined by commas, mappings are YAML."""
    if _holds(_field(flag), list):
        return [name.strip() for name in value.split(",") if name.strip()]
    return _yaml(f"--{flag}", value) if _holds(_field(flag), dict) else value


def _assigned(pairs: list[str]) -> dict[str, Any]:
    found = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise SettingsError(f"--set {pair}: write KEY=VALUE, as in training.lr=0.001.")
        found[key.strip()] = _yaml(f"--set {key.strip()}", value)
    return found


def _yaml(what: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise SettingsError(f"{what}: {text} is not a value that YAML reads.") from exc
