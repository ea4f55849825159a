"""`oneshot`: learn a thing from one picture and recognise it, in the memory the chat uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from finetune.cli import options as o
from finetune.cli.show import show_json, worded

oneshot = typer.Typer(
    help="Learn from one picture, without training; the chat knows it too.", no_args_is_help=True
)
Workspace = Annotated[str | None, typer.Option(help="Whose memory.")]
Embedder = Annotated[str | None, typer.Option(help="The embedder; the profile's if not given.")]


@contextmanager
def _memory(home: Path | None, workspace: str | None, embedder: str | None) -> Iterator[Any]:
    from tools.config import load_config
    from tools.memory import MemoryHome
    from tools.models import open_models
    from tools.recall import Recall
    from tools.sight import Sight

    config = load_config(home=home, workspace=workspace, embedder=embedder)
    opened = MemoryHome(config)
    try:
        sight = Sight(open_models(config), config.cache_folder)
        yield Recall(sight, opened.workspace(config.workspace))
    finally:
        opened.close()


@oneshot.command()
def learn(
    label: Annotated[str, typer.Argument(help="What it is called.")],
    pictures: Annotated[list[Path], typer.Argument(help="One picture, or several.")],
    home: o.Home = None,
    workspace: Workspace = None,
    as_json: o.Json = False,
) -> None:
    """Teach a label from one picture or more."""
    from tools.images import open_photo

    with worded(), _memory(home, workspace, None) as recall:
        taught = recall.memory.teach(label, [open_photo(path) for path in pictures])
        moved = [other.name for other in taught.moved_from]
        found = {"label": taught.label.name, "added": len(taught.added), "moved_from": moved}
        if as_json:
            show_json({**found, "known": len(taught.known)})
        else:
            typer.echo(f"{found['label']}: {found['added']} new, {len(taught.known)} known.")


@oneshot.command()
def classify(
    picture: Annotated[Path, typer.Argument(help="The picture.")],
    home: o.Home = None,
    workspace: Workspace = None,
    embedder: Embedder = None,
    as_json: o.Json = False,
) -> None:
    """Recognise a picture by what was taught; unknown is an answer too."""
    from tools.images import open_photo

    with worded(), _memory(home, workspace, embedder) as recall:
        seen = recall.recognise(open_photo(picture))
        ranked = [
            {"label": c.name, "probability": round(c.probability, 4)} for c in seen.candidates
        ]
        if as_json:
            show_json(
                {"decision": seen.decision, "unknown": round(seen.unknown, 4), "labels": ranked}
            )
            return
        best = f", most like {ranked[0]['label']} ({ranked[0]['probability']:.0%})"
        typer.echo(f"{seen.decision}{best if ranked else ''}")


@oneshot.command("list-examples")
def list_examples(
    home: o.Home = None, workspace: Workspace = None, as_json: o.Json = False
) -> None:
    """Every label and its pictures."""
    with worded(), _memory(home, workspace, None) as recall:
        state, photos = recall.memory.state, recall.memory.photos
        found = {
            label.name: [str(photos.path(e.photo_id)) for e in state.of(label.id)]
            for label in state.labels.values()
        }
        if as_json:
            show_json(found)
            return
        for name, paths in found.items():
            typer.echo(f"{name}: {len(paths)}")
            for path in paths:
                typer.echo(f"  {path}")
