"""The command line of training. Thin: heavy imports happen inside the commands that need them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from finetune.cli import options as o
from finetune.cli.export import export
from finetune.cli.launch import launch
from finetune.cli.oneshot import oneshot
from finetune.cli.runs import add_run_commands, runs
from finetune.cli.shelf import shelf
from finetune.cli.show import echo, facts_of_data, following, show_json, worded
from finetune.cli.strategies import app as strategies
from finetune.distributed import processes

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
@o.with_flags(*o.DATA)
def prepare(
    source: o.Source,
    output: Annotated[
        Path | None, typer.Option(help="Write the pictures and rows here, split, to train on.")
    ] = None,
    config: o.Config = None,
    assignments: o.Set = None,
    home: o.Home = None,
    as_json: o.Json = False,
    *,
    flags: dict[str, Any],
) -> None:
    """Look at a source: classes, counts, bad files, duplicates, leaks, imbalance, splits."""
    with worded():
        settings = o.settings_of(
            {"source": source, **flags}, config=config, assignments=assignments
        )
        from finetune.data.prepared import write_prepared
        from finetune.work import failures, look_at
        from tools.config import load_config

        with following(quiet=as_json) as follow:
            table, plan = look_at(settings, load_config(home=home), follow)
        for line in [] if as_json else facts_of_data(table, plan):
            typer.echo(line)
        if output is not None:
            with failures(output):
                write_prepared(output, table, plan)
            echo(f"Written to {output}: train on it with `few-shot {output}`.")
        if as_json:
            show_json(table.to_json() | {"measured_on": plan.how})


_OF_ROLE = {"captioner": "pocket-captions", "embedder": "pocket-embedder"}
"""The strategies of roles for which few and many pictures are no matter."""


def _training(default: str | None) -> Callable[..., None]:
    """A command that trains; ``default`` is its strategy when neither file nor name is given."""

    @o.with_flags(*o.DATA, *o.TRAINING)
    def command(
        source: o.OptionalSource = None,
        strategy: o.Strategy = None,
        config: o.Config = None,
        name: o.Name = None,
        publish: o.Publish = False,
        home: o.Home = None,
        as_json: o.Json = False,
        assignments: o.Set = None,
        *,
        flags: dict[str, Any],
    ) -> None:
        with worded():
            own = _OF_ROLE.get(str(flags["role"]), default) if default else None
            chosen = strategy or (own if config is None else None)
            if chosen is None and config is None:
                raise typer.BadParameter("give --config FILE or --strategy NAME")
            settings = o.settings_of(
                {"source": source, **flags},
                strategy=chosen,
                config=config,
                assignments=assignments,
            )
            _train(settings, name=name, publish=publish, home=home, as_json=as_json)

    return command


app.command("few-shot", help="Train on a few pictures of each class.")(_training("pocket-few-shot"))
app.command("many-shot", help="Train on hundreds of pictures of each class.")(
    _training("pocket-many-shot")
)
app.command("train", help="Train by --config FILE or --strategy NAME.")(_training(None))


def _train(
    settings: Any, *, name: str | None, publish: bool, home: Path | None, as_json: bool
) -> None:
    from finetune.cli.publish import put_on_shelf
    from finetune.cli.runs import show_results
    from finetune.work import carry_out, prepare_run
    from tools.config import load_config

    def told(table: Any, plan: Any) -> None:
        for line in [] if as_json else facts_of_data(table, plan):
            echo(line)

    loaded = load_config(home=home)
    with following(quiet=as_json) as follow:
        run, learner = prepare_run(settings, loaded, name=name, on_event=follow, on_data=told)
        if not as_json:
            for share in learner.describe()["trained"]:
                echo(f"trains in the {share['part']}: {share['trained']:,} of {share['all']:,}")
            if processes.count() > 1:
                echo(f"a step is of {_pictures_a_step(settings.training)}")
            echo(f"run {run.name} in {run.folder}")
        results = carry_out(run, learner, on_event=follow)
    if publish:
        echo(f"on the shelf: {put_on_shelf(run, loaded.home / 'adapters')}")
    show_results(run, results, as_json=as_json)


def _pictures_a_step(training: Any) -> str:
    batch, accumulation, several = training.batch, training.accumulation, processes.count()
    every = batch * accumulation * several
    return f"{batch} (batch) x {accumulation} (accumulation) x {several} (processes) = {every}"


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
    from finetune.pocket.training import Clock

    try:
        recipe = Recipe.open(
            data=data, run=run, out=out, teacher=teacher or data / "teacher", settings=settings
        )
    except SettingsError as problem:
        typer.echo(str(problem), err=True)
        raise typer.Exit(2) from problem
    wanted = ("clip", "background", "blip", "llava") if model is PocketModel.all else (model.value,)
    clock = Clock(minutes)
    for name in wanted:
        finished = recipe.train(name, clock=clock, resume=resume)
        if not finished:
            typer.echo(f"{name}: stopped before its last step; run again to go on.")
            raise typer.Exit(0)


add_run_commands(app)
app.command()(export)
app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})(
    launch
)
app.add_typer(runs, name="runs")
app.add_typer(shelf, name="shelf")
app.add_typer(oneshot, name="oneshot")
app.add_typer(strategies, name="strategies")


def main() -> None:
    """Entry point of `python -m finetune`, alone or as one of several processes."""
    if processes.count() > 1:
        processes.join()
    if processes.lead():
        app()
        return
    from finetune.work import assist

    try:
        with worded():
            assist()
    except typer.Exit as done:
        sys.exit(done.exit_code)
