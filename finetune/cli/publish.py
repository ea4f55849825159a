"""`publish`: a run, or what somebody else has published, to the shelf; a run to the Hub."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from finetune.cli import options as o
from finetune.cli.shelf import Anyway, put_to_use
from finetune.cli.show import echo, show_json, worded
from tools.errors import SettingsError, TrainingFailed

__all__ = ["publish", "put_on_shelf"]

_FROM_HUB = "hf:"


def publish(
    name: Annotated[
        str,
        typer.Argument(
            help="A run, as `runs list` names it; or, for the shelf, an adapter that was published "
            "elsewhere: its folder, or hf:OWNER/NAME once fetched.",
        ),
    ],
    to: Annotated[
        str | None, typer.Option("--as", help="Its name on the shelf; the run's if not given.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace what is there under that name.")
    ] = False,
    activate: Annotated[
        bool, typer.Option("--activate", help="Make it the one in use, on the shelf.")
    ] = False,
    anyway: Anyway = False,
    hub: Annotated[
        str | None,
        typer.Option(help="Publish it on the Hugging Face Hub as OWNER/NAME, not on the shelf."),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Hub: only you and whom you let in may see it.")
    ] = False,
    revision: Annotated[
        str | None, typer.Option(help="Hub: the branch, which is made if it is not there.")
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option("--license", help="Hub: the licence of the weights; the base's if not given."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Hub: write what would be sent, and send nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Hub: do not ask.")] = False,
    home: o.Home = None,
    as_json: o.Json = False,
) -> None:
    """Put a finished run's model on the shelf or on the Hub, with its manifest and model card."""
    with worded():
        for_hub = {
            "--private": private,
            "--revision": revision,
            "--license": licence,
            "--dry-run": dry_run,
            "--yes": yes,
        }
        for_shelf = {"--as": to, "--activate": activate}
        wrong = [flag for flag, given in (for_shelf if hub else for_hub).items() if given]
        if wrong:
            there = "the shelf, and --hub is not" if hub else "the Hub: give --hub OWNER/NAME too"
            raise SettingsError(f"{', '.join(wrong)} is for {there}.")
        if hub is None:
            _to_shelf(name, home, to, replace, activate, anyway, as_json)
        else:
            how = {"private": private, "revision": revision, "replace": replace}
            _to_hub(name, home, hub, licence, how, anyway, dry_run, yes, as_json)


def put_on_shelf(run: Any, place: Path, **how: Any) -> Path:
    """The run's model as an adapter in ``place``; a full disk leaves nothing there."""
    from finetune import shelf
    from finetune.work import failures

    with failures(place):
        return shelf.publish(run, place, **how)


def _to_shelf(
    name: str,
    home: Path | None,
    to: str | None,
    replace: bool,
    activate: bool,
    anyway: bool,
    as_json: bool,
) -> None:
    from finetune.runs import open_run
    from finetune.shelf import take_in
    from tools.config import load_config

    config = load_config(home=home)
    place = config.home / "adapters"
    elsewhere = _elsewhere(name, config.home / "runs")
    if elsewhere is None:
        run = open_run(config.home / "runs", name)
        folder = put_on_shelf(run, place, name=to, replace=replace)
    else:
        from finetune.work import failures

        with failures(place):
            folder = take_in(elsewhere, place, name=to, replace=replace)
    if activate:
        put_to_use(place, folder.name, anyway=anyway)
    if as_json:
        show_json({"name": folder.name, "folder": str(folder), "in_use": activate})
    else:
        typer.echo(f"{folder}{' (in use)' if activate else ''}")


def _elsewhere(name: str, runs: Path) -> Path | None:
    """The folder of an adapter that is no run of this home; None where ``name`` is a run's."""
    if name.startswith(_FROM_HUB):
        from finetune.hub import fetched

        return fetched(name.removeprefix(_FROM_HUB))
    path = Path(name).expanduser()
    is_run = path.name == name and (runs / name / "training_metadata.json").is_file()
    return path if not is_run and path.is_dir() else None


def _to_hub(
    name: str,
    home: Path | None,
    repo: str,
    licence: str | None,
    how: dict[str, Any],
    anyway: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    from finetune.hub import check_name, pack, send
    from finetune.runs import open_run
    from finetune.shelf import finished
    from finetune.work import failures
    from tools.config import load_config

    check_name(repo)
    run = open_run(load_config(home=home).home / "runs", name)
    results = finished(run)
    if not (results["worth_using"] or anyway):
        raise TrainingFailed(
            f"{run.name} is not published, for of it is known: {results['verdict']} To publish it "
            "all the same, give --anyway; the card says what is known."
        )
    # Kept only where it is to be looked at.
    kept = nullcontext(str(run.folder)) if dry_run else TemporaryDirectory(dir=run.folder)
    with failures(run.folder), kept as place:
        parcel = pack(run, Path(place) / "hub", repo, licence=licence)
        seen = "private" if how["private"] else "public unless it is there and private"
        at = f", branch {how['revision']}" if how["revision"] else ""
        echo(
            f"{len(parcel.files)} files ({parcel.size / 1e3:,.0f} kB: {', '.join(parcel.files)}) "
            f"{'would go' if dry_run else 'go'} to {repo} on the Hub{at}, {seen}; no pictures."
        )
        if dry_run:
            files = {"repository": repo, "folder": str(parcel.folder), "files": parcel.files}
            show_json(files) if as_json else typer.echo(str(parcel.folder))
            return
        _ask(yes)
        page = send(parcel, **how)
    show_json({"repository": repo, "commit": page}) if as_json else typer.echo(page)


def _ask(yes: bool) -> None:
    if yes:
        return
    if not _somebody_is_here():
        raise SettingsError("Publishing on the Hub asks first, and nobody is here: give --yes.")
    typer.confirm("Publish it?", abort=True, err=True)


def _somebody_is_here() -> bool:
    return sys.stdin.isatty()
