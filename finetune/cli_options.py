"""The flags of the command line, each defined once, and what they set.

Knows nothing of what the commands do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from finetune.settings import Settings, load_settings, read_yaml, strategies, with_assignments
from tools.errors import SettingsError

Source = Annotated[
    str,
    typer.Argument(
        help="A folder (per class, or train/val/test), a .json, .csv, .tsv or .jsonl file, or "
        "memory:WORKSPACE."
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
Model = Annotated[str | None, typer.Option(help="The vision-language model.")]
Embedder = Annotated[str | None, typer.Option(help="The embedder.")]
Method = Annotated[
    str | None, typer.Option(help="lora, qlora, projector, full, linear or prototypes.")
]
Shots = Annotated[int | None, typer.Option(help="Train on so many pictures of each class.")]
Epochs = Annotated[float | None, typer.Option(help="Passes over the training pictures.")]
MaxSteps = Annotated[int | None, typer.Option(help="Stop after so many steps.")]
Lr = Annotated[float | None, typer.Option(help="Highest learning rate.")]
Batch = Annotated[int | None, typer.Option(help="Pictures at once.")]
Accumulation = Annotated[int | None, typer.Option(help="Batches a step.")]
Rank = Annotated[int | None, typer.Option(help="Rank of the LoRA.")]
Question = Annotated[str | None, typer.Option(help="What is asked about each picture.")]
Answer = Annotated[str | None, typer.Option(help="Form of the answer, with {label}.")]
System = Annotated[str | None, typer.Option(help="An instruction put before the question.")]
Task = Annotated[str | None, typer.Option(help="auto, classify or answer.")]
ImageColumn = Annotated[str | None, typer.Option(help="Column that names the picture's file.")]
LabelColumn = Annotated[str | None, typer.Option(help="Column of the class.")]
QuestionColumn = Annotated[str | None, typer.Option(help="Column of the question.")]
AnswerColumn = Annotated[str | None, typer.Option(help="Column of the answer.")]
ClassNames = Annotated[
    str | None, typer.Option(help="Names of classes 0, 1, 2…, joined by commas.")
]
MaxSamples = Annotated[int | None, typer.Option(help="At most so many rows.")]
MaxLength = Annotated[int | None, typer.Option(help="Most tokens of a row, pictures included.")]
Seed = Annotated[int | None, typer.Option(help="Of the splits, the weights and the order.")]
Flip = Annotated[bool | None, typer.Option("--flip", help="Mirror half of the pictures.")]
ReportTo = Annotated[
    list[str] | None, typer.Option(help="tensorboard, wandb or trackio; may be repeated.")
]

_KEYS = {
    "source": "data.source",
    "model": "model.answerer",
    "embedder": "model.embedder",
    "method": "method",
    "shots": "data.shots",
    "epochs": "training.epochs",
    "max_steps": "training.max_steps",
    "lr": "training.lr",
    "batch": "training.batch",
    "accumulation": "training.accumulation",
    "rank": "lora.rank",
    "question": "prompt.question",
    "answer": "prompt.answer",
    "system": "prompt.system",
    "task": "data.task",
    "image_column": "data.image_column",
    "label_column": "data.label_column",
    "question_column": "data.question_column",
    "answer_column": "data.answer_column",
    "class_names": "data.class_names",
    "max_samples": "data.max_samples",
    "max_length": "training.max_length",
    "flip": "augmentation.flip",
    "report_to": "training.report_to",
}


def settings_of(
    flags: dict[str, Any],
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
        values = _over(values, read_yaml(config))
        where.append(str(config))
    seed = flags.pop("seed", None)
    if flags.get("class_names") is not None:
        flags["class_names"] = [name.strip() for name in flags["class_names"].split(",")]
    named = {_KEYS[flag]: value for flag, value in flags.items() if value not in (None, [])}
    if seed is not None:
        named |= {"data.seed": seed, "training.seed": seed}
    return load_settings(
        with_assignments(values, named | _assigned(assignments or [])),
        where=f"The settings ({', '.join([*where, 'flags'])})",
    )


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """``above`` laid over ``below``, key by key, two levels deep."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = (
            {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
        )
    return merged


def _assigned(pairs: list[str]) -> dict[str, Any]:
    found = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise SettingsError(f"--set {pair}: write KEY=VALUE, as in training.lr=0.001.")
        try:
            found[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as exc:
            raise SettingsError(f"--set {pair}: {value} is not a value that YAML reads.") from exc
    return found
