"""``imprint background``: the running embedder measured with pictures of one's own.

Knows nothing of how that is done (:mod:`tools.survey`).
"""

from pathlib import Path
from typing import Annotated

import typer

from assistant.cli.options import Home, Json, Profile, opened
from tools.errors import SettingsError

__all__ = ["background"]


def background(
    context: typer.Context,
    folder: Annotated[
        Path | None, typer.Argument(help="A folder with a folder of pictures per thing.")
    ] = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="Forget what was measured with your pictures.")
    ] = False,
    home: Home = None,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Measure the embedder with your own pictures, so that it knows what differs among them."""
    with opened(context.obj.over(home, profile, None), as_json=as_json) as imprint:
        if reset is (folder is not None):
            raise SettingsError("Give a folder of pictures to measure with, or --reset, not both.")
        from dataclasses import asdict

        from assistant.cli.show import print_json, show_surveyed

        sight = imprint.sight
        if folder is not None:
            done = sight.survey.learn(sight.embedder, sight.words, folder)
            if as_json:
                print_json(asdict(done))
            else:
                show_surveyed(done)
            return
        removed = sight.survey.forget(sight.embedder)
        if as_json:
            print_json({"embedder": sight.embedder.id, "removed": removed})
        else:
            what = "is forgotten" if removed else "was nothing, so nothing changes"
            print(f"What was measured of {sight.embedder.id} {what}.")
