"""``imprint memory export`` and ``imprint memory import``: all that was taught, as one file.

Knows nothing of what is in it (:mod:`tools.packs`).
"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from assistant.cli.options import Home, Json, Workspace, opened
from tools.errors import SettingsError
from tools.wording import count, join

__all__ = ["memory"]

memory = typer.Typer(help="All that was taught, as one file: a pack.", no_args_is_help=True)


@memory.command("export")
def export_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The .zip file to write.")],
    replace: Annotated[bool, typer.Option(help="Write over a file that is there.")] = False,
    home: Home = None,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Write everything you taught into one file: labels, pictures, answers; nothing forgotten."""
    with opened(context.obj.over(home, None, workspace), as_json=as_json) as imprint:
        from assistant.cli.show import print_json
        from tools.packs import write_pack

        if file.exists() and not replace:
            raise SettingsError(f"{file} is there already: give another name, or --replace it.")
        state = write_pack(imprint.memory, file)
        found = {"file": str(file), "labels": len(state.labels), "pictures": len(state.owners)}
        if as_json:
            print_json(found)
        else:
            held = f"{count(len(state.labels), 'label')} and {count(len(state.owners), 'picture')}"
            print(f"{file}: {held}")


@memory.command("import")
def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A pack that was exported.")],
    home: Home = None,
    workspace: Workspace = None,
    as_json: Json = False,
) -> None:
    """Take a pack in beside what you taught; labels of one name become one; undo takes it back."""
    with opened(context.obj.over(home, None, workspace), as_json=as_json) as imprint:
        from assistant.cli.show import print_json
        from tools.packs import import_pack

        done = import_pack(imprint.memory, file)
        if as_json:
            print_json(asdict(done))
            return
        parts = [f"{count(done.pictures, 'new picture')}, {done.known} known already"]
        parts += [f"new: {join(done.new)}"] if done.new else []
        parts += [f"joined: {join(done.joined)}"] if done.joined else []
        print("; ".join(parts) + ".")
