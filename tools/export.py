"""Taking what was taught along: all of it as one file, for the page to offer.

Knows nothing of what is in a pack (:mod:`tools.packs`), or of how it is sent.
"""

from pathlib import Path
from typing import Annotated

from langchain_core.tools import InjectedToolArg, tool

from tools.artifacts import Exported
from tools.desk import Desk
from tools.errors import ToolError
from tools.memory import Memory
from tools.packs import write_pack
from tools.wording import count

__all__ = ["export_memory", "exports"]


@tool(response_format="content_and_artifact")
def export_memory(*, desk: Annotated[Desk, InjectedToolArg]) -> tuple[str, Exported]:
    """Write all that was taught into one file that the user can keep: labels, pictures, answers."""
    state, folder = desk.memory.state, exports(desk.memory)
    if not state.labels and not state.answers:
        raise ToolError("There is nothing to export: nothing has been taught yet.")
    path = folder / f"memory-{desk.memory.events[-1].seq}.zip"
    if not path.exists():
        write_pack(desk.memory, path)
        for old in set(folder.glob("memory-*.zip")) - {path}:
            old.unlink(missing_ok=True)
    labels, pictures = len(state.labels), len(state.owners)
    text = (
        f"All you taught me is in one file: {count(labels, 'label')} and "
        f"{count(pictures, 'picture')}. In a terminal, `imprint memory export FILE.zip` writes it "
        "where you like, and `imprint memory import FILE.zip` takes it in."
    )
    return text, Exported(path.name, labels, pictures)


def exports(memory: Memory) -> Path:
    """Where the last pack of a workspace lies."""
    return memory.photos.folder.with_name("exports")
