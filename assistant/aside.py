"""Work in a thread of its own, whose pieces can be taken while it goes on.

Knows nothing of what the work is. The thread is a daemon's: work that hangs, as a server that
never answers does, keeps nobody who has let go of it.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

__all__ = ["Aside"]

P = TypeVar("P")
R = TypeVar("R")


class Aside(Generic[P, R]):
    """Starts ``work(put)`` at once; ``future`` is its result, or what it raised."""

    def __init__(self, work: Callable[[Callable[[P], None]], R], name: str) -> None:
        self.future: Future[R] = Future()
        self._queue: SimpleQueue[tuple[P] | None] = SimpleQueue()
        Thread(target=self._run, args=(work,), name=name, daemon=True).start()

    def pieces(self, beat: float | None = None) -> Iterator[P | None]:
        """What the work puts, as it comes, until it is done; None after ``beat`` s of silence."""
        while True:
            try:
                piece = self._queue.get(timeout=beat)
            except Empty:
                yield None
                continue
            if piece is None:
                return
            yield piece[0]

    def _run(self, work: Callable[[Callable[[P], None]], R]) -> None:
        try:
            self.future.set_result(work(lambda piece: self._queue.put((piece,))))
        except BaseException as exc:  # nothing is swallowed: the future raises it where it is read
            self.future.set_exception(exc)
        finally:
            self._queue.put(None)
