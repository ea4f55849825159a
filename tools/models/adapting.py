"""The weights of an adapter on a model: beside its own, acting only when asked, or for good.

Knows nothing of which adapter is in use, nor of locks.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from tools.errors import TrainingFailed
from tools.models.quantizing import kept_packed
from tools.models.sources import Located
from tools.shelf import Adapter

__all__ = ["Loaded", "load_adapter", "merge_adapter"]

_LORA = "adapter_model.safetensors"
_WEIGHTS = "weights.safetensors"


class Loaded(ABC):
    """An adapter beside a model's own weights, which are those that act."""

    def __init__(self, adapter: Adapter) -> None:
        self.adapter = adapter

    @abstractmethod
    def on(self) -> AbstractContextManager[None]:
        """Inside it the adapter acts."""

    @abstractmethod
    def remove(self) -> None:
        """Leave the model as it was."""

    @abstractmethod
    def merge(self) -> None:
        """Make the model's own weights what the adapter makes of them, for good."""


def load_adapter(model: Any, adapter: Adapter) -> Loaded:
    """Put ``adapter`` beside the weights of ``model``.

    Raises :class:`TrainingFailed` if it does not fit; then the model is as it was.
    """
    if (adapter.folder / _WEIGHTS).is_file():
        return _Whole(model, adapter)
    if (adapter.folder / _LORA).is_file():
        return _Lora(model, adapter)
    raise TrainingFailed(
        f"The adapter {adapter.name} has neither {_LORA} nor {_WEIGHTS}, so no model can use it: "
        "train with lora, qlora, projector or full."
    )


def merge_adapter(model: Any, adapter: Adapter, located: Located) -> None:
    """Put ``adapter`` into the weights of ``model``, which came from ``located``, for good.

    Raises :class:`TrainingFailed` if it was trained on another model or does not fit.
    """
    if adapter.base_id != located.id():
        raise TrainingFailed(
            f"The adapter {adapter.name} was trained on {adapter.base_model} ({adapter.base_id}), "
            f"and the {adapter.role} that runs is {located.source} ({located.id()}): start Imprint "
            "with that model, or train again with this one."
        )
    load_adapter(model, adapter).merge()


class _Lora(Loaded):
    def __init__(self, model: Any, adapter: Adapter) -> None:
        super().__init__(adapter)
        from peft import PeftConfig, get_peft_model, load_peft_weights, set_peft_model_state_dict
        from safetensors import SafetensorError

        folder = str(adapter.folder)
        try:
            with warnings.catch_warnings():
                # PEFT 0.21 asks transformers 5 by an old name.
                warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
                config = PeftConfig.from_pretrained(folder, local_files_only=True)
                config.inference_mode = True
                self._peft: Any = get_peft_model(model, config)
        except (OSError, ValueError, LookupError, TypeError) as exc:
            raise _unfit(adapter, exc) from exc
        try:
            weights = load_peft_weights(folder, device="cpu")
            with kept_packed(model):
                result: Any = set_peft_model_state_dict(self._peft, weights)
            if result.unexpected_keys:
                raise ValueError(f"{result.unexpected_keys[0]} is not in the model")
        except (OSError, ValueError, LookupError, RuntimeError, SafetensorError) as exc:
            self.remove()
            raise _unfit(adapter, exc) from exc
        self._peft.requires_grad_(False)
        self._peft.eval()
        self._peft.base_model.disable_adapter_layers()

    @contextmanager
    def on(self) -> Iterator[None]:
        self._peft.base_model.enable_adapter_layers()
        try:
            yield
        finally:
            self._peft.base_model.disable_adapter_layers()

    def remove(self) -> None:
        # Deleted first: what is unloaded with an adapter leaves its copies of whole parts behind.
        self._peft.delete_adapter("default")
        self._peft.unload()

    def merge(self) -> None:
        self._peft.base_model.enable_adapter_layers()
        self._peft.merge_and_unload()


class _Whole(Loaded):
    """Weights in the place of the model's own: of its projector, or of its language model."""

    def __init__(self, model: Any, adapter: Adapter) -> None:
        super().__init__(adapter)
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        own = dict(model.named_parameters())
        try:
            found = load_file(adapter.folder / _WEIGHTS)
            self._pairs = [(own[name], weight) for name, weight in found.items()]
            for parameter, weight in self._pairs:
                if parameter.shape != weight.shape:
                    raise ValueError(f"a weight of shape {tuple(weight.shape)}")
        except (OSError, ValueError, LookupError, SafetensorError) as exc:
            raise _unfit(adapter, exc) from exc
        self._pairs = [(p, w.to(p.device, p.dtype)) for p, w in self._pairs]

    @contextmanager
    def on(self) -> Iterator[None]:
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def remove(self) -> None:
        self._pairs = []  # outside `on` the model's own weights are in place

    def merge(self) -> None:
        self._exchange()
        self._pairs = []

    def _exchange(self) -> None:
        # Nothing is copied: the two tensors change places.
        swapped = []
        for parameter, other in self._pairs:
            mine = parameter.data
            parameter.data = other
            swapped.append((parameter, mine))
        self._pairs = swapped


def _unfit(adapter: Adapter, exc: Exception) -> TrainingFailed:
    why = " ".join(str(exc).split())[:160] or type(exc).__name__
    return TrainingFailed(
        f"The adapter {adapter.name} does not fit the {adapter.role} that runs ({why}): train it "
        "again."
    )
