"""Commands on the shelf of adapters: what is on it, which one each role uses, and using none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from finetune.cli import options as o
from finetune.cli.show import echo, show_json, worded

if TYPE_CHECKING:
    from tools.shelf import Adapter

__all__ = ["Anyway", "put_to_use", "shelf"]

Anyway = Annotated[
    bool, typer.Option("--anyway", help="Even if its run says that it is not worth using.")
]

shelf = typer.Typer(
    help="What was published: list it, use it, or stop using it.", no_args_is_help=True
)


@shelf.command("list")
def list_(home: o.Home = None, as_json: o.Json = False) -> None:
    """Every adapter, whose it is, and whether it is in use."""
    from finetune.shelf import list_adapters, read_manifest
    from tools.config import load_config
    from tools.shelf import active_adapter, role_of

    with worded():
        place = load_config(home=home).home / "adapters"
        rows = []
        for name in list_adapters(place):
            manifest = read_manifest(place / name)
            role = role_of(manifest)
            in_use = active_adapter(place, role) == name
            rows.append(
                {"name": name, "role": role, "in_use": in_use, "verdict": manifest["verdict"]}
            )
        if as_json:
            show_json(rows)
            return
        for row in rows:
            used = "in use" if row["in_use"] else ""
            typer.echo(f"{row['name']:<28} {row['role']:<10} {used:<7} {row['verdict']}".rstrip())
        if not rows:
            echo("The shelf is empty: put a run on it with `publish RUN`.")


def put_to_use(place: Path, name: str, *, anyway: bool) -> Adapter:
    """Raises :class:`TrainingFailed` for one whose run did not show it worth using."""
    from tools.errors import TrainingFailed
    from tools.shelf import activate, open_adapter

    adapter = open_adapter(place, name)
    if not (adapter.worth_using or anyway):
        raise TrainingFailed(
            f"{name} is on the shelf and not in use, for of it is known: {adapter.verdict} To use "
            f"it all the same: `shelf use {name} --anyway`."
        )
    return activate(place, name)


@shelf.command()
def use(
    name: Annotated[str, typer.Argument(help="An adapter, as `shelf list` names it.")],
    anyway: Anyway = False,
    home: o.Home = None,
    as_json: o.Json = False,
) -> None:
    """Let the assistant use an adapter for its role from now on; it need not be restarted."""
    from tools.config import load_config

    with worded():
        adapter = put_to_use(load_config(home=home).home / "adapters", name, anyway=anyway)
        if as_json:
            show_json({"role": adapter.role, "in_use": adapter.name})
        else:
            typer.echo(f"The {adapter.role} uses {adapter.name} from now on.")


@shelf.command()
def stop(
    role: Annotated[str, typer.Argument(help="answerer, captioner or embedder.")],
    home: o.Home = None,
    as_json: o.Json = False,
) -> None:
    """Let the assistant use no adapter for a role; all of them stay on the shelf."""
    from tools.config import load_config
    from tools.errors import SettingsError
    from tools.shelf import ROLES, active_adapter, deactivate

    with worded():
        if role not in ROLES:
            raise SettingsError(f"There is no role {role!r:.40}: there is {', '.join(ROLES)}.")
        place = load_config(home=home).home / "adapters"
        before = active_adapter(place, role)
        deactivate(place, role)
        if as_json:
            show_json({"role": role, "in_use": None, "before": before})
            return
        typer.echo(
            f"The {role} uses {before} no longer." if before else f"The {role} uses no adapter."
        )
