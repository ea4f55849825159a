"""The router as a langchain-core chat model: reads the last message, answers with tool calls.

Knows nothing of how sentences are understood (:mod:`assistant.router.deciding`). Deterministic,
offline, in a few milliseconds; it words results by joining what the tools said.
"""

import re
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
)
from langchain_core.outputs import ChatGeneration, ChatResult

from assistant.bound import ToolModel
from assistant.router.actions import Action, Context
from assistant.router.deciding import decide
from assistant.router.language import LANGUAGES, Language, language, likely
from assistant.router.speaker import tongue_of
from assistant.router.telling import told
from tools.artifacts import Answer, Change, Recognition
from tools.training import Training

__all__ = ["Router"]


class Router(ToolModel):
    """A chat model without a model."""

    @property
    def _llm_type(self) -> str:
        return "imprint-router"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        bound = {t["function"]["name"] for t in kwargs.get("tools", ())}
        message = _answer(messages, bound)
        return ChatResult(generations=[ChatGeneration(message=message)])


def _answer(messages: Sequence[BaseMessage], bound: set[str]) -> AIMessage:
    last = max((i for i, m in enumerate(messages) if isinstance(m, HumanMessage)), default=-1)
    if last < 0:
        return AIMessage("Send me a picture, or say something.")
    results = [m for m in messages[last + 1 :] if isinstance(m, ToolMessage)]
    results = [m for i, m in enumerate(results) if not _said_again(m, results[:i])]
    if results:
        tongue = tongue_of(messages[: last + 1])
        said = [_worded(m, messages[last + 1 :], tongue) for m in results]
        # What was asked beside the calls comes last: it is what the next message answers.
        said += [str(m.text) for m in messages[last + 1 :] if isinstance(m, AIMessage)]
        return AIMessage(_joined([text for text in said if text]))
    human = messages[last]
    text = human.additional_kwargs.get("text", human.text)
    context = _context(messages, last)
    actions = [
        a if not a.tool or a.tool in bound else _lacking(a, context) for a in decide(text, context)
    ]
    calls = [
        ToolCall(name=a.tool, args=a.args or {}, id=f"call-{last}-{i}", type="tool_call")
        for i, a in enumerate(actions)
        if a.tool
    ]
    options = [o for a in actions for o in a.options]
    return AIMessage(_said(actions), tool_calls=calls, additional_kwargs={"options": options})


def _said_again(result: ToolMessage, before: Sequence[ToolMessage]) -> bool:
    """Whether a question that could not be read got only what its picture was recognised as."""
    known = [a for m in before for a in m.artifact or ()]
    found = result.artifact or []
    seen = bool(found) and all(isinstance(a, Recognition) for a in found)
    return result.name == "answer_question" and seen and all(a in known for a in found)


def _worded(result: ToolMessage, turn: Sequence[BaseMessage], tongue: Language) -> str:
    """What a tool said, in the user's language where there are words for it."""
    english = str(result.content)
    if tongue.code == "en":
        return english
    if result.status == "error":
        return tongue.failed(english)
    calls = [c for m in turn if isinstance(m, AIMessage) for c in m.tool_calls]
    args = next((c["args"] for c in calls if c["id"] == result.tool_call_id), {})
    return told(tongue, result.artifact or (), args) or english


def _lacking(action: Action, context: Context) -> Action:
    """What to say in place of a call of a tool that is not there."""
    example = context.labels[-1] if context.labels else "zorb"
    told = language(action.language).not_here(action.tool, label=example)
    return Action(text=told or f"I can't do that here: {action.tool} is switched off.")


def _joined(sentences: Sequence[str]) -> str:
    """The sentences below each other; what they all ask at their end is asked once."""
    question = "What is it?"
    once = [
        s.removesuffix(question).rstrip() if following.endswith(question) else s
        for s, following in pairwise(sentences)
    ]
    return "\n".join([*once, *sentences[-1:]])


def _said(actions: Sequence[Action]) -> str:
    return "\n".join(a.text for a in actions if a.text)


def _context(messages: Sequence[BaseMessage], last: int) -> Context:
    """What was said before, read from the messages alone."""
    labels: list[str] = []
    photos = 0
    recognised: Recognition | None = None
    open_photos: tuple[int, ...] = ()
    doubt: Change | None = None
    changed: Change | None = None
    training: Training | None = None
    asked = fresh = wiping = False
    tongue, answered, offered = "en", "", ""
    turn: list[int] = []
    shown: tuple[int, ...] = ()
    fresh_photo = False
    calls: dict[str | None, list[int]] = {}
    for message in messages[:last]:
        if isinstance(message, SystemMessage):
            labels = message.additional_kwargs.get("labels", [])
        elif isinstance(message, HumanMessage):
            turn = message.additional_kwargs.get("photos", [])
            photos = max([photos, *turn])
            shown, fresh_photo = tuple(turn) or shown, bool(turn)
            recognised = None if turn else recognised
            asked, fresh, training, answered, offered = False, False, None, "", ""
            open_photos, changed = (), None
            said = str(message.additional_kwargs.get("text", message.text))
            tongue = likely(said, tongue)[0]
        elif isinstance(message, ToolMessage):
            seen = [a for a in message.artifact or [] if isinstance(a, Recognition)]
            unsure = [a for a in seen if a.decision != "known"]
            if seen:
                recognised = (unsure or seen)[-1]
                asked = bool(unsure)
                numbers = calls.get(message.tool_call_id) or turn
                open_photos = _open(seen, numbers)
            for artifact in message.artifact or []:
                if isinstance(artifact, Answer):
                    answered = artifact.question
                if isinstance(artifact, Training):  # "no" is said of it then, and of no picture
                    training, recognised = artifact, None
                if isinstance(artifact, Change) and artifact.action != "known":
                    recognised, asked, changed = None, False, artifact
                    doubt, fresh = (artifact, True) if artifact.same_as else (None, False)
        elif isinstance(message, AIMessage) and message.tool_calls:
            calls = {c["id"]: c["args"].get("photos") or [] for c in message.tool_calls}
        elif isinstance(message, AIMessage):
            text = str(message.text).rstrip()
            asked = asked or text.endswith((*_endings("what_is_it"), *_endings("one_label")))
            doubt = doubt if fresh or text.endswith(_endings("same_or_new")) else None
            wiping = text.endswith(_endings("wipe_ask"))
            options = message.additional_kwargs.get("options") or ("",)
            offered = options[0] if text.endswith(_endings("understood")) else ""
    turn_photos = tuple(messages[last].additional_kwargs.get("photos", []))
    return Context(
        labels=tuple(labels),
        turn_photos=turn_photos,
        photo_count=max([photos, *turn_photos]),
        asked=asked,
        recognised=recognised,
        open_photos=open_photos,
        doubt=doubt,
        changed=changed,
        wiping=wiping,
        answered=answered,
        training=training,
        offered=offered,
        shown=shown,
        fresh=fresh_photo or bool(turn_photos),
        language=tongue,
    )


@cache
def _endings(key: str) -> tuple[str, ...]:
    """How something ends that the assistant says, in every language: its last sentence."""
    said = [
        language(c).said(key, label="", other="", names="", rivals="", order="") for c in LANGUAGES
    ]
    return tuple({re.split(r"[.。:：]\s*", text)[-1] for text in said})


def _open(seen: Sequence[Recognition], numbers: Sequence[int]) -> tuple[int, ...]:
    """The numbers of the photos that were not known, where several were asked about at once."""
    if len(seen) < 2 or len(seen) != len(numbers):
        return ()
    return tuple(n for n, a in zip(numbers, seen, strict=True) if a.decision != "known")
