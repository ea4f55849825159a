"""What the models run on: a device and a dtype, each with the reason it was chosen.

Knows nothing of models. Imports torch only when asked; threads stay at torch's default.
"""

from dataclasses import dataclass
from typing import Any

__all__ = ["Hardware", "choose_hardware", "gpu_gigabytes"]


@dataclass(frozen=True)
class Hardware:
    """``device`` as torch names it (``cuda``, ``mps``, ``cpu``), ``dtype`` by name, and why."""

    device: str
    dtype: str
    reason: str

    @property
    def torch_dtype(self) -> Any:
        """The ``torch.dtype`` that ``dtype`` names."""
        import torch

        return getattr(torch, self.dtype)

    @property
    def words(self) -> str:
        """For the line that says which models run."""
        return {"cuda": "the GPU", "mps": "Apple's GPU"}.get(self.device, "the CPU")


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
    # Measured: CLIP ViT-B/32, batch 1; without AMX bfloat16 is many times slower.
    return Hardware("cpu", "float32", "float32: on a CPU one picture gains nothing from bfloat16")


def gpu_gigabytes() -> float:
    """Memory of the first CUDA GPU in GB (10⁹ bytes), 0 without one."""
    import torch

    if not torch.cuda.is_available():
        return 0.0
    return float(torch.cuda.get_device_properties(0).total_memory / 1e9)
