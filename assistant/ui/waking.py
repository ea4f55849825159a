"""Models that load while the page is up already.

Knows nothing of pages. The first question waits for them inside its tool; the page says so.
"""

import logging
import time
from collections.abc import Callable
from threading import Event, Thread

from tools.errors import ImprintError

__all__ = ["Waking"]

log = logging.getLogger(__name__)


class Waking:
    """Calls ``warm_up`` in the background, once.

    ``doing`` says what takes long just now, in words, or nothing.
    """

    def __init__(self, warm_up: Callable[[], None], doing: Callable[[], str] = str) -> None:
        self._warm_up = warm_up
        self._doing = doing
        self.done = Event()

    @classmethod
    def awake(cls, doing: Callable[[], str] = str) -> "Waking":
        """Nothing to wait for: models load when they are first used."""
        made = cls(lambda: None, doing)
        made.done.set()
        return made

    def start(self) -> None:
        """Begin."""
        Thread(target=self._work, name="warm-up", daemon=True).start()

    @property
    def note(self) -> str:
        """What a question waits for meanwhile, in words; empty when it does not."""
        doing = self._doing()
        if doing:
            return doing
        return "" if self.done.is_set() else "Waking up: the models are loading"

    def _work(self) -> None:
        started = time.perf_counter()
        try:
            self._warm_up()
            log.info("models ready after %.1f s", time.perf_counter() - started)
        except ImprintError as exc:
            log.warning("%s", exc)  # said again, in the chat, by the tool that needs the model
        except Exception:  # the edge: without warm models the page still works or says why not
            log.exception("the models could not be warmed up")
        finally:
            self.done.set()
