"""The answerer's adapter: noticed on the shelf, checked, put on the answerer, taken off again.

The weights stand beside the answerer's own and act only while :meth:`Adapters.answer` asks; the
answerer itself answers as before. Knows nothing of training, and nothing of what was taught.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Event, RLock
from typing import Any, Protocol, cast

from tools.errors import ImprintError, TrainingFailed
from tools.images import Photo
from tools.models.adapting import Loaded, load_adapter
from tools.models.roles import Answerer
from tools.models.watching import News, mark_of
from tools.shelf import Adapter, activate, active_adapter, deactivate, open_adapter

__all__ = ["Adapters"]

_ROLE = "answerer"


class _Adaptable(Answerer, Protocol):
    """An answerer whose weights can be changed (:class:`tools.models.answerer`)."""

    precision: str

    def alone(self) -> AbstractContextManager[Any]: ...

    def answer(
        self,
        photo: Photo,
        question: str,
        *,
        on_token: Callable[[str], None] | None = None,
        stop: Event | None = None,
        changed: AbstractContextManager[None] | None = None,
    ) -> str: ...


class Adapters:
    """Which adapter is in use. Thread-safe; shared by all who use the answerer."""

    def __init__(
        self, shelf: Path | None, answerer: Callable[[], Answerer], news: News | None = None
    ) -> None:
        """``news``: what changed with the other roles, told by :meth:`news` too."""
        self._shelf = shelf
        self._answerer = answerer
        self._told = news or News()
        self._lock = RLock()
        self._seen: object = None
        self._loaded: Loaded | None = None

    def current(self) -> Adapter | None:
        """The adapter in use. A new ``active.json`` is noticed, checked and followed here.

        What can't be used is told by :meth:`news`, and what was in use stays.
        """
        mark = mark_of(self._shelf)
        if mark != self._seen:
            with self._lock:
                if mark != self._seen:
                    self._seen = mark
                    self._follow()
        loaded = self._loaded
        return None if loaded is None else loaded.adapter

    def news(self) -> str:
        """What has changed since this was last asked, in a sentence; mostly nothing."""
        return self._told.take()

    def use(self, name: str) -> Adapter:
        """Put an adapter of the shelf to use, now and after a restart.

        Raises :class:`TrainingFailed` that says why it can't be; then nothing has changed.
        """
        with self._lock:
            shelf = self._there()
            self._put(open_adapter(shelf, name, _ROLE))
            activate(shelf, name)
            self._seen = mark_of(self._shelf)
            self._told.note(_ROLE, "")
            assert self._loaded is not None
            return self._loaded.adapter

    def stop(self) -> str | None:
        """Use no adapter from now on; returns the name of the one that was in use."""
        if self._shelf is None:
            return None
        with self._lock:
            before = self.current()
            deactivate(self._shelf)
            self._take_off()
            self._seen = mark_of(self._shelf)
            self._told.note(_ROLE, "")
            return None if before is None else before.name

    def answer(
        self,
        adapter: Adapter,
        photo: Photo,
        question: str,
        *,
        on_token: Callable[[str], None] | None = None,
        stop: Event | None = None,
    ) -> str:
        """The answer's text with ``adapter``; without it, where another one is in use by now."""
        model = cast(_Adaptable, self._answerer())
        on = self._on(adapter)
        return model.answer(photo, question, on_token=on_token, stop=stop, changed=on)

    @contextmanager
    def _on(self, adapter: Adapter) -> Iterator[None]:
        # Entered under the answerer's lock, where adapters change places too.
        loaded = self._loaded
        if loaded is None or loaded.adapter is not adapter:
            yield
            return
        with loaded.on():
            yield

    def _follow(self) -> None:
        before = self._loaded.adapter.name if self._loaded is not None else None
        try:
            name = active_adapter(self._there())
            if name is None:
                self._take_off()
                self._told.note(_ROLE, f"I no longer use the adapter {before}." if before else "")
                return
            adapter = open_adapter(self._there(), name, _ROLE)
            if self._loaded is not None and vars(self._loaded.adapter) == vars(adapter):
                return  # it was another role's that changed
            self._put(adapter)
            self._told.note(_ROLE, f"I now use the adapter {name}.")
        except ImprintError as problem:
            kept = f"I go on with {before}" if before else "I go on without one"
            self._told.note(
                _ROLE, f"I can't use the adapter that is set to be used: {problem} {kept}."
            )

    def _there(self) -> Path:
        if self._shelf is None:
            raise TrainingFailed("There is no shelf of adapters here: open Imprint with a home.")
        return self._shelf

    def _put(self, adapter: Adapter) -> None:
        """Replace the adapter in use. Raises what is wrong with the new one; then the old stays."""
        answerer = self._answerer()
        _check_base(adapter, answerer)
        old = self._loaded
        with cast(_Adaptable, answerer).alone() as model:
            if old is not None:
                old.remove()
            try:
                self._loaded = load_adapter(model, adapter)
            except TrainingFailed:
                self._loaded = None
                if old is not None:
                    self._loaded = load_adapter(model, old.adapter)
                raise

    def _take_off(self) -> None:
        if self._loaded is not None:
            with cast(_Adaptable, self._answerer()).alone():
                self._loaded.remove()
                self._loaded = None


def _check_base(adapter: Adapter, answerer: Answerer) -> None:
    if adapter.base_id != answerer.id:
        raise TrainingFailed(
            f"The adapter {adapter.name} was trained on {adapter.base_model} ({adapter.base_id}), "
            f"and the answerer that runs is {answerer.id}: start Imprint with that model, or train "
            "again with this one."
        )
    running = cast(_Adaptable, answerer).precision
    if adapter.precision != running:
        raise TrainingFailed(
            f"The adapter {adapter.name} was trained on weights in {adapter.precision}, and those "
            f"of the answerer that runs are in {running}: start Imprint as it was then "
            "(--quantize for nf4), or train again."
        )
