"""What a language model may do unasked: look. What changes memory needs the user's own words.

A model can be talked into things: by text in a picture, by a label called "forget everything",
by a caption or an answer it was told to remember. No prompt prevents that, so the rule does not
depend on the model. It is one sentence: *a change is carried out as the router reads it in the
user's own message, which is all that the router reads; any other change is asked about first,
and done when the user says yes.* So

- "forget zorb" and the model's ``forget_label(zorb)`` agree: done, once, with the arguments of
  the router's reading (a description or a picture that the model slipped in is not in there);
- a picture says "forget zorb", the user says "what does it say?": the router reads a question,
  so nothing is forgotten, and the user is asked "Shall I forget zorb?";
- the user teaches in words that the router does not understand: one question, one "yes".

A tool that is not known to only look counts as one that changes things. Knows nothing of how the
router reads, nor of the models.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, BaseMessage, ToolCall

from assistant.router.speaker import tongue_of

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

__all__ = ["LOOKING", "Consent", "answered", "question"]

LOOKING = frozenset(
    {
        "answer_question",
        "caption_image",
        "classify_image",
        "compare_images",
        "detect_objects",
        "explain_answer",
        "find_similar",
        "list_labels",
        "report_knowledge",
        "training_status",
    }
)
"""The tools that leave memory as it is."""

_ONE_DEED = {"correct_label": "teach_label"}  # which of the two it is, the router knows
_IN_PASSING = ("description", "wrong")  # said beside the deed, and not what makes it another one
_YES, _NO = (
    re.compile(rf"(?:(?:{words})(?: |\Z))+")
    for words in (
        "yes|y|yep|yeah|yup|sure|ok|okay|please|do it|do that|do|go ahead|ja|bitte|mach das|oui|"
        "s'il te plaît|vas-y|sí|si|por favor|hazlo|是|是的|好|好的|对",
        "no|n|nope|thanks|thank you|don't|do not|please|never|stop|cancel|nein|danke|"
        "lieber nicht|non|merci|gracias|不|不要|不是",
    )
)


class Consent:
    """The changes that the user's message asks for, each to be carried out once."""

    def __init__(self, router: "BaseChatModel", messages: Sequence[BaseMessage]) -> None:
        read = router.invoke(list(messages))
        assert isinstance(read, AIMessage)
        self.looks = any(c["name"] in LOOKING for c in read.tool_calls)
        """Whether the message asks to look at something."""
        self._wanted = [c for c in read.tool_calls if c["name"] not in LOOKING]
        self._done: list[ToolCall] = []

    def to(self, call: ToolCall) -> ToolCall | None:
        """The call as it may be carried out; None when the user has to be asked first."""
        if call["name"] in LOOKING:
            return call
        for wanted in self._wanted:
            if _same_deed(call, wanted):
                self._wanted.remove(wanted)
                self._done.append(wanted)
                return ToolCall(name=wanted["name"], args=wanted["args"], id=call["id"])
        return None

    @property
    def open(self) -> bool:
        """Whether a change that the user asked for was not carried out."""
        return bool(self._wanted)

    def spent(self, call: ToolCall) -> bool:
        """Whether the user asked for it, and it has been granted already."""
        return any(_same_deed(call, done) for done in self._done)


def question(name: str, args: dict[str, Any], messages: Sequence[BaseMessage] = ()) -> str:
    """Asks whether a call shall be carried out, in the user's language: "Shall I forget zorb?"."""
    tongue = tongue_of(messages)
    numbers = [str(n) for n in args.get("photos") or ()]
    photos = (tongue.asks("photos", numbers=", ".join(numbers)) or "").split("|")
    words = {k: f"“{v:.60}”" for k, v in args.items() if isinstance(v, str)}
    given = ", ".join(f"{k} {v}" for k, v in words.items())
    words = {"label": tongue.asks("label") or "", "photos": photos[min(len(numbers), 2)], **words}
    deed = tongue.asks(name, **words)
    if deed is None:
        deed = name.replace("_", " ") + (f" ({given})" if given else "")
    return tongue.asks("ask", deed=deed) or deed


def answered(messages: Sequence[BaseMessage]) -> AIMessage | None:
    """What the last message means as the answer to our question: its calls, or words of one's own.

    None when nothing was asked or it is an ordinary message. The calls that were asked about are
    in ``additional_kwargs["asked"]`` of the reply before.
    """
    asked = messages[-2].additional_kwargs.get("asked") if len(messages) > 1 else None
    said = messages[-1].additional_kwargs
    if not asked or said.get("photos"):
        return None
    text = (
        re.sub(r"[\s,.!…。！，]+", " ", said.get("text", "").replace("’", "'")).strip().casefold()
    )
    if _YES.fullmatch(text):
        calls = [
            ToolCall(name=c["name"], args=c["args"], id=f"yes-{i}") for i, c in enumerate(asked)
        ]
        return AIMessage("", tool_calls=calls)
    return AIMessage(tongue_of(messages).asks("refused") or "") if _NO.fullmatch(text) else None


def _same_deed(call: ToolCall, wanted: ToolCall) -> bool:
    name, other = (_ONE_DEED.get(c["name"], c["name"]) for c in (call, wanted))
    return name == other and all(
        _key(call["args"][k]) == _key(wanted["args"][k])
        for k in set(call["args"]) & set(wanted["args"]) - set(_IN_PASSING)
        if isinstance(call["args"][k], str)
    )


def _key(name: Any) -> str:
    """A name without its case, article, punctuation or plural s."""
    text = re.sub(r"[\s?.!,]+", " ", str(name)).strip().casefold()
    return re.sub(r"^(?:an?|the) ", "", text).removesuffix("s")
