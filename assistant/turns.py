"""A turn of a conversation: what came in, what happened, what was said. And the events meanwhile.

Knows nothing of brains, pages or disk.
"""

from dataclasses import dataclass, field
from typing import Any

from tools.artifacts import Answer, Artifact, Change, Recognition
from tools.desk import Focus

__all__ = [
    "Event",
    "Reply",
    "Step",
    "Token",
    "ToolCall",
    "ToolFinished",
    "ToolStarted",
    "Turn",
    "focus_of",
]


@dataclass(frozen=True)
class ToolCall:
    """One call of a tool: what the brain asked for, whether it worked, how long it took."""

    name: str
    args: dict[str, Any]
    ok: bool
    seconds: float
    asked: bool = False
    """It was not carried out: the user is asked first."""


@dataclass(frozen=True)
class Step:
    """A finished call with what it said and found."""

    call: ToolCall
    sentence: str
    artifacts: tuple[Artifact, ...] = ()


@dataclass(frozen=True)
class Turn:
    """One message and its reply. ``photos`` are numbers in the conversation (1 is the first)."""

    text: str
    photos: tuple[int, ...]
    reply: str = ""
    steps: tuple[Step, ...] = ()
    problems: tuple[str, ...] = ()
    """A sentence for each picture that could not be opened."""
    options: tuple[str, ...] = ()
    """Messages that the user may send next with one click."""
    at: str = ""
    stopped: bool = False
    changes: tuple[int, ...] = ()
    """Numbers of the memory journal's events that it made, or asks whether to take back."""


@dataclass(frozen=True)
class ToolStarted:
    """A tool is about to run; ``number`` counts the calls of the turn from 1."""

    number: int
    name: str
    args: dict[str, Any]


@dataclass(frozen=True)
class ToolFinished:
    """The tool of the same ``number`` is done."""

    number: int
    step: Step


@dataclass(frozen=True)
class Token:
    """A piece of text while it is being made; the reply has all of it."""

    text: str


@dataclass(frozen=True)
class Reply:
    """The end of a turn: the whole text, and everything that led to it."""

    text: str
    steps: tuple[Step, ...] = ()
    options: tuple[str, ...] = field(default=())
    problems: tuple[str, ...] = field(default=())

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The calls, in order."""
        return [s.call for s in self.steps]

    @property
    def artifacts(self) -> list[Artifact]:
        """What the tools found, in order."""
        return [a for s in self.steps for a in s.artifacts]


Event = ToolStarted | ToolFinished | Token | Reply


def focus_of(turns: list[Turn], album: list[str]) -> Focus:
    """What the conversation is about after ``turns``; ``album`` has the photo ids by number - 1."""
    photos: tuple[int, ...] = ()
    recognition: Recognition | None = None
    answer: Answer | None = None
    for turn in turns:
        if turn.photos:
            photos, recognition, answer = turn.photos, None, None
        for step in turn.steps:
            named = step.call.args.get("photos")
            if step.call.ok and isinstance(named, list) and named:
                photos = tuple(n for n in named if 1 <= n <= len(album))
            for artifact in step.artifacts:
                if isinstance(artifact, Recognition):
                    recognition, answer = artifact, None
                elif isinstance(artifact, Answer):
                    answer = artifact
                elif isinstance(artifact, Change) and artifact.action != "rejected":
                    # What was said of the photo is settled; a rejection still asks what it is.
                    recognition = recognition if artifact.action == "known" else None
    return Focus(photos, recognition, answer)
