"""A turn at work: a thread takes the events in, the page looks when it likes.

Knows nothing of gradio. So the page stays alive while a model thinks, asks twelve times a second
at most, and can let go of a turn at once; the turn then ends at its next event, as stopped.
"""

import logging
import secrets
from collections.abc import Callable, Iterator
from threading import Event as Signal
from threading import Lock, Thread

from assistant.turns import Event, Reply, Token, ToolFinished, ToolStarted
from assistant.ui.view import Progress
from tools.errors import ImprintError

__all__ = ["Busy", "Running", "incident"]

log = logging.getLogger(__name__)


class Running:
    """One turn, started at once. ``progress`` may be read from any thread."""

    def __init__(self, text: str, stream: Callable[[], Iterator[Event]]) -> None:
        self.progress = Progress(text)
        self.problem = ""
        """What went wrong outside any tool, in words; empty when nothing did."""
        self.done = Signal()
        self._stop = Signal()
        self._stream = stream
        Thread(target=self._work, name="turn", daemon=True).start()

    @property
    def stopping(self) -> bool:
        """Whether :meth:`stop` was called."""
        return self._stop.is_set()

    def stop(self) -> None:
        """End the turn at its next event."""
        self._stop.set()

    def _work(self) -> None:
        try:
            events = self._stream()
            for event in events:
                self._take(event)
                if self._stop.is_set() and not isinstance(event, Reply):
                    close = getattr(events, "close", None)
                    if close is not None:
                        close()
                    break
        except ImprintError as exc:
            self.problem = str(exc)
        except Exception as exc:  # the edge of the page: a turn may fail, the page may not
            self.problem = incident(exc)
        finally:
            self.done.set()

    def _take(self, event: Event) -> None:
        progress = self.progress
        match event:
            case ToolStarted():
                progress.running, progress.tokens = event, ""
            case ToolFinished(step=step):
                progress.steps, progress.running = [*progress.steps, step], None
                progress.tokens = ""  # the step has them; what follows is the answer
            case Token(text=text):
                progress.tokens += text


class Busy:
    """Which conversations have a turn at work: one at a time each."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._turns: dict[str, Running] = {}

    def start(self, name: str, make: Callable[[], Running]) -> Running | None:
        """The turn that ``make`` starts; None while another one works."""
        with self._lock:
            current = self._turns.get(name)
            if current is not None and not current.done.is_set():
                return None
            self._turns[name] = made = make()
            return made

    def stop(self, name: str) -> Running | None:
        """Stop the conversation's turn, if there is one; returns it."""
        with self._lock:
            current = self._turns.get(name)
        if current is not None:
            current.stop()
        return current


def incident(exc: BaseException) -> str:
    """Log a bug under a number and return the sentence that tells it."""
    number = secrets.token_hex(3)
    log.error("incident %s: the page failed", number, exc_info=exc)
    return (
        f"Something went wrong here (incident {number}; the log says what). "
        "What you taught is safe. Try again, or put it differently."
    )
