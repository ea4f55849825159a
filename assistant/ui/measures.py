"""Shares with their intervals, and a training, as HTML.

Knows nothing of gradio or disk. Every text is escaped here.
"""

from collections.abc import Sequence
from html import escape

from tools.train import how_far
from tools.training import Figure, Training
from tools.wording import join

__all__ = ["share_bar", "training_card"]

_WIDTH, _HEIGHT = 240, 48
_STATES = {
    "queued": "waits for its turn",
    "running": "running",
    "stopping": "stopping",
    "finished": "done",
    "failed": "failed",
    "cancelled": "stopped",
}
_NAMES = {
    "trained": "trained",
    "base": "before training",
    "exemplars": "your pictures, no training",
}


def share_bar(share: float, low: float, high: float) -> str:
    """A share in [0, 1] as a bar, with its 95 % interval."""
    span = f"left:{100 * low:.1f}%;width:{100 * (high - low):.1f}%"
    between = f"{round(100 * low)}–{round(100 * high)} %"
    return (
        f'<div class="imp-share"><meter min="0" max="1" value="{share:.3f}"></meter>'
        f'<span class="imp-span" style="{span}" title="95 %: {between}"></span></div>'
    )


def training_card(training: Training) -> str:
    """How far it is, with the curve of its loss; or what it came to."""
    lines = [
        f'<p class="imp-head">Training on {escape(join(training.labels))}: '
        f"{_STATES[training.state]}</p>"
    ]
    if training.state in ("running", "stopping"):
        share = training.progress
        meter = f'<meter min="0" max="1" value="{share:.3f}"></meter>'
        lines.append(f'<div class="imp-share">{meter}</div>')
    if len(training.losses) > 1:
        lines.append(_curve(training.losses))
    if training.figures:
        lines.append(f"<table><tbody>{''.join(map(_row, training.figures))}</tbody></table>")
    if training.verdict or training.problem:
        lines.append(f"<p>{escape(training.verdict or training.problem)}</p>")
    notes = [training.run, f"{training.pictures} pictures"]
    if training.losses and training.goes_on:
        notes += how_far(training)
    lines.append(f"<small>{escape(' · '.join(notes))}</small>")
    return f'<div class="imp-report imp-training">{"".join(lines)}</div>'


def _curve(losses: Sequence[float]) -> str:
    """The losses, oldest first, the highest at the top."""
    top = max(losses) or 1.0
    step = _WIDTH / (len(losses) - 1)
    points = " ".join(
        f"{i * step:.1f},{(1 - max(loss, 0.0) / top) * _HEIGHT:.1f}"
        for i, loss in enumerate(losses)
    )
    words = f"the loss, from {losses[0]:.3f} to {losses[-1]:.3f}"
    return (
        f'<svg viewBox="0 -2 {_WIDTH} {_HEIGHT + 4}" role="img" aria-label="{words}">'
        f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="1.5"/></svg>'
    )


def _row(figure: Figure) -> str:
    between = f"{100 * figure.low:.0f}–{100 * figure.high:.0f} %, n={figure.n}"
    return (
        f"<tr><td>{_NAMES[figure.name]}</td>"
        f"<td>{share_bar(figure.value, figure.low, figure.high)}"
        f"<small>{100 * figure.value:.0f} % right ({between})</small></td></tr>"
    )
