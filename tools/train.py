"""``train_adapter`` and its status, end and use: training on what was taught.

Knows nothing of processes or models: the desk's jobs train, and the desk's adapters are used.
"""

from typing import Annotated

from langchain_core.tools import InjectedToolArg, tool

from tools.desk import Desk, Jobs
from tools.errors import BadCall, ToolError
from tools.training import AdapterUse, Training
from tools.wording import article, capital, count, join, percent

__all__ = [
    "METHODS",
    "cancel_training",
    "how_far",
    "train_adapter",
    "training_status",
    "use_adapter",
]

METHODS = ("lora", "qlora", "projector", "full")
"""Ways to train the answerer."""
_ELSEWHERE = ("linear", "prototypes")
_NONE_YET = "I have not trained anything yet: say “train on what I taught you”."


@tool(response_format="content_and_artifact", parse_docstring=True)
def train_adapter(
    labels: list[str] | None = None,
    method: str | None = None,
    *,
    desk: Annotated[Desk, InjectedToolArg],
) -> tuple[str, Training]:
    """Start to fine-tune the model that answers on the taught pictures, in the background.

    Args:
        labels: The taught labels to train on; leave out for all of them.
        method: lora, qlora, projector or full; leave out for what suits the model.
    """
    jobs = _jobs(desk)
    if method in _ELSEWHERE:
        raise ToolError(
            f"{capital(method)} trains a classifier on the embedder, which I can't answer with: "
            f"say “train with lora”, or run `python -m finetune few-shot "
            f"memory:{desk.memory.workspace} --method {method}` in a terminal."
        )
    if method is not None and method not in METHODS:
        raise BadCall(f"There is no method {method!r:.40}: there is {join(METHODS, 'or')}.")
    wanted = _enough(desk, labels)
    training = jobs.start(desk.memory.workspace, wanted, method)
    about = f"on {join(training.labels)} ({count(training.pictures, 'picture')})"
    if training.state == "queued":
        return f"Training {about} is next in line: another training is running.", training
    return (
        f"Training {about} has begun, in the background. Ask “how is the training going?”, or say "
        "“stop the training”.",
        training,
    )


@tool(response_format="content_and_artifact")
def training_status(*, desk: Annotated[Desk, InjectedToolArg]) -> tuple[str, list[Training]]:
    """Say how the training is going, or how it ended and whether its result is worth using."""
    found = _jobs(desk).status(desk.memory.workspace)
    if found is None:
        return _NONE_YET, []
    current = desk.models.adapters.current()
    return _worded(found, in_use=current is not None and current.name == found.run), [found]


@tool(response_format="content_and_artifact")
def cancel_training(*, desk: Annotated[Desk, InjectedToolArg]) -> tuple[str, Training]:
    """Stop the training that is running; what it has done is kept."""
    jobs = _jobs(desk)
    before = jobs.status(desk.memory.workspace)
    if before is None or not before.goes_on:
        raise ToolError("No training is running, so there is nothing to stop.")
    found = jobs.cancel(desk.memory.workspace, desk.stop) or before
    return _worded(found), found


@tool(response_format="content_and_artifact", parse_docstring=True)
def use_adapter(
    on: bool = True, *, desk: Annotated[Desk, InjectedToolArg]
) -> tuple[str, AdapterUse]:
    """Use the result of the last training from now on, or use it no longer.

    Args:
        on: False to stop using it.
    """
    jobs, adapters = _jobs(desk), desk.models.adapters
    if not on:
        before = adapters.stop()
        if before is None:
            raise ToolError("No adapter is in use, so there is nothing to stop using.")
        return f"I no longer use {before}: I answer as I did before it.", AdapterUse(before, False)
    found = jobs.status(desk.memory.workspace)
    if found is None:
        raise ToolError(_NONE_YET)
    if not found.offered:
        raise ToolError(_worded(found))
    jobs.publish(found.run)
    adapter = adapters.use(found.run)
    return (
        f"From now on {adapter.name} has a vote on what a picture shows; it was right in "
        f"{percent(adapter.reliability)} of those it had not seen. What you taught me still says "
        "what I don't know. Say “stop using it” to go back.",
        AdapterUse(adapter.name, True),
    )


def _jobs(desk: Desk) -> Jobs:
    if desk.jobs is None:
        raise ToolError(
            "Training is switched off here, for everybody on this server would share its result: "
            "run Imprint yourself, on Linux or macOS, to train it."
        )
    return desk.jobs


def _enough(desk: Desk, labels: list[str] | None) -> dict[str, int]:
    """The labels to train on with their numbers of pictures. Raises what is missing."""
    state = desk.memory.state
    chosen = [desk.memory.label(name) for name in labels] if labels else list(state.labels.values())
    found = {x.name: len(state.of(x.id)) for x in chosen}
    taught = {name: number for name, number in found.items() if number}
    if len(taught) < 2:
        have = f"I only know {article(*taught)}" if taught else "you have taught me nothing yet"
        if labels and len(state.labels) > 1:
            have = f"you named only {join([article(name) for name in taught]) or 'empty labels'}"
        raise ToolError(
            f"I can't train yet: {have}, and there must be two things to tell apart. Send pictures "
            "of another and say what it is."
        )
    single = [name for name, number in taught.items() if number == 1]
    if single:
        others = [name for name in taught if name not in single]
        instead = f", or say “train on {join(others)}”" if len(others) > 1 else ""
        raise ToolError(
            f"I can't train yet: I have one picture of {join(single)}, and I need two of each, one "
            f"to learn from and one to measure with. Send another{instead}."
        )
    return taught


def _worded(found: Training, *, in_use: bool = False) -> str:
    on = f"raining on {join(found.labels)}"
    match found.state:
        case "queued":
            return f"The t{on} waits until another training is over."
        case "stopping":
            return f"The t{on} is being stopped; it saves what it has first."
        case "running":
            return _progress(found)
        case "failed":
            return f"The t{on} failed: {found.problem}"
        case "cancelled":
            kept = (
                f" What it had done is kept: `python -m finetune runs resume {found.run}` goes on."
                if found.resumable
                else ""
            )
            return f"The t{on} was stopped.{kept}"
    if in_use:
        then = "I use it; say “stop using it” to go back."
    elif found.offered:
        then = "Shall I use it? Say “use it”."
    else:
        then = "So I go on recognising by your pictures, as before."
    return f"The t{on} is done. {found.verdict} {then}"


def _progress(found: Training) -> str:
    on = f"Training on {join(found.labels)}"
    if not found.losses:
        return f"{on} is getting ready: the model as it is now is measured first."
    return f"{on}: {', '.join(how_far(found))}."


def how_far(found: Training) -> list[str]:
    """What is done, the loss and the time left of a training that runs, in words."""
    parts = [f"{percent(found.progress)} done", f"loss {found.losses[-1]:.3f}"]
    seconds = found.seconds_left
    if seconds is None:
        return parts
    left = count(max(5, 5 * round(seconds / 5)), "second")
    if seconds >= 90:
        left = count(round(seconds / 60), "minute")
    if seconds >= 5400:
        left = count(round(seconds / 3600), "hour")
    return [*parts, f"about {left} left at most"]
