"""Tools on a desk of their own: one memory on disk, and photos as a conversation would lay them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from tools.artifacts import Answer, Artifact, Recognition
from tools.config import load_config
from tools.desk import Desk, Focus
from tools.images import open_photo
from tools.memory import Memory, MemoryHome
from tools.models import Models
from tools.recall import Recall
from tools.registry import call_tool
from tools.sight import Sight

__all__ = ["Workbench"]


class Workbench:
    """Calls tools on the memory of a home folder."""

    def __init__(self, home: Path, models: Models) -> None:
        self._house = MemoryHome(load_config(home=home))
        self.recall = Recall(Sight(models), self._house.workspace("default"))
        self.artifacts: list[Artifact] = []
        """What the last tool found."""

    @property
    def memory(self) -> Memory:
        """The memory that is worked on."""
        return self.recall.memory

    @property
    def counts(self) -> dict[str, int]:
        """Pictures by label."""
        state = self.memory.state
        return {x.name: len(state.of(x.id)) for x in state.labels.values()}

    def desk(
        self,
        pictures: Sequence[Image.Image | Path] = (),
        discussed: Sequence[Image.Image | Path] = (),
        recognition: Recognition | None = None,
        answer: Answer | None = None,
    ) -> Desk:
        """A desk with the message's pictures, and with those discussed before them."""
        album = [open_photo(p) for p in (*discussed, *pictures)]
        before = len(discussed)
        return Desk(
            self.recall,
            lambda n: album[n - 1],
            photo_count=len(album),
            turn_photos=tuple(range(before + 1, len(album) + 1)),
            focus=Focus(tuple(range(1, before + 1)), recognition, answer),
        )

    def call(self, tool: str, *pictures: Image.Image | Path, **args: Any) -> str:
        """The sentence of a tool that is called with a message's pictures."""
        return self.on(self.desk(pictures), tool, **args)

    def on(self, desk: Desk, tool: str, **args: Any) -> str:
        """The sentence of a tool that is called on a desk."""
        text, self.artifacts = call_tool(tool, args, desk)
        return text

    def close(self) -> None:
        """Close the memory; what was taught is on disk."""
        self._house.close()
