"""One conversation: messages in, events or a reply out, a transcript that remembers.

Knows nothing of pages or terminals. Turns of one conversation run one after another; different
conversations share nothing but the memory of their workspace.
"""

from collections.abc import Iterator, Sequence
from threading import Lock
from typing import Any

from langchain_core.language_models import BaseChatModel

from assistant.agent import respond
from assistant.brains import Brain
from assistant.history import Transcript, now
from assistant.settings import Settings
from assistant.thread import messages_for
from assistant.turns import Event, Reply, Step, ToolFinished, Turn, focus_of
from tools.desk import Desk, Focus
from tools.errors import PhotoError
from tools.images import Photo, open_photo
from tools.recall import Recall

__all__ = ["Conversation"]


class Conversation:
    """A chat with Imprint. Made by :meth:`assistant.build.Imprint.conversation`."""

    def __init__(
        self,
        conversation_id: str,
        recall: Recall,
        transcript: Transcript,
        brain: Brain | None,
        router: BaseChatModel,
        settings: Settings,
    ) -> None:
        self.id = conversation_id
        self._recall = recall
        self._transcript = transcript
        self._brain = brain
        self._router = router
        self._settings = settings
        self._lock = Lock()

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The finished turns, oldest first."""
        return tuple(self._transcript.turns)

    @property
    def photo_count(self) -> int:
        """How many photos the conversation has; they are numbered from 1."""
        return len(self._transcript.album)

    @property
    def photo_ids(self) -> tuple[str, ...]:
        """The ids of the conversation's photos, by number - 1."""
        return tuple(self._transcript.album)

    @property
    def recall(self) -> Recall:
        """The workspace's memory and recognizer."""
        return self._recall

    def photo(self, number: int) -> Photo:
        """The photo of that number."""
        return self._transcript.photo(number)

    def send(self, text: str = "", photos: Sequence[Any] = ()) -> Reply:
        """Say something, show something, or both; returns the reply.

        ``photos`` are paths, bytes, PIL images, ``data:`` URIs or http(s) URLs. A picture that
        cannot be opened gets a sentence in the reply; the rest of the message goes on.
        """
        reply = None
        for event in self.stream(text, photos):
            reply = event
        assert isinstance(reply, Reply)
        return reply

    def stream(self, text: str = "", photos: Sequence[Any] = ()) -> Iterator[Event]:
        """Like :meth:`send`, yielding what happens meanwhile; the last event is the reply.

        Closing the iterator stops the turn; what was done until then is kept in the transcript.
        """
        with self._lock:
            yield from self._turn(str(text or ""), photos)

    def rewind(self, index: int) -> Turn:
        """Take back the turn of that index (0 is the first) and all after it; returns it.

        What was taught in them stays taught: memory has an undo of its own.
        """
        with self._lock:
            return self._transcript.rewind(index)

    def clear(self) -> None:
        """Forget the conversation, not what was taught in it."""
        with self._lock:
            self._transcript.clear()

    def _turn(self, text: str, sources: Sequence[Any]) -> Iterator[Event]:
        text = text.replace("\x00", "").strip()
        opened, problems = self._open(sources)
        if len(text) > self._settings.max_text:
            problems.append(
                f"That message is too long ({len(text):,} characters): "
                f"say it in at most {self._settings.max_text:,}."
            )
            yield self._end(
                Turn(text[: self._settings.max_text], (), at=now()), Reply(""), problems
            )
            return
        memory = self._recall.memory
        memory.refresh()
        numbers = self._transcript.add_photos(opened)
        turn = Turn(text, numbers, problems=tuple(problems), at=now())
        if problems and not numbers and not text:
            yield self._end(turn, Reply(""), problems)
            return
        desk = Desk(
            recall=self._recall,
            album=self._transcript.photo,
            photo_count=len(self._transcript.album),
            turn_photos=numbers,
            photos_failed=bool(problems),
            focus=self._focus(),
        )
        labels = list(memory.state.names)
        events = respond(
            self._brain,
            messages_for(self._transcript.turns, turn, labels),
            desk,
            router=self._router,
            max_calls=self._settings.max_calls,
        )
        steps: list[Step] = []
        finished = False
        try:
            for event in events:
                if isinstance(event, ToolFinished):
                    steps.append(event.step)
                if isinstance(event, Reply):
                    finished = True
                    event = self._end(turn, event, problems)
                yield event
        finally:
            if not finished:
                self._transcript.append(_stopped(turn, steps))

    def _open(self, sources: Sequence[Any]) -> tuple[list[Photo], list[str]]:
        limit = self._settings.max_photos
        opened, problems = [], []
        for source in list(sources)[:limit]:
            try:
                opened.append(open_photo(source))
            except PhotoError as exc:
                problems.append(str(exc))
        if len(sources) > limit:
            problems.append(
                f"That was {len(sources)} pictures, and I look at {limit} in one message: "
                "send the others in the next."
            )
        return opened, problems

    def _focus(self) -> Focus:
        return focus_of(self._transcript.turns, self._transcript.album)

    def _end(self, turn: Turn, reply: Reply, problems: Sequence[str]) -> Reply:
        text = "\n".join([*problems, reply.text] if reply.text else problems)
        done = Turn(
            turn.text,
            turn.photos,
            reply=text,
            steps=reply.steps,
            problems=tuple(problems),
            options=reply.options,
            at=turn.at,
        )
        self._transcript.append(done)
        return Reply(text, reply.steps, reply.options, tuple(problems))


def _stopped(turn: Turn, steps: Sequence[Step]) -> Turn:
    text = "\n".join(s.sentence for s in steps if s.sentence)
    return Turn(turn.text, turn.photos, reply=text, steps=tuple(steps), at=turn.at, stopped=True)
