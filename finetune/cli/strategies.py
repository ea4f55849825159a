"""`strategies`: which there are, what is in one, and which suits these pictures on this machine."""

from __future__ import annotations

from typing import Annotated, Any, cast, get_args

import typer

from finetune.cli import options as o
from finetune.cli.show import show_json, worded
from finetune.settings.schema import Task
from tools.errors import SettingsError

app = typer.Typer(
    help="Settings that come with the package: list, show, recommend.", no_args_is_help=True
)


@app.command("list")
def list_(as_json: o.Json = False) -> None:
    """Every strategy, with what it is for and what it takes."""
    from finetune.planning.recommend import open_strategies

    with worded():
        known = open_strategies()
        if as_json:
            show_json({name: _facts(settings) for name, settings in known.items()})
            return
        for name, settings in known.items():
            facts = _facts(settings)
            fewest, many = facts["examples"]
            needs = f"a GPU of {facts['needs_gpu_gb']:g} GB" if facts["needs_gpu_gb"] else "no GPU"
            typer.echo(f"{name:<24} {facts['description']}")
            amount = f"{', '.join(facts['tasks'])}; {fewest} to {many} pictures a class"
            takes = f"{facts['memory_gb']:g} GB of memory, {facts['download_gb']:g} GB to fetch"
            typer.echo(f"{'':<24} {amount}; {needs}, {takes}")


@app.command()
def show(name: Annotated[str, typer.Argument(help="A strategy, as `list` names it.")]) -> None:
    """The file of a strategy, with its comments: a start for a file of your own."""
    from finetune.settings.files import strategies

    with worded():
        known = strategies()
        if name not in known:
            raise SettingsError(f"There is no strategy {name!r}: there is {', '.join(known)}.")
        typer.echo(known[name].read_text(encoding="utf-8").rstrip())


@app.command()
def recommend(
    examples: Annotated[
        int, typer.Option(min=1, help="Pictures of each class; rows, where there are no classes.")
    ],
    classes: Annotated[
        int, typer.Option(min=1, help="How many classes; 1 where there are none.")
    ] = 2,
    task: Annotated[
        str, typer.Option(help=f"What to learn: {', '.join(get_args(Task))}.")
    ] = "classify",
    minutes: Annotated[float, typer.Option(min=0, help="How long a training may take.")] = 60,
    as_json: o.Json = False,
) -> None:
    """Look at this machine and rank the strategies, with reasons."""
    with worded():
        if task not in get_args(Task):
            raise SettingsError(f"--task {task}: choose one of {', '.join(get_args(Task))}.")
        from finetune.planning.machine import look_at_machine
        from finetune.planning.recommend import open_strategies
        from finetune.planning.recommend import recommend as ranked

        machine = look_at_machine()
        found = ranked(
            open_strategies(),
            machine,
            task=cast(Task, task),
            examples=examples,
            classes=classes,
            minutes=minutes,
        )
        if as_json:
            shown = [one.to_json() for one in found]
            show_json({"machine": vars(machine), "strategies": shown})
            return
        typer.echo(f"This machine: {machine.words}.")
        for place, one in enumerate(found, 1):
            typer.echo(f"{place:>2}. {one.name}")
            typer.echo("".join(f"    {reason}\n" for reason in one.reasons).rstrip())
        if not found:
            typer.echo(f"No strategy learns the task {task} yet.")


def _facts(settings: Any) -> dict[str, Any]:
    return {
        "description": settings.description,
        "needs_gpu_gb": settings.needs_gpu_gb,
        **settings.suits.model_dump(mode="json"),
    }
