"""What the router decides with and what it decides: context in, actions out.

Knows nothing of words.
"""

from dataclasses import dataclass
from typing import Any

from tools.artifacts import Change, Recognition
from tools.training import Training

__all__ = ["Action", "Context"]


@dataclass(frozen=True)
class Context:
    """What the router knows beside the words of the message."""

    labels: tuple[str, ...] = ()
    turn_photos: tuple[int, ...] = ()
    photo_count: int = 0
    asked: bool = False
    """The last reply asked what something is, or which of two."""
    recognised: Recognition | None = None
    """The recognition that is still open for agreement or contradiction."""
    open_photos: tuple[int, ...] = ()
    """Of several photos asked about at once, those whose name is still asked for."""
    doubt: Change | None = None
    """What was taught when the last reply asked whether it is the same thing or a new one."""
    changed: Change | None = None
    """The last change of memory, when the last reply told it."""
    wiping: bool = False
    """The last reply asked whether really to forget everything."""
    answered: str = ""
    """The question about a picture that the last reply answered."""
    training: Training | None = None
    """The training that the last reply was about."""
    offered: str = ""
    """The message that the last reply asked about, "is that what you want?"."""
    shown: tuple[int, ...] = ()
    """The photos of the last message before this one that had any, or of this one."""
    fresh: bool = True
    """Whether a photo is spoken of: in this message or in the one before."""
    language: str = "en"
    """The language of what was said before."""


@dataclass(frozen=True)
class Action:
    """A tool to call, or (without a tool) something to say."""

    tool: str = ""
    args: dict[str, Any] | None = None
    text: str = ""
    options: tuple[str, ...] = ()
    """Messages that the user may send next with one click."""
    naming: bool = False
    """Of a teaching: whether its words give a name, and not only the kind of thing."""
    language: str = "en"
