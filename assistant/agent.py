"""The agent: a brain decides, tools act, events tell. One function, no state of its own.

Knows nothing of pages, terminals, disk or particular models. The router decides, or a language
model with the router behind it: what the model may change is for :mod:`assistant.consent` to
say, and when it fails the router takes the turn over, with what was done already.
"""

import logging
import secrets
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    InvalidToolCall,
    ToolMessage,
)
from langchain_core.messages import ToolCall as Call

from assistant.aside import Aside
from assistant.brains.asking import ask
from assistant.brains.choosing import Brain
from assistant.brains.prompting import OWN_RULES, prompt_for
from assistant.buttons import agreeing, options_for
from assistant.consent import Consent, answered, question
from assistant.router.speaker import tongue_of
from assistant.thread import result_of
from assistant.turns import (
    Event,
    Reply,
    Step,
    Token,
    ToolCall,
    ToolFinished,
    ToolStarted,
)
from tools.artifacts import Artifact
from tools.desk import Desk
from tools.errors import BadCall, BrainFailed, ImprintError, NoPhoto
from tools.registry import call_tool, check_call, public_arguments

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

__all__ = ["respond"]

log = logging.getLogger(__name__)
_MAX_BAD_CALLS = 2
Said = Generator[Event, None, AIMessage]
Done = Generator[Event, None, Step]


def respond(
    brain: Brain | None,
    messages: Sequence[BaseMessage],
    desk: Desk,
    *,
    router: "BaseChatModel",
    max_calls: int = 6,
) -> Iterator[Event]:
    """Work on the last message: yields events, the last of which is the :class:`Reply`.

    A language model that fails, is silent too long, or calls wrongly twice is replaced by the
    ``router`` for the rest of the turn, and the reply says so; without a ``brain`` the router
    answers at once. Closing the generator sets ``desk.stop`` and ends the running tool or
    request soon.
    """
    work = _Work(messages, desk, router)
    notice, text = "", None
    try:
        answer = answered(messages)
        if brain is not None and answer is None:
            try:
                text = yield from work.led_by(brain, max_calls)
            except BrainFailed as exc:
                log.info("%s The router takes over.", exc)  # the reply says so
                notice = f"{str(exc).rstrip('.')}, {OWN_RULES}"
        if text is None:
            text = yield from work.by_rule(answer, max_calls)
    finally:
        desk.stop.set()
    asked = [question(s.call.name, s.call.args, messages) for s in work.steps if s.call.asked]
    artifacts = [a for s in work.steps for a in s.artifacts]
    tongue = tongue_of(messages)
    yield Reply(
        "\n".join(x for x in (notice, text, *asked) if x),
        tuple(work.steps),
        agreeing(tongue) if asked else work.options or options_for(artifacts, tongue),
    )


