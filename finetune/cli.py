"""The command line of training. Thin: heavy imports happen inside the commands that need them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app", "main"]

app = typer.Typer(
    name="finetune",
    help="Train and evaluate the models of Imprint.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)


class PocketModel(StrEnum):
    """What `finetune pocket` trains."""

    clip = "clip"
    background = "background"
    reference = "reference"
    blip = "blip"
    llava = "llava"
    all = "all"


@app.callback()
def _root() -> None:
    """Train and evaluate the models of Imprint."""


@app.command()
def pocket(
    model: Annotated[PocketModel, typer.Argument(help="Which pocket model, or all in order.")],
    data: Annotated[
        Path, typer.Option(help="Folder with emoji/, caltech101/, coco128/, easy_vqa/, …")
    ],
    run: Annotated[Path, typer.Option(help="Where states and metrics go.")] = Path("runs/pocket"),
    out: Annotated[Path, typer.Option(help="Where the finished models go.")] = Path(
        "tools/models/pocket"
    ),
    teacher: Annotated[
        Path | None, typer.Option(help="Folder of the teacher; DATA/teacher if not given.")
    ] = None,
    settings: Annotated[
        Path | None, typer.Option(help="YAML settings in place of those shipped.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Stop (resumably) after so long; unlimited if not given.")
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the last state in --run.")] = True,
) -> None:
    """Train the pocket models from scratch: CLIP, its statistics, then BLIP and LLaVA on it.

    `reference` makes the pictures that other embedders are measured with, beside --out.
    """
    if not data.is_dir():
        raise typer.BadParameter(f"{data} is not a folder", param_hint="--data")
    if model is PocketModel.reference:
        from finetune.pocket.reference import write_reference

        made = write_reference(data, out.with_name("reference"))
        typer.echo(f"{len(made['drawings'])} drawings, {len(made['photos'])} photos")
        return
    from finetune.pocket.recipe import Recipe, SettingsError

    try:
        recipe = Recipe.open(
            data=data, run=run, out=out, teacher=teacher or data / "teacher", settings=settings
        )
    except SettingsError as problem:
        typer.echo(str(problem), err=True)
        raise typer.Exit(2) from problem
    wanted = ("clip", "background", "blip", "llava") if model is PocketModel.all else (model.value,)
    for name in wanted:
        finished = recipe.train(name, minutes=minutes, resume=resume)
        if not finished:
            typer.echo(f"{name}: stopped before its last step; run again to go on.")
            raise typer.Exit(0)


def main() -> None:
    """Entry point of `python -m finetune`."""
    app()
