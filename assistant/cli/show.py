"""What the commands print: events of a turn, steps and replies, for people or as JSON.

Knows nothing of how they came about.
"""

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from assistant.turns import Event, Reply, Step, Token, ToolFinished
from tools.artifacts import to_json
from tools.report import KnowledgeReport, LabelReport
from tools.survey import Surveyed
from tools.wording import count

__all__ = [
    "print_json",
    "reply_json",
    "show_reply",
    "show_report",
    "show_step",
    "show_surveyed",
    "step_json",
]


def print_json(data: Any) -> None:
    """One line of JSON on standard output."""
    print(json.dumps(data, ensure_ascii=False))


def reply_json(reply: Reply) -> dict[str, Any]:
    """A reply as data."""
    return {
        "text": reply.text,
        "tool_calls": [asdict(c) for c in reply.tool_calls],
        "artifacts": [to_json(a) for a in reply.artifacts],
        "options": list(reply.options),
        "problems": list(reply.problems),
    }


def step_json(step: Step) -> dict[str, Any]:
    """A tool's result as data."""
    return {
        "text": step.sentence,
        "tool_calls": [asdict(step.call)],
        "artifacts": [to_json(a) for a in step.artifacts],
    }


def show_step(step: Step, *, as_json: bool) -> None:
    """Print a tool's result."""
    if as_json:
        print_json(step_json(step))
    else:
        print(step.sentence)


def show_report(step: Step, *, as_json: bool) -> None:
    """Print how well labels are known: the sentence, and a line for each label."""
    show_step(step, as_json=as_json)
    if as_json:
        return
    for artifact in step.artifacts:
        if isinstance(artifact, KnowledgeReport):
            width = max((len(x.name) for x in artifact.labels), default=0)
            for label in artifact.labels:
                shown = count(label.count, "picture")
                print(f"  {label.name:{width}}  {shown:>12}  {_judged(label)}")


def show_surveyed(done: Surveyed) -> None:
    """Print what measuring with a folder told, for people."""
    shown = f"{count(done.pictures, 'picture')} of {count(done.things, 'thing')}"
    print(f"Measured {done.embedder} with {shown} in {done.seconds:.1f} s.")
    for problem in done.skipped:
        print(f"  left out: {problem}")
    for name, row in done.results.items():
        print(
            f"  {name}: what was taught scores higher than what was not in {row['auroc']:.0%} of "
            f"pairs; {row['true_accepts']:.0%} of what was taught is recognised, and "
            f"{row['false_accepts']:.0%} of what was not is mistaken for it "
            f"({row['asked']:,.0f} questions)."
        )
    print("It is used from the next start on; `imprint background --reset` forgets it.")


def _judged(label: LabelReport) -> str:
    found = label.accuracy
    if found.low is None or found.high is None:
        return "too few to tell"
    alike = ", all nearly the same" if label.alike else ""
    return (
        f"{found.right} of {found.asked} right "
        f"({100 * found.low:.0f}–{100 * found.high:.0f} %){alike}"
    )


def show_reply(events: Iterable[Event], *, as_json: bool) -> Reply:
    """Print a turn while it happens (its steps on standard error); returns the reply."""
    live = not as_json and sys.stderr.isatty()
    reply = Reply("")
    for event in events:
        if isinstance(event, ToolFinished) and live:
            call = event.step.call
            mark = "" if call.ok else " failed"
            print(f"\r· {call.name}{mark}, {call.seconds * 1e3:.0f} ms", file=sys.stderr)
        elif isinstance(event, Token) and live:
            print(event.text, end="", flush=True, file=sys.stderr)
        elif isinstance(event, Reply):
            reply = event
    if as_json:
        print_json(reply_json(reply))
    else:
        print(reply.text)
        if reply.options and live:
            print("  ".join(f"[{o}]" for o in reply.options), file=sys.stderr)
    return reply
