"""What the models run on: a device, a dtype and a number of threads, each with its reason.

Knows nothing of models but their size. Imports torch only when asked.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from tools.errors import ModelFailed

__all__ = ["Hardware", "choose_hardware", "choose_threads", "gpu_gigabytes", "inference"]

_SMALL = 50_000_000  # parameters
_SMALL_BYTES = 4 * _SMALL


@dataclass(frozen=True)
class Hardware:
    """``device`` as torch names it (``cuda``, ``mps``, ``cpu``), ``dtype`` by name, and why."""

    device: str
    dtype: str
    reason: str

    def for_vectors(self) -> "Hardware":
        """For a model whose output is stored and compared."""
        if self.device == "cuda":
            return Hardware("cuda", "float16", "float16: three digits of a vector, bfloat16 two")
        return Hardware(self.device, "float32", "float32: its vectors are stored and compared")

    def for_size(self, weights: int) -> "Hardware":
        """For a model of so many bytes of ``weights``."""
        if self.device == "cpu" and weights < _SMALL_BYTES and self.dtype != "float32":
            return Hardware("cpu", "float32", "float32: a model this small gains nothing by less")
        return self

    @property
    def torch_dtype(self) -> Any:
        """The ``torch.dtype`` that ``dtype`` names."""
        import torch

        return getattr(torch, self.dtype)


def choose_hardware() -> Hardware:
    """The GPU when there is one, else the CPU."""
    import torch

    if torch.cuda.is_available():
        name = torch.cuda.get_device_name(0)
        if torch.cuda.get_device_capability(0) >= (8, 0):
            return Hardware("cuda", "bfloat16", f"bfloat16: {name} computes in it")
        return Hardware("cuda", "float16", f"float16: {name} has no bfloat16 arithmetic")
    if torch.backends.mps.is_available():
        return Hardware("mps", "float32", "float32: every operation exists in it on Apple's GPU")
    # Measured with a SmolVLM-500M: twice as fast per token, and twice for the picture. Without
    # these instructions bfloat16 is many times slower than float32.
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    for name, words in (("amx_bf16", "AMX"), ("avx512_bf16", "AVX512-BF16")):
        if capabilities.get(name):
            return Hardware("cpu", "bfloat16", f"bfloat16: this CPU has {words}")
    return Hardware("cpu", "float32", "float32: this CPU has no bfloat16 arithmetic")


def choose_threads(model: Any) -> int:
    """CPU threads for ``model``: one for a small model on a CPU, else torch's own choice.

    Measured on two cores with a 6-layer, 192-wide tower at 64 px: 6 ms on one thread; on two,
    14 ms and up to 1 s as soon as anything else runs, because threads that wait for each other
    after every layer wait for the scheduler.
    """
    small = sum(parameter.numel() for parameter in model.parameters()) < _SMALL
    return 1 if small and model.device.type == "cpu" else _default_threads()


@contextmanager
def inference(threads: int) -> Iterator[None]:
    """No gradients, and ``threads`` CPU threads for what this thread computes inside."""
    import torch

    # The setting belongs to the calling thread (OpenMP), so lanes do not disturb each other.
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            yield
    except torch.OutOfMemoryError as exc:
        raise ModelFailed(
            "The GPU has no memory left for this: close what else uses it, or run a smaller "
            "profile (--profile small)."
        ) from exc
    finally:
        torch.set_num_threads(before)


def gpu_gigabytes() -> float:
    """Memory of the first CUDA GPU in GB (10⁹ bytes), 0 without one."""
    import torch

    if not torch.cuda.is_available():
        return 0.0
    return float(torch.cuda.get_device_properties(0).total_memory / 1e9)


@cache
def _default_threads() -> int:
    import torch

    # Asked once, when the first model is loaded: a thread that is new while another one
    # computes on one thread would start from that.
    return int(torch.get_num_threads())
