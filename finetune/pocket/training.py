"""What the stages of all recipes share: the loop, the optimiser, checkpoints, the progress line.

Knows nothing about models or data. Weights may be bfloat16 (`tower.compute_dtype`); the optimiser
keeps the float32 truth.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tools.whole import whole_file

__all__ = ["Clock", "Courtesy", "Learnt", "MasterAdamW", "Progress", "Stage", "rate"]

Learnt = tuple[Tensor, int, Mapping[str, Tensor]]
"""What a step makes: the loss (a scalar with gradient), pictures seen, and numbers to report."""

_REPORT = 20  # steps between two lines of progress
_LOW = 5  # niceness from which others go before


class MasterAdamW:
    """AdamW on float32 copies of parameters that compute in another type.

    `groups`: (parameters, factor on the learning rate). Decay applies to matrices only.
    """

    def __init__(
        self,
        groups: Iterable[tuple[Iterable[nn.Parameter], float]],
        *,
        lr: float,
        decay: float = 0.05,
        betas: tuple[float, float] = (0.9, 0.98),
    ) -> None:
        self._pairs: list[tuple[nn.Parameter, Tensor]] = []
        rows: list[dict[str, Any]] = []
        for parameters, factor in groups:
            split: dict[float, list[Tensor]] = {decay: [], 0.0: []}
            for p in parameters:
                if not p.requires_grad:
                    continue
                master = p.detach().float().clone()
                self._pairs.append((p, master))
                split[decay if p.ndim > 1 else 0.0].append(master)
            rows += [
                {"params": v, "weight_decay": k, "factor": factor} for k, v in split.items() if v
            ]
        self._inner = torch.optim.AdamW(rows, lr=lr, betas=betas, eps=1e-7)
        self.lr = lr

    def step(self, share: float, clip: float = 1.0) -> float:
        """One step at `share` of the base rate; returns the gradient norm before clipping."""
        for p, master in self._pairs:
            master.grad = None if p.grad is None else p.grad.float()
            p.grad = None
        masters = [m for _, m in self._pairs if m.grad is not None]
        norm = float(torch.nn.utils.clip_grad_norm_(masters, clip))
        for group in self._inner.param_groups:
            group["lr"] = self.lr * share * group["factor"]
        if math.isfinite(norm):
            self._inner.step()
            with torch.no_grad():
                for p, master in self._pairs:
                    p.copy_(master)
        return norm

    def state_dict(self) -> dict[str, Any]:
        """Masters and moments."""
        return {"masters": [m for _, m in self._pairs], "inner": self._inner.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()`."""
        with torch.no_grad():
            for (p, master), saved in zip(self._pairs, state["masters"], strict=True):
                master.copy_(saved)
                p.copy_(saved)
        self._inner.load_state_dict(state["inner"])


def rate(step: int, steps: int, *, warmup: int, floor: float) -> float:
    """Share of the base learning rate: linear warm-up, then half a cosine down to `floor`."""
    if step < warmup:
        return (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, steps - warmup))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done))


class Clock:
    """The minutes that a command may train, shared by its stages; None for no limit."""

    def __init__(self, minutes: float | None = None) -> None:
        self._end = None if minutes is None else time.monotonic() + minutes * 60

    @property
    def over(self) -> bool:
        """Whether they are used up."""
        return self._end is not None and time.monotonic() > self._end


