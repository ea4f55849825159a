"""One conversation: messages in, events or a reply out, a transcript that remembers.

Knows nothing of pages or terminals. Turns of one conversation run one after another; different
conversations share nothing but the memory of their workspace.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

from langchain_core.language_models import BaseChatModel

from assistant.agent import respond
from assistant.brains import Brain
from assistant.buttons import agreeing
from assistant.history import Transcript, now
from assistant.router.language import language, spoken
from assistant.settings import Settings
from assistant.thread import messages_for
from assistant.turns import Event, Reply, Step, ToolCall, ToolFinished, Turn, focus_of
from tools.desk import Desk, Focus, Jobs
from tools.errors import PhotoError, ToolError
from tools.images import Photo, open_photo
from tools.memory import Event as MemoryEvent
from tools.memory import Retraction, retraction
from tools.recall import Recall
from tools.undo import changed, kept, retracted

__all__ = ["Conversation", "Rewound"]


@dataclass(frozen=True)
class Rewound:
    """A message that was taken back."""

    turn: Turn
    offer: Turn | None
    """Our question whether to undo what it and those after it changed in memory, if they did."""


class Conversation:
    """A chat with Imprint. Made by :meth:`assistant.build.Imprint.conversation`."""

    def __init__(
        self,
        conversation_id: str,
        recalled: Callable[[], Recall],
        transcript: Transcript,
        brain: Brain | None,
        router: BaseChatModel,
        settings: Settings,
        jobs: Jobs | None = None,
    ) -> None:
        self.id = conversation_id
        self._recalled = recalled
        self._recall = recalled()
        self._transcript = transcript
        self._brain = brain
        self._router = router
        self._settings = settings
        self._jobs = jobs
        self._lock = Lock()

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The finished turns, oldest first."""
        return tuple(self._transcript.turns)

    @property
    def last_said(self) -> int:
        """The index of the last turn in which the user said or showed something."""
        for index, turn in reversed(list(enumerate(self._transcript.turns))):
            if turn.text or turn.photos:
                return index
        raise ToolError("Nothing has been said in this conversation yet.")

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
        """The workspace's memory and recognizer, as of the last turn."""
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

    def rewind(self, index: int) -> Rewound:
        """Take back the turn of that index (0 is the first) and all after it.

        What they changed in memory stays until the user says so: the next turn is a question of
        ours, and "yes" undoes exactly that.
        """
        with self._lock:
            memory = self._recall.memory
            memory.refresh()
            code = spoken([t.text for t in self._transcript.turns])
            dropped = self._transcript.rewind(index)
            found = retraction(memory.events, _changes_of(dropped))
            offer = _offer(found, memory.events, code)
            if offer is not None:
                self._transcript.append(offer)
            return Rewound(dropped[0], offer)

    def again(self, index: int, text: str | None = None) -> Iterator[Event]:
        """Say the message of that index once more, with its pictures; ``text``: in other words.

        It and all after it are taken back first, and what it changed in memory is undone, with
        what the later ones built on that. What else they changed stays, and is told.
        """
        with self._lock:
            turn, *after = self._transcript.turns[index:]
            text = turn.text if text is None else text
            if problem := self._too_long(text):
                raise ToolError(problem)  # nothing is taken back for it
            photos = [self._transcript.photo(n) for n in turn.photos]
            memory = self._recall.memory
            memory.refresh()
            events, later = memory.events, _changes_of(after)
            found = memory.retract(turn.changes, along=later)
            self._transcript.rewind(index)
            notes = [retracted(found, events)]
            if text == turn.text and set(found.seqs) <= set(turn.changes):
                notes = [kept(found, events)]  # the same is done again
            if still := retraction(memory.events, set(later) - set(found.seqs)):
                what = changed(still.changes, events)
                notes.append(f"I keep what the messages after it taught me: {what}.")
            yield from self._turn(text, photos, [n for n in notes if n])

    def clear(self) -> None:
        """Forget the conversation, not what was taught in it."""
        with self._lock:
            self._transcript.clear()

    def _turn(
        self, text: str, sources: Sequence[Any], notes: Sequence[str] = ()
    ) -> Iterator[Event]:
        """One turn; ``notes`` are said before its reply."""
        text = text.replace("\x00", "").strip()
        opened, problems = self._open(sources)
        if problem := self._too_long(text):
            turn = Turn(text[: self._settings.max_text], (), at=now())
            yield self._end(turn, Reply(""), [*problems, problem])
            return
        self._recall = self._recalled()  # another embedder may run by now: not within a turn
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
            jobs=self._jobs,
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
                    turn = replace(turn, changes=tuple(desk.changes))
                    event = self._end(turn, event, problems, notes)
                yield event
        finally:
            if not finished:
                turn = replace(turn, changes=tuple(desk.changes))
                self._transcript.append(_stopped(turn, [*notes], steps))

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

    def _too_long(self, text: str) -> str:
        """What is wrong with a text of this length; empty when nothing is."""
        most = self._settings.max_text
        if len(text) <= most:
            return ""
        return f"That message is too long ({len(text):,} characters): say it in at most {most:,}."

    def _end(
        self, turn: Turn, reply: Reply, problems: Sequence[str], notes: Sequence[str] = ()
    ) -> Reply:
        text = "\n".join(x for x in (*notes, *problems, reply.text) if x)
        done = replace(
            turn, reply=text, steps=reply.steps, problems=tuple(problems), options=reply.options
        )
        self._transcript.append(done)
        return replace(reply, text=text, problems=tuple(problems))


def _stopped(turn: Turn, notes: Sequence[str], steps: Sequence[Step]) -> Turn:
    text = "\n".join(x for x in (*notes, *(s.sentence for s in steps)) if x)
    return replace(turn, reply=text, steps=tuple(steps), stopped=True)


def _changes_of(turns: Sequence[Turn]) -> list[int]:
    return [seq for turn in turns for seq in turn.changes]


def _offer(found: Retraction, events: Sequence[MemoryEvent], code: str) -> Turn | None:
    """Our question whether to undo what the messages taken back changed; None when nothing."""
    what = changed(found.changes, events)
    tongue = language(code)
    asks = tongue.said("still_counts", changes=what) if found else ""
    text = " ".join(x for x in (asks, kept(found, events)) if x)
    offer = Turn("", (), text, at=now(), changes=found.seqs)
    if found:
        call = ToolCall("undo", {"changes": list(found.seqs)}, ok=False, seconds=0.0, asked=True)
        offer = replace(offer, steps=(Step(call, ""),), options=agreeing(tongue))
    return offer if text else None
