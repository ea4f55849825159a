"""``python -m tests.bench.understanding``: how well the router understands what people type.

Every line of ``utterances.yaml`` is played as the next message of a real conversation (built as the
agent builds it) and the calls of tools are compared with the expected ones. *Tool*: the right
tools in the right order; *args*: with the right arguments too. A third of the lines, chosen by a
hash of the message, is held out: its failures are counted and never shown. So are the blind ones,
half of what strangers wrote who had never seen the router.

``unseen/*/*.txt`` holds what people say whose words the learned reader was not trained on: one row
a language, one an intent, and how often memory was changed by what orders no change.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from typing import Any

from assistant.router.language import LANGUAGES
from tests.bench.understanding.playing import Outcome, cases, play, router_with_all_tools
from tests.bench.understanding.unseen import ROUNDS, Heard, hear, lines
from tools.knowledge import wilson

__all__ = ["main"]


def _row(name: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    number = len(outcomes)
    row: dict[str, Any] = {"intent": name, "n": number}
    for key in ("tool", "args"):
        right = sum(getattr(o, key) for o in outcomes)
        low, high = wilson(right, number) if number else (0.0, 1.0)
        share = right / number if number else float("nan")
        row[key] = {"right": right, "share": share, "low": low, "high": high}
    return row


def _table(title: str, outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    intents = dict.fromkeys(o.case.intent for o in outcomes)
    rows = [_row(i, [o for o in outcomes if o.case.intent == i]) for i in intents]
    rows.append(_row("all", outcomes))
    return [{"part": title, **r} for r in rows]


def _print(rows: Sequence[dict[str, Any]]) -> None:
    for part in dict.fromkeys(r["part"] for r in rows):
        print(f"\n{part:26} {'n':>5}  {'tool':>7}  {'args':>7}  95 % interval of args")
        for r in (r for r in rows if r["part"] == part):
            tool, args = r["tool"], r["args"]
            print(
                f"{r['intent']:26} {r['n']:5}  {tool['share']:7.1%}  {args['share']:7.1%}  "
                f"{args['low']:.1%}–{args['high']:.1%}"
            )


def _groups(heard: Sequence[Heard]) -> list[tuple[str, list[Heard]]]:
    """What was heard by language, and the English by intent."""
    by_language = [(c, [h for h in heard if h.language == c]) for c in LANGUAGES]
    english = by_language[0][1]
    intents = dict.fromkeys(h.intent for h in english)
    return [*by_language, *((f"en {i}", [h for h in english if h.intent == i]) for i in intents)]


def _share(part: str, name: str, heard: Sequence[Heard]) -> dict[str, Any]:
    right = sum(h.right for h in heard)
    low, high = wilson(right, len(heard))
    share, changes = right / len(heard), sum(h.changes for h in heard)
    return {"part": part, "name": name, "n": len(heard), "share": share, "low": low, "high": high,
            "changes": changes, "known": sum(h.known for h in heard) / len(heard)}  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="machine-readable")
    parser.add_argument(
        "--show-failures", action="store_true", help="the lines that fail, of the development part"
    )
    options = parser.parse_args()
    router = router_with_all_tools()
    play(router, cases()[0])  # the tables are read once
    outcomes = [play(router, c) for c in cases()]
    parts = {
        name: [o for o in outcomes if o.case.part == name]
        for name in ("development", "held out", "blind", "later blind", "third blind")
    }
    rows = [r for title, part in parts.items() for r in _table(title, part)]
    unseen = [
        _share(part, name, found)
        for part in ROUNDS
        for name, found in _groups([hear(router, code, e) for code, e in lines(part)])
    ]
    milliseconds = statistics.median(o.seconds for o in outcomes) * 1e3
    if options.json:
        print(json.dumps({"rows": rows, "unseen": unseen, "median_ms": milliseconds}, indent=1))
        return
    if options.show_failures:
        for o in parts["development"]:
            if not o.args:
                print(f"{o.case.intent} [{o.case.situation}] {o.case.text}")
                print(f"    wanted {o.case.expected}\n    got    {list(o.calls) or o.text}")
    _print(rows)
    for part in ROUNDS:
        title = f"unseen, {part} round"
        print(
            f"\n{title:26} {'n':>5}  {'right':>7}  95 % interval   language  changes memory wrongly"
        )
        for row in (r for r in unseen if r["part"] == part):
            print(
                f"{row['name']:26} {row['n']:5}  {row['share']:7.1%}  "
                f"{row['low']:.1%}–{row['high']:.1%}    {row['known']:7.1%}  {row['changes']}"
            )
    print(f"\nmedian of a turn: {milliseconds:.2f} ms")


if __name__ == "__main__":
    main()
