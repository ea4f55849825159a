"""The lines of ``utterances.yaml``, and what the router makes of them.

Knows nothing of tables.
"""

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from langchain_core.messages import AIMessage

from assistant.router import Router
from assistant.thread import messages_for
from assistant.turns import Turn
from tests.bench.understanding.judging import CHANGES, ORDER, Call, judge
from tests.bench.understanding.situations import SITUATIONS
from tools.registry import TOOLS

__all__ = ["Case", "Outcome", "cases", "play", "router_with_all_tools"]

FILE = Path(__file__).parents[1] / "utterances.yaml"
DEVELOPMENT = "(development)"
"""Ends the name of intents none of whose lines is held out: the tables were written with them."""
BLIND = "(blind)"
"""Ends the name of intents whose lines strangers wrote and nobody who writes tables has read."""
LATER = "(later blind)"
"""The same, of other strangers, who wrote when the first ones' lines had been learnt from."""
THIRD = "(third blind)"
"""The same again, in five languages, with several wishes in a message and pictures pointed at."""


@dataclass(frozen=True)
class Case:
    """One message with what should come of it."""

    intent: str
    situation: str
    text: str
    expected: str

    @property
    def part(self) -> str:
        """Where it counts: in all but "development" nobody may look at it."""
        if self.intent.endswith(DEVELOPMENT):
            return "development"
        for mark, name in ((BLIND, "blind"), (LATER, "later blind"), (THIRD, "third blind")):
            if self.intent.endswith(mark):
                return name
        third = hashlib.sha256(self.text.encode()).digest()[0] % 3 == 0
        return "held out" if third else "development"


@dataclass(frozen=True)
class Outcome:
    """What came of a message."""

    case: Case
    tool: bool
    args: bool
    seconds: float
    calls: tuple[Call, ...]
    text: str


def cases(path: Path = FILE) -> list[Case]:
    """Every line of the file."""
    # BaseLoader: everything is text, so that "no" and "yes" stay words.
    table = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    found = []
    for intent, situations in table.items():
        for situation, block in situations.items():
            for line in block.splitlines():
                text, expected = line.rsplit(" => ", 1)
                found.append(Case(intent, situation, text, expected))
    return found


def router_with_all_tools() -> Any:
    """The router with every tool that the file expects bound."""
    named = {"type": "function", "function": {"name": "", "description": "", "parameters": {}}}
    known = {t.name for t in TOOLS}
    later = [
        {**named, "function": {**named["function"], "name": n}}
        for n in sorted((CHANGES | set(ORDER)) - known)
    ]
    return Router().bind_tools([*TOOLS, *later])


def play(router: Any, case: Case) -> Outcome:
    """Say the message in its situation."""
    situation = SITUATIONS[case.situation]
    turns: list[Turn] = []
    for turn in situation.turns:
        if not turn.reply:  # what the router said decides what the next message means
            said = router.invoke(messages_for(turns, turn, situation.labels))
            turn = Turn(turn.text, turn.photos, reply=str(said.text))
        turns.append(turn)
    messages = messages_for(turns, Turn(case.text, situation.photos), situation.labels)
    started = time.perf_counter()
    said = router.invoke(messages)
    seconds = time.perf_counter() - started
    assert isinstance(said, AIMessage)
    calls = tuple((c["name"], dict(c["args"])) for c in said.tool_calls)
    tool, args = judge(calls, case.expected, situation)
    return Outcome(case, tool, args, seconds, calls, str(said.text))