@dataclass
class _Work:
    """One turn at work: what was done so far, by whomever."""

    messages: Sequence[BaseMessage]
    desk: Desk
    router: "BaseChatModel"
    steps: list[Step] = field(default_factory=list)
    bad_calls: int = 0
    options: tuple[str, ...] = ()
    """What the router offers to send next, when it is not sure or asks."""

    def led_by(self, brain: Brain, max_calls: int) -> Generator[Event, None, str]:
        """The language model decides. Raises :class:`BrainFailed`."""
        consent = Consent(self.router, self.messages)
        text = yield from self._rounds(
            lambda thread: ask(brain, thread),
            lambda call: self._proposed(call, consent),
            prompt_for(self.messages, self.desk, sees=brain.sees),
            max_calls,
        )
        if not text and not any(s.call.asked for s in self.steps):
            raise BrainFailed("its answer was empty")
        # A small model says "done" and does nothing, or tells what is on a picture that it never
        # saw; one that asks back has its reasons.
        idle = not self.steps and not text.endswith(("?", "？"))
        if idle and (consent.open or (consent.looks and not brain.sees)):
            raise BrainFailed("it used no tool for what you asked")
        return text

    def by_rule(self, first: AIMessage | None, max_calls: int) -> Generator[Event, None, str]:
        """The router decides, or ``first`` is decided; nothing is done that was done already."""
        planned = [first] if first is not None else []

        def say(thread: Sequence[BaseMessage]) -> Said:
            said = planned.pop() if planned else self.router.invoke(list(thread))
            assert isinstance(said, AIMessage)
            self.options = tuple(said.additional_kwargs.get("options", ())) or self.options
            yield from ()
            return said

        before = list(self.steps)

        def do(call: Call) -> Done:
            for step in before:
                if step.call.ok and (step.call.name, step.call.args) == (
                    call["name"],
                    call["args"],
                ):
                    before.remove(step)
                    return step
            return (yield from self._run(call["name"], call["args"]))

        return (yield from self._rounds(say, do, list(self.messages), max_calls))

    def _rounds(
        self,
        say: Callable[[Sequence[BaseMessage]], Said],
        do: Callable[[Call], Done],
        thread: list[BaseMessage],
        limit: int,
    ) -> Generator[Event, None, str]:
        """Calls and their results, until there are words alone or the calls are used up."""
        done: list[Step] = []
        while True:
            said = yield from say(thread)
            calls = [*said.tool_calls, *(_unreadable(c) for c in said.invalid_tool_calls)]
            text = str(said.text).strip()
            if not calls or len(done) >= limit:
                break
            thread.append(
                AIMessage(text, tool_calls=[{**c, "args": c["args"] or {}} for c in calls])
            )
            for call in calls:
                if len(done) < limit:
                    done.append((yield from do(call)))
                    thread.append(result_of(done[-1], call["id"] or ""))
                else:  # a server wants a result for each call
                    thread.append(ToolMessage("Not done: too many calls.", tool_call_id=call["id"]))
        text = text or "\n".join(dict.fromkeys(s.sentence for s in done if not s.call.asked))
        if calls:
            log.warning("the brain went on calling tools: stopped after %d calls", limit)
            text += f"\nI stopped after {limit} calls of tools, the most for one message."
        return text.strip()

    def _proposed(self, call: Call, consent: Consent) -> Done:
        """A call of a language model: done if it is sound and the user wants it."""
        name, args = call["name"], call["args"]
        granted, problem = None, None
        try:
            if args is None:
                raise BadCall(f"The arguments of {name!r:.60} are not a JSON object.")
            tool = check_call(name, args)
            granted = consent.to(call)
            if granted is None and "photos" in public_arguments(tool):
                # "Yes" will be another message: the photos meant are those of this one.
                args = {**args, "photos": self.desk.numbers(args.get("photos"))}
        except ImprintError as exc:
            problem = exc
            self.bad_calls += isinstance(exc, BadCall)
        if granted is not None:
            step = yield from self._run(granted["name"], granted["args"])
        else:
            done = problem is None and consent.spent(call)
            asks = not (problem or done or any(s.call.asked for s in self.steps))
            why = "once is enough" if done else "the user's own words do not ask for it"
            note = str(problem or f"Not done: {why}.")
            if asks:
                note += f" They are asked now: {question(name, args, self.messages)}"
            step = Step(ToolCall(name, args or {}, False, 0.0, asks), note)
            yield ToolStarted(len(self.steps) + 1, name, step.call.args)
            self.steps.append(step)
            yield ToolFinished(len(self.steps), step)
        if self.bad_calls >= _MAX_BAD_CALLS:
            raise BrainFailed("it called tools wrongly twice")
        return step

    def _run(self, name: str, args: dict[str, Any]) -> Done:
        """One call in a thread of its own, so that its tokens can be yielded while it runs."""
        desk = self.desk
        yield ToolStarted(len(self.steps) + 1, name, args)
        started = time.perf_counter()

        def call(put: Callable[[str], None]) -> tuple[str, list[Artifact]]:
            desk.on_token = put
            return call_tool(name, args, desk)

        aside = Aside(call, name)
        try:
            for text in aside.pieces():
                yield Token(text or "")
        finally:
            # Memory is left as the tool wants it; a closed generator must not wait long for that.
            if not aside.future.done():
                desk.stop.set()
            wait([aside.future])
        error = aside.future.exception()
        self.bad_calls += isinstance(error, BadCall)
        sentence, artifacts = self._worded(name, error) if error else aside.future.result()
        seconds = time.perf_counter() - started
        step = Step(ToolCall(name, args, error is None, seconds), sentence, tuple(artifacts))
        self.steps.append(step)
        yield ToolFinished(len(self.steps), step)
        return step

    def _worded(self, name: str, error: BaseException) -> tuple[str, list[Artifact]]:
        if isinstance(error, ImprintError):
            # The picture's own problem is told already; "send one first" would only confuse.
            told = isinstance(error, NoPhoto) and self.desk.photos_failed
            return "" if told else str(error), []
        incident = secrets.token_hex(3)
        log.error("incident %s: %s failed", incident, name, exc_info=error)
        return (
            f"Something went wrong in {name} (incident {incident}; the log says what). "
            "Try again, or put it differently.",
            [],
        )


def _unreadable(call: InvalidToolCall) -> Call:
    """A call whose arguments are not JSON: they are None."""
    return Call(name=call["name"] or "", args=cast(Any, None), id=call["id"])
