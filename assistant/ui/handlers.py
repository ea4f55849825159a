"""What happens when somebody does something on the page: from an event to what the page shows.

Knows nothing of layout: a :class:`Screen` is filled, the page lays it out. Of what a client
sends only text, files and indexes are used; the transcript is the server's. This is the edge: a
failure becomes a sentence, and a bug a sentence with the number it has in the log.
"""

import functools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

from assistant.build import Imprint
from assistant.conversation import Conversation
from assistant.turns import Event, Turn
from assistant.ui.cards import known_panel
from assistant.ui.environment import temp_folder
from assistant.ui.examples import EXAMPLES, Example, after, titled
from assistant.ui.pictures import LARGE, Pictures
from assistant.ui.running import Busy, Running, incident
from assistant.ui.view import View, chat_view, unplain
from assistant.ui.visitors import Visitor, Visitors
from assistant.ui.waking import Waking
from tools.errors import ImprintError
from tools.export import exports
from tools.images import Photo
from tools.knowledge import summaries

__all__ = ["Handlers", "Screen", "uploaded"]

log = logging.getLogger(__name__)
_FRAME = 1 / 12  # seconds between two updates of the page
_LET_GO = 3.0  # seconds a stopped turn may take to end before the page stops waiting for it
P = ParamSpec("P")


@dataclass(frozen=True)
class Screen:
    """What to show; None leaves a part as it is."""

    chat: View | None = None
    busy: bool | None = None
    """Whether a turn is at work (the box shows its stop button)."""
    draft: tuple[str, tuple[Path, ...]] | None = None
    """Text and pictures to put into the box."""
    sent: bool = False
    """The box and the camera were sent: empty them."""
    token: str | None = None
    known: str | None = None
    notice: str = ""
    """A passing remark."""


def _edge(
    handler: Callable[Concatenate["Handlers", P], Iterator[Screen]],
) -> Callable[Concatenate["Handlers", P], Iterator[Screen]]:
    """Turns what a handler raises into a screen that says it."""

    @functools.wraps(handler)
    def guarded(self: "Handlers", /, *args: P.args, **kwargs: P.kwargs) -> Iterator[Screen]:
        try:
            yield Screen()  # a generator without a value would empty the page's parts
            yield from handler(self, *args, **kwargs)
        except ImprintError as exc:
            yield Screen(notice=str(exc), busy=False)
        except Exception as exc:
            yield Screen(notice=incident(exc), busy=False)

    return guarded


