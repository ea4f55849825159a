"""What this machine has to train with: its GPU, memory, cores, and how fast it multiplies.

Knows nothing of models.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from tools.models.hardware import choose_hardware, gpu_gigabytes

__all__ = ["Machine", "free_memory", "look_at_machine"]

_CGROUP = Path("/sys/fs/cgroup")
_SIDE = 1024  # of the matrices that time a multiplication
_SECONDS = 0.2


@dataclass(frozen=True)
class Machine:
    """Memory in GB (10⁹ bytes), all of it and what is free; 0 where it is not known."""

    gpu: str
    """Its name; empty without one that trains."""
    gpu_gb: float
    gpu_free_gb: float
    memory_gb: float
    memory_free_gb: float
    cores: int
    dtype: str
    reason: str
    teraflops: float
    """10¹² multiplications and additions a second, measured on square matrices."""

    @property
    def trains_in_gb(self) -> float:
        """Free memory of what it would train on."""
        return self.gpu_free_gb if self.gpu else self.memory_free_gb

    @property
    def words(self) -> str:
        """It, in a line."""
        gpu = f"{self.gpu} with {self.gpu_free_gb:.1f} of {self.gpu_gb:.1f} GB free"
        return (
            f"{gpu if self.gpu else 'no GPU'}; {self.cores} CPU cores, "
            f"{self.memory_free_gb:.1f} of {self.memory_gb:.1f} GB of memory free; {self.reason}; "
            f"{self.teraflops:.2g} TFLOP/s"
        )


def look_at_machine() -> Machine:
    """What is there now; takes a fraction of a second."""
    import torch

    hardware = choose_hardware()
    on_gpu = hardware.device == "cuda"
    return Machine(
        gpu=torch.cuda.get_device_name(0) if on_gpu else "",
        gpu_gb=gpu_gigabytes(),
        gpu_free_gb=free_memory("cuda") / 1e9 if on_gpu else 0.0,
        memory_gb=_memory() / 1e9,
        memory_free_gb=free_memory("cpu") / 1e9,
        cores=_cores(),
        dtype=hardware.dtype,
        reason=hardware.reason,
        teraflops=_teraflops(hardware.device, hardware.torch_dtype),
    )


def free_memory(device: str) -> int:
    """Bytes that can still be had on ``device``; 0 where nobody tells."""
    if device == "cuda":
        import torch

        return int(torch.cuda.mem_get_info()[0])
    if device != "cpu":
        return 0
    free = [_line("/proc/meminfo", "MemAvailable:") * 1024]
    limit, used = _number(_CGROUP / "memory.max"), _number(_CGROUP / "memory.current")
    if limit:  # a container's; what it has of files in memory can be had back
        held = _line(str(_CGROUP / "memory.stat"), "inactive_file")
        free.append(max(0, limit - used + held))
    return min((f for f in free if f), default=0)


def _memory() -> int:
    """All of the memory, a container's limit where it is less."""
    everything = _line("/proc/meminfo", "MemTotal:") * 1024
    if not everything and "SC_PHYS_PAGES" in os.sysconf_names:
        everything = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = _number(_CGROUP / "memory.max")
    return min((m for m in (everything, limit) if m), default=0)


def _cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _teraflops(device: str, dtype: object) -> float:
    import torch

    matrix = torch.ones(_SIDE, _SIDE, device=device, dtype=dtype)  # type: ignore[call-overload]
    wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    best, end = float("inf"), time.perf_counter() + _SECONDS
    while best == float("inf") or time.perf_counter() < end:
        began = time.perf_counter()
        matrix @ matrix
        wait()
        best = min(best, time.perf_counter() - began)  # of what else runs, as little as can be
    return 2.0 * _SIDE**3 / best / 1e12


def _line(path: str, key: str) -> int:
    """The number behind ``key`` in a file of lines; 0 where there is none."""
    try:
        for line in Path(path).read_text(encoding="ascii").splitlines():
            if line.split()[:1] == [key]:
                return int(line.split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return 0


def _number(path: Path) -> int:
    """The number in a file; 0 where there is none (``max``: no limit)."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0
