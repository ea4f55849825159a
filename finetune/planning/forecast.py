"""How much memory a training will take at its peak, told before anything is loaded.

The weights are counted from the headers of their files, what trains from the model's shape, and a
step is rehearsed without numbers (:mod:`finetune.planning.rehearsal`). Knows nothing of what the
machine has, but to refuse what can't fit into it (:func:`check_memory`), and of the models only
who can tell: :mod:`finetune.planning.answerer`, :mod:`finetune.planning.pairs` and
:mod:`finetune.planning.frozen`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from math import prod
from typing import Any

from finetune.data import Row
from finetune.planning.machine import free_memory
from finetune.settings.schema import Settings
from tools.errors import SettingsError
from tools.models.hardware import Hardware
from tools.models.quantizing import import_bitsandbytes
from tools.models.sources import Located

__all__ = [
    "Forecast",
    "check_memory",
    "forecast",
    "mapped",
    "parameters_of",
    "planned",
]

_PROCESS = 650_000_000
"""Bytes of Python with torch, transformers, PEFT and the Trainer imported, measured on Linux."""
_TYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
"""As safetensors calls them."""
_GPU_PROCESS = 600_000_000
"""Bytes of a CUDA context with cuBLAS."""


@dataclass(frozen=True)
class Forecast:
    """Bytes at the peak, by what holds them, on ``device``."""

    device: str
    precision: str
    batch: int
    tokens: int
    """Of the longest row, its picture's among them, or of the longest text beside a picture; 0
    where nothing is read."""
    shown: str
    """What a batch is, in words."""
    trained: int
    """Weights that train."""
    process: int
    weights: int
    """In the precision they have while they train."""
    learning: int
    """float32 masters of what trains, Adam's two moments, and the copy it starts again from."""
    step: int
    """Gradients, activations and logits of a batch, at their most."""
    loading: int
    """The files of the weights, as far as they are in memory beside what is made of them."""

    @classmethod
    def of(
        cls, located: Located, hardware: Hardware, settings: Settings, *, trained: int, **sizes: Any
    ) -> Forecast:
        """With what follows from the model's files, the device and what trains; ``step`` in
        ``sizes`` is as if nothing had a higher precision while it trains."""
        on_gpu, size = hardware.device == "cuda", hardware.torch_dtype.itemsize
        masters = 4 * trained if settings.method in ("lora", "qlora") else (4 - size) * trained
        sizes["step"] += (4 - size) * trained
        return cls(
            device=hardware.device,
            precision="nf4" if settings.method == "qlora" else hardware.dtype,
            batch=settings.training.batch,
            trained=trained,
            process=_GPU_PROCESS if on_gpu else _PROCESS,
            learning=masters + (8 + 4) * trained,
            loading=0
            if on_gpu or mapped(located, hardware)
            else sum(path.stat().st_size for path in located.weights),
            **sizes,
        )

    @property
    def peak(self) -> int:
        """Bytes when most is held: while it is loaded, or while it trains."""
        return self.process + self.weights + max(self.loading, self.learning + self.step)

    @property
    def words(self) -> str:
        """It, in a line."""
        parts = {
            "process": self.process,
            "weights": self.weights,
            "what is learned": self.learning,
            "a batch": self.step,
        }
        shown = ", ".join(f"{name} {_gb(size)}" for name, size in parts.items())
        where = "GPU memory" if self.device == "cuda" else "memory"
        return f"about {_gb(self.peak)} GB of {where} at the peak: {shown} ({self.shown})"

    def to_json(self) -> dict[str, Any]:
        """For the run's folder."""
        return {**asdict(self), "peak": self.peak}


def forecast(settings: Settings, rows: Sequence[Row]) -> Forecast | None:
    """What training on ``rows`` will take; None for what is not forecast.

    Raises what is wrong with the model's files, and with the settings of what trains.
    """
    if find_spec("bitsandbytes") is not None:
        import_bitsandbytes()  # before the Trainer does
    # Here, for they import torch.
    from finetune.planning.answerer import of_answerer
    from finetune.planning.frozen import of_frozen
    from finetune.planning.pairs import of_pairs

    few = min(settings.training.batch, len(rows))
    training = settings.training.model_copy(update={"batch": few})
    settings = settings.model_copy(update={"training": training})
    if settings.uses_embedder:
        return of_frozen(settings, rows)
    return (of_answerer if settings.role == "answerer" else of_pairs)(settings, rows)


def parameters_of(located: Located) -> dict[str, int]:
    """Name → number of every weight, from the headers of the safetensors files alone."""
    return {name: prod(entry["shape"]) for name, entry in _entries(located).items()}


def mapped(located: Located, hardware: Hardware) -> bool:
    """Whether the weights are the files' own pages, in memory once something has touched them.

    So they are on a CPU that computes in the type of the files; else all are read and converted.
    """
    kinds = {entry["dtype"] for entry in _entries(located).values()} & set(_TYPES.values())
    return hardware.device == "cpu" and kinds == {_TYPES[hardware.dtype]}


def _entries(located: Located) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for path in located.weights:
        if path.suffix == ".safetensors":
            with path.open("rb") as file:
                header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
            header.pop("__metadata__", None)
            found |= header
    return found


def planned(settings: Settings, rows: Sequence[Row]) -> tuple[Settings, Forecast | None]:
    """``settings`` with ``checkpointing: auto`` decided, and what they take.

    Activations are recomputed only where the run does not fit into this machine otherwise.
    """
    plain = _checkpointing(settings, on=False)
    if settings.training.checkpointing != "auto":
        return settings, forecast(settings, rows)
    found = forecast(plain, rows)
    if found is None or _fits(found):
        return plain, found
    saving = _checkpointing(settings, on=True)
    return saving, forecast(saving, rows)


def _checkpointing(settings: Settings, *, on: bool) -> Settings:
    training = settings.training.model_copy(update={"checkpointing": on})
    return settings.model_copy(update={"training": training})


def _fits(found: Forecast) -> bool:
    free = free_memory(found.device)
    return not free or found.peak <= free


def check_memory(found: Forecast, settings: Settings) -> None:
    """Raises :class:`SettingsError` with the numbers if it can't fit into this machine."""
    if _fits(found):
        return
    training = settings.training
    advice = {
        "lower training.batch and raise training.accumulation by as much": training.batch > 1,
        "set training.checkpointing": training.checkpointing is not True,
        "use the method lora": settings.role != "answerer" and settings.method != "lora",
        "use the method qlora": settings.role == "answerer" and settings.method != "qlora",
    }
    ways = ", ".join(way for way, open_ in advice.items() if open_)
    raise SettingsError(
        f"This training would take {found.words}, and {_gb(free_memory(found.device))} GB are "
        f"free: {ways}{', or ' * bool(ways)}choose a smaller model (`strategies recommend`); "
        "`--set training.check_memory=false` goes on anyway."
    )


def _gb(size: int) -> str:
    return f"{size / 1e9:.2g}" if size < 1e9 else f"{size / 1e9:.1f}"