class Handlers:
    """The events of one page. Nothing of a visitor is kept here but turns at work."""

    def __init__(self, imprint: Imprint, waking: Waking) -> None:
        self.visitors = Visitors(imprint)
        self._imprint = imprint
        self._waking = waking
        self._pictures = Pictures(temp_folder())
        self._busy = Busy()

    # --- events ---------------------------------------------------------------------------------

    @_edge
    def open(self, token: Any) -> Iterator[Screen]:
        """The page was loaded: show the conversation as it was left."""
        visitor = self.visitors.known(token)
        if visitor is None:
            visitor = self.visitors.new()
            if self._imprint.settings.public:
                # Nothing is made on disk for who only looks.
                yield Screen(token=visitor.token, known=known_panel([], lambda *_: ""), busy=False)
                return
        yield self._settled(visitor)

    @_edge
    def say(self, message: Any, camera: Any, token: Any) -> Iterator[Screen]:
        """The user sent text, files, or a picture of the camera."""
        message = message if isinstance(message, dict) else {}
        text = str(message.get("text") or "")
        files = [uploaded(f) for f in message.get("files") or []]
        files += [uploaded(camera)] if camera else []
        if not text.strip() and not files:
            yield Screen(notice="Type something, or add a picture.", busy=False)
            return
        yield from self._turn(self._visitor(token), text, files, sent=True)

    @_edge
    def example(self, index: Any, token: Any) -> Iterator[Screen]:
        """An example of the empty chat was clicked."""
        if isinstance(index, int) and 0 <= index < len(EXAMPLES):
            yield from self._show(EXAMPLES[index], token)

    @_edge
    def option(self, value: Any, token: Any) -> Iterator[Screen]:
        """A button under the last answer was clicked: its text is the next message."""
        text = unplain(str(value or ""))
        example = titled(text)
        if example is not None:
            yield from self._show(example, token)
        elif text.strip():
            yield from self._turn(self._visitor(token), text, [])

    @_edge
    def retry(self, index: Any, token: Any) -> Iterator[Screen]:
        """Say the message of that place again, with its pictures."""
        yield from self._again(index, None, token)

    @_edge
    def edit(self, index: Any, value: Any, token: Any) -> Iterator[Screen]:
        """Say the message of that place in other words, with its pictures."""
        yield from self._again(index, unplain(value if isinstance(value, str) else ""), token)

    @_edge
    def undo(self, index: Any, token: Any) -> Iterator[Screen]:
        """Take the message of that place back into the box."""
        visitor = self._visitor(token)
        talk = self.visitors.talk(visitor)
        place = self._view(talk).turn_at(index)
        if place is None or place >= len(talk.turns):
            return
        ids = [talk.photo_ids[n - 1] for n in talk.turns[place].photos]
        files = [self._pictures.file(i, LARGE, functools.partial(_find, talk)) for i in ids]
        turn = talk.rewind(place).turn
        draft = (turn.text, tuple(f for f in files if f))
        yield Screen(chat=self._view(talk), draft=draft if any(draft) else None)

    @_edge
    def clear(self, token: Any) -> Iterator[Screen]:
        """Start a new conversation; what was taught stays."""
        visitor = self._visitor(token)
        self._busy.stop(visitor.conversation)
        self.visitors.talk(visitor).clear()
        yield self._settled(visitor)

    @_edge
    def stop(self, token: Any) -> Iterator[Screen]:
        """Stop the turn at work; the handler that shows it notices."""
        visitor = self.visitors.known(token)
        running = self._busy.stop(visitor.conversation) if visitor else None
        if running is None:
            yield Screen(busy=False)

    # --- a turn ---------------------------------------------------------------------------------

    def _show(self, example: Example, token: Any) -> Iterator[Screen]:
        yield from self._turn(self._visitor(token), example.text, [example.path])

    def _again(self, index: Any, text: str | None, token: Any) -> Iterator[Screen]:
        visitor = self._visitor(token)
        talk = self.visitors.talk(visitor)
        place = self._view(talk).turn_at(index)
        if place is None or place >= len(talk.turns):
            return
        turn = talk.turns[place]
        if not turn.photos and not (turn.text if text is None else text).strip():
            yield Screen(notice="There is nothing in it to say again.", busy=False)
            return
        album = max((n for t in talk.turns[:place] for n in t.photos), default=0)
        yield from self._work(
            visitor, lambda: talk.again(place, text), text or turn.text, (place, album)
        )

    def _turn(
        self, visitor: Visitor, text: str, photos: Sequence[Any], *, sent: bool = False
    ) -> Iterator[Screen]:
        talk = self.visitors.talk(visitor)
        before = (len(talk.turns), len(talk.photo_ids))
        yield from self._work(visitor, lambda: talk.stream(text, photos), text, before, sent=sent)

    def _work(
        self,
        visitor: Visitor,
        stream: Callable[[], Iterator[Event]],
        text: str,
        before: tuple[int, int],
        *,
        sent: bool = False,
    ) -> Iterator[Screen]:
        """Shows a turn at work; ``before`` are the turns and photos that come before it."""
        talk = self.visitors.talk(visitor)
        running = self._busy.start(visitor.conversation, lambda: Running(text, stream))
        if running is None:
            yield Screen(notice="One moment: I am still busy with your last message.")
            return
        try:
            running.done.wait(0.03)  # the pictures are open by then, and most turns are done soon
            yield Screen(
                chat=self._view(talk, running, before), busy=True, sent=sent, token=visitor.token
            )
            pause = _FRAME
            while not running.done.wait(pause) and not running.stopping:
                started = time.perf_counter()
                yield Screen(chat=self._view(talk, running, before))
                # Each update carries the whole chat: a long one is sent less often.
                pause = max(_FRAME, 3 * (time.perf_counter() - started))
            running.done.wait(_LET_GO)
        finally:
            running.stop()  # the tab was closed, or all is done
        yield self._settled(visitor, running.problem)

    def _settled(self, visitor: Visitor, problem: str = "") -> Screen:
        """The page at rest."""
        talk = self.visitors.talk(visitor)
        picture = self._picture(talk)
        return Screen(
            chat=self._view(talk, problem=problem),
            busy=False,
            token=visitor.token,
            known=known_panel(summaries(talk.recall.memory), picture),
        )

    def _view(
        self,
        talk: Conversation,
        running: Running | None = None,
        before: tuple[int, int] = (0, 0),
        problem: str = "",
    ) -> View:
        album, turns = talk.photo_ids, talk.turns
        # Once the turn is in the transcript, it is shown from there.
        progress = running.progress if running and len(turns) == before[0] else None
        if progress is not None:
            progress.numbers = tuple(range(before[1] + 1, len(album) + 1))
            progress.waiting = self._waking.note
        return chat_view(
            turns,
            album,
            self._picture(talk),
            pack=lambda file: self._pictures.pack(exports(talk.recall.memory) / Path(file).name),
            progress=progress,
            problem=problem,
            suggestions=_suggestions(turns, album),
        )

    def _picture(self, talk: Conversation) -> Callable[[str, int], str]:
        find = functools.partial(_find, talk)
        return lambda photo_id, side: self._pictures.url(photo_id, side, find)

    def _visitor(self, token: Any) -> Visitor:
        return self.visitors.known(token) or self.visitors.new()


def uploaded(file: Any) -> Path:
    """The path of a file that was uploaded to this page, and of no other.

    Raises :class:`ImprintError` for an address or a path elsewhere.
    """
    path = file.get("path") if isinstance(file, dict) else file
    if isinstance(path, str | Path) and "://" not in str(path):
        resolved = Path(path).resolve()
        if resolved.is_relative_to(temp_folder()) and resolved.is_file():
            return resolved
    raise ImprintError("That file was not uploaded here: send the picture itself.")


def _find(talk: Conversation, photo_id: str) -> Photo:
    """A photo of the conversation or of its memory."""
    if photo_id in talk.photo_ids:
        return talk.photo(talk.photo_ids.index(photo_id) + 1)
    return talk.recall.memory.photos.get(photo_id)


def _suggestions(turns: Sequence[Turn], album: Sequence[str]) -> list[str]:
    if not turns or not turns[-1].photos:
        return []
    example = after(album[turns[-1].photos[-1] - 1])
    return [example.title] if example else []
