"""The processes that share one run: who leads, what they all agree on, what the first one tells.

`accelerate launch` (torchrun underneath) starts them and says in the environment which is which.
Alone, a process leads and agrees with itself. Knows nothing of runs or training; imports torch
only where there is more than one process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any

from tools.errors import TrainingFailed

__all__ = [
    "Lost",
    "any_of",
    "claim",
    "count",
    "engine",
    "heard",
    "join",
    "lead",
    "losing",
    "once",
    "tell",
]

_LONG = timedelta(days=30)  # the others wait while the first one measures
_LOST = ("gloo", "nccl", "connection closed by peer", "connection reset", "socket")
_SENTENCE, _CLAIMED = "imprint/sentence", "imprint/claimed"


class Lost(TrainingFailed):
    """Another process of this run has ended, and so does this one."""


def count() -> int:
    """How many there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def lead() -> bool:
    """Whether this is the first: the one that writes, measures and talks."""
    return int(os.environ.get("RANK", "0")) == 0


def engine() -> str:
    """What splits the work: ``ddp`` (or nothing does), ``fsdp`` or ``deepspeed``."""
    for name in ("fsdp", "deepspeed"):
        if os.environ.get(f"ACCELERATE_USE_{name.upper()}", "false").lower() == "true":
            return name
    return "ddp"


def join() -> None:
    """Meet the others, and take this process's GPU. Returns when all are there."""
    import torch
    from accelerate import PartialState  # type: ignore[import-untyped]

    PartialState(cpu=not torch.cuda.is_available())
    _group()


def any_of(mine: bool) -> bool:
    """Whether it is so in any process. All must ask."""
    if count() == 1:
        return mine
    import torch
    from torch import distributed

    found = torch.tensor(int(mine))
    with losing():
        distributed.all_reduce(found, distributed.ReduceOp.MAX, group=_group())
    return bool(found)


def once(act: Callable[[], None]) -> None:
    """Do it in the first process; all go on when it is done."""
    if lead():
        act()
    any_of(False)


def tell(message: Any) -> None:
    """Give ``message`` to all the others, who must listen (:func:`heard`)."""
    _broadcast(message)


def heard() -> Any:
    """What the first process tells next."""
    return _broadcast(None)


@contextmanager
def losing() -> Iterator[None]:
    """Raises :class:`Lost`, with the reason that was claimed, where the others have gone."""
    try:
        yield
    except RuntimeError as exc:
        if count() == 1 or not any(word in str(exc).lower() for word in _LOST):
            raise
        raise Lost(_said() or "Another process of this run has ended.") from exc


def claim(sentence: str) -> bool:
    """Whether it is this process that says why the run fails: the first that asks does."""
    if count() == 1:
        return True
    store = _store()
    if store.add(_CLAIMED, 1) > 1:
        return False
    store.set(_SENTENCE, sentence)
    return True


def _said() -> str:
    store = _store()
    return store.get(_SENTENCE).decode() if store.add(_CLAIMED, 0) else ""


def _broadcast(message: Any) -> Any:
    from torch import distributed

    box = [message]
    with losing():
        distributed.broadcast_object_list(box, src=0, group=_group())
    return box[0]


@cache
def _group() -> Any:
    """Beside the one that trains: on the CPU, and patient."""
    from torch import distributed

    return distributed.new_group(backend="gloo", timeout=_LONG)


@cache
def _store() -> Any:
    """Where the processes met; it outlives any of them."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    return TCPStore(host, port, is_master=False, timeout=timedelta(seconds=10))