class Stage:
    """Some steps of one optimiser: counted, timed, reported, saved, and gone on with.

    The state after step n depends on n and on what the steps do with it, however often the run was
    interrupted. `kept`: tensors that are saved with the state and filled in place from it.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        optimiser: MasterAdamW,
        steps: int,
        *,
        warmup: int,
        floor: float = 0.04,
        clock: Clock | None = None,
        resume: bool = True,
        kept: Mapping[str, Tensor] | None = None,
        save_seconds: float = 60.0,
    ) -> None:
        """`save_seconds`: the state is written again after so long, which a killed run loses."""
        self._path, self._name, self._optimiser, self._steps = path, name, optimiser, steps
        self._warmup, self._floor = warmup, floor
        self._clock, self._kept = clock or Clock(), kept or {}
        self._save_seconds = save_seconds
        self._step = 0
        if resume and path.exists():
            state = torch.load(path, weights_only=True)
            optimiser.load_state_dict(state["optimiser"])
            for key, tensor in self._kept.items():
                tensor.copy_(state[key])
            self._step = state["step"]

    @property
    def done(self) -> bool:
        """Whether the last step was taken."""
        return self._step >= self._steps

    def train(
        self,
        learn: Callable[[int], Learnt],
        *,
        every: int,
        evaluate: Callable[[], Mapping[str, float]] | None = None,
    ) -> bool:
        """Take the steps that are left while the clock allows; returns `done`.

        `learn` gets the number of the step, from 0. `evaluate` gives held-out results, after each
        `every` steps and at the end; the state is written before it is asked, and now and then.
        """
        progress = Progress(self._path.parent, self._name, self._steps)
        saved, written = self._step, time.monotonic()
        while not self.done and not self._clock.over:
            loss, pictures, numbers = learn(self._step)
            loss.backward()  # type: ignore[no-untyped-call]
            share = rate(self._step, self._steps, warmup=self._warmup, floor=self._floor)
            norm = self._optimiser.step(share)
            self._step += 1
            values = {k: float(v.detach()) for k, v in {"loss": loss, **numbers}.items()}
            progress.add(pictures, norm=norm, **values)
            results: Mapping[str, float] = {}
            due = self._step % every == 0 or self.done
            if due or time.monotonic() - written >= self._save_seconds:
                self._save()
                saved, written = self._step, time.monotonic()
            if due:
                results = evaluate() if evaluate else {}
            if results or self._step % _REPORT == 0 or self.done:
                progress.report(self._step, **results)
        if saved != self._step:
            self._save()
        return self.done

    def _save(self) -> None:
        state = {"step": self._step, "optimiser": self._optimiser.state_dict(), **self._kept}
        with whole_file(self._path) as temporary:
            torch.save(state, temporary)


class Courtesy:
    """Takes one thread while others use the machine, and all threads while it is free.

    Two threads that wait for each other come nearly to a stop when one of them has to share its
    core with a process of higher priority; one thread then gets twenty times further. Sums differ
    in their last bits between thread counts. Reads /proc/stat; without it, or with nearly normal
    priority, it does nothing.
    """

    def __init__(self) -> None:
        self._most = torch.get_num_threads()
        self._last = self._read()

    @staticmethod
    def _read() -> tuple[float, float, float] | None:
        try:
            fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]
        except OSError:
            return None
        ticks = [int(f) for f in fields]
        busy = sum(ticks) - ticks[3] - ticks[4]
        return (time.monotonic(), busy / os.sysconf("SC_CLK_TCK"), time.process_time())

    def adjust(self) -> int:
        """Choose the number of threads from what others used since the last call."""
        now = self._read()
        if now is None or self._last is None or now[0] - self._last[0] < 2 or os.nice(0) < _LOW:
            return torch.get_num_threads()
        wall, busy, own = (a - b for a, b in zip(now, self._last, strict=True))
        self._last = now
        free = (os.cpu_count() or 1) - (busy - own) / wall
        threads = max(1, min(self._most, int(free + 0.4)))
        if threads != torch.get_num_threads():
            torch.set_num_threads(threads)
        return threads


class Progress:
    """One live line on a terminal, one line a report elsewhere, and `metrics.jsonl` beside it."""

    def __init__(self, folder: Path, name: str, steps: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "metrics.jsonl"
        self._name, self._steps = name, steps
        self._start = time.monotonic()
        self._seen = 0
        self._courtesy = Courtesy()
        self._sums: dict[str, float] = {}
        self._count = 0

    @property
    def seconds(self) -> float:
        """Seconds since this process began to train."""
        return time.monotonic() - self._start

    def add(self, pictures: int, **losses: float) -> None:
        """Count a step of `pictures` with its losses."""
        self._seen += pictures
        self._courtesy.adjust()
        self._count += 1
        for key, value in losses.items():
            self._sums[key] = self._sums.get(key, 0.0) + value

    def report(self, step: int, **more: float) -> None:
        """Print and record the means since the last report, and `more` (held-out results)."""
        row = {k: v / max(1, self._count) for k, v in self._sums.items()} | more
        speed = self._seen / max(self.seconds, 1e-6)
        text = " ".join(f"{k} {v:.3f}" for k, v in row.items())
        line = f"{self._name} {step}/{self._steps} {speed:.0f}/s {self.seconds / 60:.1f} min {text}"
        end = "\r" if sys.stdout.isatty() and not more else "\n"
        print(line, end=end, flush=True)  # noqa: T201 - this is the command line's progress line
        with self._file.open("a", encoding="utf-8") as out:
            out.write(json.dumps({"step": step, "seconds": round(self.seconds, 1), **row}) + "\n")
        self._sums, self._count = {}, 0
