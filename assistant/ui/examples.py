"""Examples that are one click away: a short tour of teaching and asking, with shipped drawings.

Knows nothing of pages. After an example's turn the next one is offered, so that "teach it, ask
about another drawing of it" is a click each, on a restarted page too.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tools.images import open_photo

__all__ = ["EXAMPLES", "Example", "after", "titled"]

_FOLDER = Path(__file__).parent / "examples"


@dataclass(frozen=True)
class Example:
    """A message with a picture, and what its button says."""

    title: str
    text: str
    picture: str
    then: str = ""
    """The title of the example that follows it."""
    first: bool = True
    """Whether it is offered before anything was said."""

    @property
    def path(self) -> Path:
        """The picture."""
        return _FOLDER / self.picture


EXAMPLES = (
    Example(
        "Teach me a creature",
        "this is a zorb",
        "zorb-1.png",
        then="Ask about another drawing of it",
    ),
    Example(
        "Ask about another drawing of it",
        "what is this?",
        "zorb-2.png",
        then="Ask about something else",
    ),
    Example("Describe a picture", "describe this", "car.png", then="Teach me a creature"),
    Example(
        "Ask a question about a picture",
        "what color is it?",
        "leaf.png",
        then="Teach me a creature",
    ),
    Example("Ask about something else", "what is this?", "octopus.png", first=False),
)


def titled(title: str) -> Example | None:
    """The example whose button says ``title``."""
    return next((e for e in EXAMPLES if e.title == title), None)


def after(photo_id: str) -> Example | None:
    """The example to offer after a turn about this photo; None when it is not an example's."""
    shown = _by_photo().get(photo_id)
    return titled(shown.then) if shown and shown.then else None


@cache
def _by_photo() -> dict[str, Example]:
    return {open_photo(e.path).id: e for e in EXAMPLES}
