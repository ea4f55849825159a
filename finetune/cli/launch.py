"""`finetune launch`: a command in several processes, by a configuration of accelerate.

The same as `accelerate launch --config_file FILE -m finetune COMMAND`, but the configurations
that come with the package go by their names, and a failure is one sentence in place of the
launcher's own report. Knows nothing of training.
"""

from __future__ import annotations

import logging
import signal
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from finetune.cli.show import echo, worded
from tools.errors import SettingsError

_PLACE = Path(__file__).parents[1] / "accelerate"


def launch(
    config: Annotated[
        str,
        typer.Argument(
            help="cpu, ddp, fsdp, zero2, zero3-offload, or a file of `accelerate config`."
        ),
    ],
    command: Annotated[
        list[str], typer.Argument(help="What to do: few-shot, train, runs resume…, with its flags.")
    ],
    processes: Annotated[
        int | None,
        typer.Option(min=2, help="How many; as many as there are GPUs if not given, else two."),
    ] = None,
) -> None:
    """Train in several processes, on GPUs or on the CPU: `launch ddp many-shot SOURCE`."""
    with worded():
        path = _configuration(config)
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        several = processes or _gpus() or int(content.get("num_processes", 2))
        _check(config, content, several)
    from accelerate.commands.launch import (  # type: ignore[import-untyped]
        launch_command,
        launch_command_parser,
    )
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    # What went wrong is said by the process in which it did.
    logging.disable(logging.CRITICAL)
    arguments = ["--config_file", str(path), "--num_processes", str(several), "-m", "finetune"]
    try:
        launch_command(launch_command_parser().parse_args([*arguments, *command]))
    except ChildFailedError as failed:
        codes = {failure.local_rank: failure.exitcode for failure in failed.failures.values()}
        if codes.get(0, 0) < 0 and codes[0] != -signal.SIGTERM:  # which the launcher itself sends
            echo(f"The first process was ended by signal {-codes[0]}; `runs resume` goes on.")
        raise typer.Exit(max(codes.get(0, 1), 1)) from failed
    except SignalException as stopped:
        raise typer.Exit(128 + int(stopped.sigval)) from stopped


def _configuration(name: str) -> Path:
    shipped = _PLACE / f"{name}.yaml"
    path = shipped if shipped.is_file() else Path(name)
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in _PLACE.glob("*.yaml")))
        raise SettingsError(
            f"There is no configuration {name!r}: give {known}, or a file that `accelerate config` "
            "has written."
        )
    return path


def _check(name: str, content: dict[str, Any], several: int) -> None:
    if content.get("distributed_type") == "DEEPSPEED" and find_spec("deepspeed") is None:
        raise SettingsError(
            f"{name} needs DeepSpeed, which is not installed: `pip install deepspeed`, or choose "
            "fsdp, which needs nothing more."
        )
    if (
        not content.get("use_cpu")
        and int(content.get("num_machines", 1)) == 1
        and _gpus() < several
    ):
        there = f"this machine has {_gpus() or 'none'}"
        raise SettingsError(
            f"{name} with {several} processes needs as many GPUs, and {there}: give --processes, "
            "or choose cpu."
        )


def _gpus() -> int:
    import torch

    return int(torch.cuda.device_count())
