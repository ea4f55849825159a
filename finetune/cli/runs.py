"""Commands on runs that exist: list, show, resume, delete, evaluate, predict, compare, publish."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from finetune.cli import options as o
from finetune.cli.publish import publish
from finetune.cli.show import echo, following, show_json, worded

runs = typer.Typer(help="What was trained: list, show, resume, delete.", no_args_is_help=True)


def _run(name: str, home: Path | None) -> Any:
    from finetune.runs import open_run
    from tools.config import load_config

    return open_run(load_config(home=home).home / "runs", name)


def show_results(run: Any, results: dict[str, Any], *, as_json: bool) -> None:
    """The end of a run, for people or programs."""
    if as_json:
        show_json(results)
        return
    typer.echo(results["verdict"])
    typer.echo(f"Report: {run.folder / 'README.md'}")


@runs.command("list")
def list_(home: o.Home = None, as_json: o.Json = False) -> None:
    """Every run, newest first."""
    from finetune.runs import list_runs
    from tools.config import load_config

    with worded():
        rows = []
        for run in list_runs(load_config(home=home).home / "runs"):
            results = run.results or {}
            verdict = results.get("verdict", "")
            rows.append({"name": run.name, "status": run.status, "verdict": verdict})
        if as_json:
            show_json(rows)
            return
        for row in rows:
            typer.echo(f"{row['name']:<28} {row['status']:<12} {row['verdict']}".rstrip())
        if not rows:
            echo("There are no runs yet: start one with `few-shot SOURCE`.")


@runs.command()
def show(name: o.RunName, home: o.Home = None, as_json: o.Json = False) -> None:
    """One run: status, settings, last step, results."""
    with worded():
        run = _run(name, home)
        steps = run.log.read("step")
        found = {
            "name": run.name,
            "folder": str(run.folder),
            "status": run.status,
            "error": run.metadata.get("error"),
            "last_step": steps[-1] if steps else None,
            "settings": run.settings.model_dump(mode="json"),
            "results": run.results,
        }
        if as_json:
            show_json(found)
            return
        typer.echo(f"{run.name}: {run.status}, in {run.folder}")
        if found["error"]:
            typer.echo(str(found["error"]))
        if steps:
            last = steps[-1]
            typer.echo(f"step {last['step']} of {last['steps']}, loss {last['loss']:.4f}")
        if run.results:
            typer.echo(run.results["verdict"])


@runs.command()
def resume(name: o.RunName, home: o.Home = None, as_json: o.Json = False) -> None:
    """Go on from the last checkpoint of a run that was stopped, killed or failed."""
    with worded():
        run = _run(name, home)
        if run.status == "finished" and run.results:
            show_results(run, run.results, as_json=as_json)
            return
        from finetune.distributed.team import check_processes, shared_learner
        from finetune.work import carry_out

        run.check_free()
        check_processes(run.metadata, run.name)
        learner = shared_learner(run.settings, *run.data())
        with following(quiet=as_json) as follow:
            results = carry_out(run, learner, on_event=follow)
        show_results(run, results, as_json=as_json)


@runs.command()
def delete(
    name: o.RunName,
    home: o.Home = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: o.Json = False,
) -> None:
    """Remove a run's folder; what is on the shelf stays."""
    from finetune.runs import delete_run

    with worded():
        run = _run(name, home)
        if not yes:
            typer.confirm(f"Delete {run.folder} and everything in it?", abort=True, err=True)
        delete_run(run)
        show_json({"deleted": run.name}) if as_json else typer.echo(f"Deleted {run.name}.")


def add_run_commands(app: typer.Typer) -> None:
    """`evaluate`, `compare`, `predict` and `publish`, at the top level."""
    for name, against, words in (
        ("evaluate", False, "Measure a model on another source: its test part, or every picture."),
        ("compare", True, "The model before and after training, on the same pictures."),
    ):
        app.command(name, help=words)(_judging(against=against))
    app.command()(predict)
    app.command()(publish)


def _judging(*, against: bool) -> Callable[..., None]:
    """A command that measures; ``against``: beside the model before training."""

    def command(
        name: o.RunName, source: o.Source, home: o.Home = None, as_json: o.Json = False
    ) -> None:
        with worded():
            run = _run(name, home)
            from finetune.judging import judge, words_of
            from tools.config import load_config

            with following(quiet=as_json) as follow:
                found = judge(run, source, load_config(home=home), against=against, on_event=follow)
            if as_json:
                show_json(found)
            else:
                typer.echo(words_of(found))

    return command


def predict(
    name: o.RunName,
    pictures: Annotated[list[Path], typer.Argument(help="Pictures, or folders of them.")],
    question: Annotated[
        str | None, typer.Option(help="The question, where the model answers questions.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="A .csv or .json file to write; else JSON is printed.")
    ] = None,
    home: o.Home = None,
) -> None:
    """What a run's model says of pictures: the class, how sure it is, and its full response."""
    with worded():
        run = _run(name, home)
        from finetune.judging import predict_pictures

        with following(quiet=output is None) as follow:
            found = predict_pictures(run, pictures, question=question, on_event=follow)
        if output is None:
            show_json(found)
            return
        from finetune.judging import write_table
        from finetune.work import failures

        with failures(output):
            write_table(output, found)
        echo(f"{len(found)} pictures: {output}")
