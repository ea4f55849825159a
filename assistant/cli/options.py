"""Options that every command takes, and how they open the assistant.

Knows nothing of the commands. An option may stand before or after the command's name.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tools.errors import ImprintError

if TYPE_CHECKING:
    from assistant.build import Imprint

__all__ = [
    "Answerer",
    "BrainOption",
    "Captioner",
    "Common",
    "EmbedderOption",
    "Home",
    "Json",
    "Profile",
    "Quantize",
    "Workspace",
    "opened",
]

_PANEL = "Common options"
Home = Annotated[
    Path | None,
    typer.Option("--home", help="Folder of everything Imprint keeps.", rich_help_panel=_PANEL),
]
Profile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        help="Which models run: pocket, small, full or auto.",
        rich_help_panel=_PANEL,
    ),
]
Workspace = Annotated[
    str | None,
    typer.Option("--workspace", help="Whose memory (a–z, 0–9, '-').", rich_help_panel=_PANEL),
]
BrainOption = Annotated[
    str | None,
    typer.Option(
        "--brain",
        help="Who decides: router, openai:MODEL[@BASE_URL] or local:MODEL_ID; "
        "#text at the end sends it no pictures.",
        rich_help_panel=_PANEL,
    ),
]
EmbedderOption = Annotated[
    str | None,
    typer.Option(
        "--embedder",
        help="Hub id or folder of another embedder; A+B adds one that only sees.",
    ),
]
Captioner = Annotated[
    str | None,
    typer.Option("--captioner", help="Hub id or folder of another captioner."),
]
Answerer = Annotated[
    str | None,
    typer.Option("--answerer", help="Hub id or folder of another answerer."),
]
Quantize = Annotated[
    bool | None,
    typer.Option("--quantize/--no-quantize", help="Load the answerer in 4-bit NF4."),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print JSON, for programs.", rich_help_panel=_PANEL)
]


@dataclass(frozen=True)
class Common:
    """What the common options say."""

    home: Path | None = None
    profile: str | None = None
    workspace: str | None = None
    embedder: str | None = None
    captioner: str | None = None
    answerer: str | None = None
    quantize: bool | None = None
    brain: str | None = None

    def over(
        self,
        home: Path | None,
        profile: str | None,
        workspace: str | None,
        brain: str | None = None,
    ) -> "Common":
        """These with a command's own options over them."""
        return replace(
            self,
            home=home or self.home,
            profile=profile or self.profile,
            workspace=workspace or self.workspace,
            brain=brain or self.brain,
        )


@contextmanager
def opened(common: Common, *, as_json: bool) -> Iterator["Imprint"]:
    """The assistant for one command; an expected failure becomes a sentence and exit code 1."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    logging.getLogger("tools.survey").setLevel(logging.INFO)  # it takes long, so it says so
    try:
        from assistant.build import open_assistant

        with open_assistant(
            common.home,
            common.profile,
            common.workspace,
            common.brain,
            embedder=common.embedder,
            captioner=common.captioner,
            answerer=common.answerer,
            quantize=common.quantize,
        ) as imprint:
            yield imprint
    except ImprintError as exc:
        if as_json:
            import json

            print(json.dumps({"error": str(exc), "kind": type(exc).__name__}))
        else:
            print(f"imprint: {exc}", file=sys.stderr)
        raise typer.Exit(1) from exc
