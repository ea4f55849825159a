"""``python -m tests.bench.speed``: how quick and how large Imprint is, as a table.

Medians of ``--rounds`` runs with their range, on this machine, with the pocket models. *Outside
the models* is a turn's time less the time inside the models' own calls.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from assistant import open_assistant
from assistant.build import Imprint
from tools.config import load_config
from tools.models import Models, open_models

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "tests" / "pictures"


class Timed:
    """A model whose calls are added up."""

    def __init__(self, model: Any, spent: list[float]) -> None:
        self._model = model
        self._spent = spent

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._model, name)
        if not callable(value):
            return value

        def timed(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            try:
                return value(*args, **kwargs)
            finally:
                self._spent[0] += time.perf_counter() - started

        return timed


def median_of(action: Callable[[int], float], rounds: int) -> str:
    """``median (min–max)`` in milliseconds of ``rounds`` measurements in seconds."""
    times = [action(i) * 1e3 for i in range(rounds)]
    return f"{statistics.median(times):.0f} ({min(times):.0f}–{max(times):.0f})"


def command(*args: str) -> float:
    """Seconds that a command of this Python takes."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *args], check=True, capture_output=True, cwd=ROOT)
    return time.perf_counter() - started


def ready() -> float:
    """Seconds from the start of the page to its first possible answer."""
    code = (
        "import tempfile; from assistant.ui import serve; from assistant import open_assistant\n"
        "im = open_assistant(home=tempfile.mkdtemp(), profile='pocket')\n"
        "serve(im, prevent_thread_lock=True); im.warm_up()\n"
        f"im.conversation().send('what is this?', [{str(PICTURES / 'car_fluent.png')!r}])\n"
        "import os; os._exit(0)"
    )
    return command("-c", code)


def turns(rounds: int) -> dict[str, str]:
    """Latencies of turns of a conversation, whole and outside the models."""
    spent = [0.0]
    pocket = open_models(load_config(profile="pocket"))
    models = Models.of(
        embedder=Timed(pocket.embedder, spent),
        captioner=Timed(pocket.captioner, spent),
        answerer=Timed(pocket.answerer, spent),
    )
    dragon, other = PICTURES / "dragon_noto.png", PICTURES / "dragon_fluent.png"
    with tempfile.TemporaryDirectory() as home, open_assistant(home=home, models=models) as imprint:
        imprint.warm_up()
        imprint.conversation().send("this is a zorb", [dragon])
        imprint.conversation().send("what is this?", [other])
        rows = {}
        outside: list[float] = []

        def turn(text: str, path: Path, fresh: bool = False) -> Callable[[int], float]:
            def measure(i: int) -> float:
                photo = _varied(path, i) if fresh else path
                talk = imprint.conversation()
                spent[0] = 0.0
                started = time.perf_counter()
                talk.send(text, [photo])
                seconds = time.perf_counter() - started
                outside.append(seconds - spent[0])
                return seconds

            return measure

        for name, text, path in (
            ("what is this?", "what is this?", other),
            ("describe this", "describe this", other),
            ("what colour is it?", "what colour is it?", other),
        ):
            outside.clear()
            rows[f"turn “{name}”, ms"] = median_of(turn(text, path, fresh=True), rounds)
            rows[f"  outside the models, “{name}”, ms"] = median_of(outside.__getitem__, rounds)
        rows["teach one picture, ms"] = median_of(teach(imprint), rounds)
    return rows


def teach(imprint: Imprint) -> Callable[[int], float]:
    """Measures teaching a new picture each time, acknowledged and in the index."""

    def measure(i: int) -> float:
        photo = _varied(PICTURES / "rocket_noto.png", i)
        started = time.perf_counter()
        imprint.call("teach_label", [photo], label=f"thing {i % 7}")
        return time.perf_counter() - started

    return measure


def _varied(path: Path, i: int) -> Any:
    """The picture with other pixels each time, so that no cache answers."""
    image = Image.open(path).convert("RGB")
    image.putpixel((0, 0), (i % 256, i // 256, 1))
    return image


def megabytes() -> str:
    """Size of what installs: the packages with weights."""
    size = sum(
        p.stat().st_size
        for package in ("assistant", "tools", "finetune")
        for p in (ROOT / package).rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    )
    return f"{size / 1e6:.1f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="runs of each turn (default 15)")
    rounds = parser.parse_args().rounds
    few = max(3, rounds // 5)
    rows = {
        "imprint --help, ms": median_of(lambda _: command("-m", "assistant", "--help"), few),
        "page ready and first answer, ms": median_of(lambda _: ready(), few),
        **turns(rounds),
        "package with weights, MB": megabytes(),
    }
    width = max(map(len, rows))
    print(f"{'':{width}}  median (min–max), n = {rounds}; commands n = {few}")
    for name, value in rows.items():
        print(f"{name:{width}}  {value}")


if __name__ == "__main__":
    main()
