"""What a tool works on: the models, the memory, and the photos of one conversation.

The agent lays a desk out for each turn and injects it; a model can name none of it but photo
numbers. Knows nothing of languages, messages or pages.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING, Any, Protocol

from pydantic_core import CoreSchema, core_schema

from tools.artifacts import Answer, Recognition
from tools.errors import BadCall, NoPhoto
from tools.images import Photo
from tools.training import Training

if TYPE_CHECKING:
    from tools.memory import Memory
    from tools.recall import Recall
    from tools.sight import Sight, SightModels

__all__ = ["Desk", "Focus", "Jobs"]


class Jobs(Protocol):
    """Trainings in the background, at most one of a workspace at a time."""

    def start(self, workspace: str, labels: Mapping[str, int], method: str | None) -> Training:
        """Train on these labels (name → pictures). Raises :class:`ToolError` when it can't."""

    def status(self, workspace: str) -> Training | None:
        """The last training of the workspace; None when there was none."""

    def cancel(self, workspace: str, stop: Event) -> Training | None:
        """End the training, gently first; ``stop`` ends the waiting for it."""

    def publish(self, run: str) -> None:
        """Put the result of a run on the shelf. Raises :class:`ToolError` when it can't."""


@dataclass(frozen=True)
class Focus:
    """What the conversation was about last: the photos, and what was said of one."""

    photos: tuple[int, ...] = ()
    """Numbers of the photos discussed last."""
    recognition: Recognition | None = None
    answer: Answer | None = None
    """The last answer to a question, when it came after the recognition."""


@dataclass
class Desk:
    """Everything a tool may use in one turn. Not shared between conversations."""

    recall: "Recall"
    album: Callable[[int], Photo]
    """The conversation's photo of a number (1 is the first)."""
    photo_count: int = 0
    turn_photos: tuple[int, ...] = ()
    """Numbers of the photos that came with this message."""
    photos_failed: bool = False
    """A picture of this message could not be opened: no other one may stand in for it."""
    focus: Focus = field(default_factory=Focus)
    on_token: Callable[[str], None] | None = None
    """Gets the text of captions and answers while it is made."""
    changes: list[int] = field(default_factory=list)
    """Numbers of the journal's events that came of the turn so far."""
    jobs: Jobs | None = None
    """Trains in the background; None where that is switched off."""
    stop: Event = field(default_factory=Event)
    """Set when the user wants no more of this turn."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> CoreSchema:
        """To the schema of a tool a desk is a desk: what is on it is of no concern to pydantic."""
        return core_schema.is_instance_schema(cls)

    @property
    def memory(self) -> "Memory":
        """The workspace's memory."""
        return self.recall.memory

    @property
    def sight(self) -> "Sight":
        """The embedder and what belongs to it."""
        return self.recall.sight

    @property
    def models(self) -> "SightModels":
        """The models that run."""
        return self.recall.sight.models

    def look(self, photos: Sequence[int] | None = None, least: int = 1) -> list[Photo]:
        """The photos of these numbers; by default this message's, else those discussed last.

        Raises :class:`NoPhoto` when fewer than ``least`` are found, :class:`BadCall` for a number
        that no photo has.
        """
        numbers = self.numbers(photos, least)
        return [self.album(n) for n in numbers]

    def numbers(self, photos: Sequence[int] | None = None, least: int = 1) -> list[int]:
        """The numbers :meth:`look` resolves to."""
        if photos:
            for n in photos:
                if not 1 <= n <= self.photo_count:
                    have = (
                        f"there are {self.photo_count}"
                        if self.photo_count
                        else "there are none yet"
                    )
                    raise BadCall(f"There is no photo {n} in this conversation: {have}.")
            chosen = list(dict.fromkeys(photos))
        else:
            chosen = list(self.turn_photos)
        if not chosen and not self.photos_failed:
            chosen = list(self.focus.photos)
        # Fewer than a tool needs: this message's others, then earlier ones, newest last.
        rest = [n for n in range(self.photo_count, 0, -1) if n not in chosen]
        rest.sort(key=lambda n: n not in self.turn_photos)
        while len(chosen) < least and rest and not self.photos_failed:
            chosen.insert(0, rest.pop(0))
        if len(chosen) < least:
            what = "a picture" if least == 1 else f"{least} pictures"
            raise NoPhoto(f"I need {what} for that: send {'one' if least == 1 else 'them'} first.")
        return chosen
