"""What is trained of a model, and how that alone is kept, loaded and taken off.

Knows nothing of data or loops. The vision tower is trained of an embedder only: of other models a
pattern that reaches it is an error.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from finetune.settings.schema import Role, Settings
from tools.errors import SettingsError, TrainingFailed
from tools.models.sources import Located

__all__ = ["Adapted", "Base", "Share", "adapt"]

_WEIGHTS = "weights.safetensors"
_PARTS = {
    # Before the tower, in which Qwen-VL keeps it.
    "projector": re.compile(
        r"multi_modal_projector|connector|mm_projector|merger|qformer|query_tokens"
        r"|language_projection"
    ),
    "vision tower": re.compile(r"vision_tower|vision_model|visual|image_encoder"),
    "text decoder": re.compile(r"text_decoder"),
    "language model": re.compile(r"language_model|text_model|lm_head|embed_tokens"),
}
_WRITES = ("text decoder", "language model")
_PROJECTIONS = r"(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
_OF_LAYERS = r"(q_proj|k_proj|v_proj|out_proj|fc1|fc2)"
_TARGETS: dict[Role, str] = {
    "answerer": rf".*(language_model|text_model).*\.{_PROJECTIONS}",
    "captioner": rf".*text_decoder\..*\.(query|key|value|dense)|.*language_model\..*\.{_OF_LAYERS}",
    "embedder": rf".*(text_model|vision_model)\..*\.\d+\..*\.{_OF_LAYERS}",
}
"""Where LoRA goes if the settings do not say."""


class Base(Protocol):
    """A model that is trained, and where it is from."""

    located: Located
    model: Any


@dataclass(frozen=True)
class Share:
    """How many weights of a part there are, and how many of them train."""

    part: str
    trained: int
    all: int


def adapt(base: Base, settings: Settings) -> Adapted:
    """Freeze ``base`` and make what ``settings.method`` trains ready to train.

    Raises :class:`SettingsError` where it would train nothing, or the vision tower of a model that
    is no embedder.
    """
    torch.manual_seed(settings.training.seed)
    base.model.requires_grad_(False)
    sees = settings.role == "embedder"
    if settings.method in ("lora", "qlora"):
        return Adapted(_with_lora(base, settings), base, peft=True, sees=sees)
    for name, parameter in base.model.named_parameters():
        wanted = ("projector",) if settings.method == "projector" else _WRITES
        also = settings.lora.projector_lr is not None and settings.method == "full"
        part = _part(name)
        parameter.requires_grad_(part in wanted or (also and part == "projector"))
    return Adapted(base.model, base, peft=False, sees=sees)


class Adapted:
    """A model with something to train. ``model`` is what the loop trains."""

    def __init__(self, model: Any, base: Base, *, peft: bool, sees: bool = False) -> None:
        """``sees``: its vision tower may train."""
        self.model = model
        self.base = base
        self._peft = peft
        self._names = {n for n, p in model.named_parameters() if p.requires_grad}
        reached = [n for n, p in self.trained() if _part(n) == "vision tower"]
        if reached and not sees:
            raise SettingsError(
                f"lora.targets reaches the vision tower ({reached[0]}), which is never trained "
                "with the language model; start the pattern with .*language_model.*"
            )
        if not any(True for _ in self.trained()):
            raise SettingsError(
                f"Nothing of {base.located.source} would be trained: its parts are "
                f"{', '.join(s.part for s in self.shares())}; choose another method."
            )
        # Asked now: the first weight there is says it, and that may be one that trains.
        self._dtype = base.model.dtype
        self.precise(True)
        self._start = {name: p.detach().clone() for name, p in self.trained()}
        self.precise(False)  # until it trains it is asked what it says as it is

    def trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Names and weights that train, in whichever stage."""
        return ((n, p) for n, p in self.model.named_parameters() if n in self._names)

    def groups(self, settings: Settings) -> list[dict[str, Any]]:
        """For the optimiser: one, and one for the projector where it trains beside others."""
        weights = {name: p for name, p in self.trained() if p.requires_grad}
        lr = None if settings.method == "projector" else settings.lora.projector_lr
        own = {n for n in weights if lr is not None and self.is_projector(n)}
        groups: list[dict[str, Any]] = [{"params": [p for n, p in weights.items() if n not in own]}]
        if own:
            groups.append({"params": [weights[n] for n in weights if n in own], "lr": lr})
        return groups

    def choose(self, settings: Settings) -> None:
        """Let only those of them move that ``settings``, of a stage, train."""
        projector, too = settings.method == "projector", settings.lora.projector_lr is not None
        for name, parameter in self.trained():
            own = self.is_projector(name)
            parameter.requires_grad_(own if projector else too or not own)

    def precise(self, training: bool) -> None:
        """float32 for the weights that train while they do, the model's own type afterwards.

        Small steps are lost in half precision. LoRA's matrices stay float32: PEFT converts what
        goes in and out of them.
        """
        for name, parameter in self.trained():
            if ".lora_" not in name:
                dtype = torch.float32 if training else self._dtype
                parameter.data = parameter.data.to(dtype)

    def shares(self) -> list[Share]:
        """What trains, by part of the model."""
        counts: dict[str, list[int]] = {}
        for name, parameter in self.model.named_parameters():
            if ".original_module." in name:  # PEFT's spare copy of a part that trains whole
                continue
            count = counts.setdefault(_part(name), [0, 0])
            size = _size(parameter)
            count[0] += size if parameter.requires_grad else 0
            count[1] += size
        return [Share(part, *count) for part, count in counts.items()]

    @staticmethod
    def is_projector(name: str) -> bool:
        """Whether a weight belongs to the projector itself."""
        return _part(name) == "projector" and ".lora_" not in name

    def restart(self) -> None:
        """Every trained weight as it was before training."""
        self.put(self._start)

    @contextmanager
    def without(self) -> Iterator[None]:
        """The base model, inside the block."""
        if self._peft:
            with self.model.disable_adapter():
                yield
            return
        now = {name: p.detach().clone() for name, p in self.trained()}
        self.put(self._start)
        try:
            yield
        finally:
            self.put(now)

    def save(self, folder: Path) -> None:
        """What was trained, and nothing else, in ``folder``."""
        if self._peft:
            self.model.save_pretrained(folder, safe_serialization=True)
            return
        folder.mkdir(parents=True, exist_ok=True)
        weights = {n: p.detach().cpu().contiguous() for n, p in self.trained()}
        save_file(weights, folder / _WEIGHTS)

    def load(self, folder: Path) -> None:
        """What :meth:`save` wrote. Raises :class:`TrainingFailed` if it does not fit."""
        if self._peft:
            from peft import load_peft_weights, set_peft_model_state_dict

            try:
                found = load_peft_weights(str(folder), device="cpu")
                result: Any = set_peft_model_state_dict(self.model, found)
            except (OSError, ValueError, RuntimeError) as exc:
                raise _unfit(folder, " ".join(str(exc).split())[:200]) from exc
            # What it lacks are the base model's own weights, which are not in an adapter.
            if result.unexpected_keys:
                raise _unfit(folder, f"{result.unexpected_keys[0]} is not in the model")
            return
        path = folder / _WEIGHTS
        if not path.is_file():
            raise _unfit(folder, f"{_WEIGHTS} is not there")
        self.put(load_file(path))

    def put(self, weights: dict[str, Tensor]) -> None:
        """Every trained weight, by name. Raises :class:`TrainingFailed` if they do not fit."""
        trained = dict(self.trained())
        if {n: w.shape for n, w in weights.items()} != {n: p.shape for n, p in trained.items()}:
            raise _unfit(Path(_WEIGHTS), "its weights have other names or shapes")
        with torch.no_grad():
            for name, weight in weights.items():
                trained[name].copy_(weight)


def _with_lora(base: Base, settings: Settings) -> Any:
    from peft import LoraConfig, get_peft_model

    lora = settings.lora
    targets = lora.targets or _TARGETS[settings.role]
    projector = [
        name
        for name, _ in base.model.named_modules()
        if _part(name) == "projector" and _part(name.rpartition(".")[0]) != "projector"
    ]
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets,
        modules_to_save=projector if lora.projector_lr is not None else None,
        task_type="CAUSAL_LM" if settings.role == "answerer" else None,
    )
    try:
        with warnings.catch_warnings():
            # PEFT 0.21 asks transformers 5 by an old name.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            return get_peft_model(base.model, config)
    except (ValueError, re.error) as exc:
        raise SettingsError(
            f"lora.targets {targets!r} fits no layer of {base.located.source}; give a regular "
            "expression of the full names of its linear layers that may train."
        ) from exc


def _part(name: str) -> str:
    return next((part for part, pattern in _PARTS.items() if pattern.search(name)), "other")


def _size(parameter: nn.Parameter) -> int:
    """Weights in a parameter; a 4-bit one holds two in a byte."""
    state = getattr(parameter, "quant_state", None)
    return int(torch.Size(state.shape).numel()) if state is not None else parameter.numel()


def _unfit(folder: Path, why: str) -> TrainingFailed:
    return TrainingFailed(
        f"{folder} does not fit this base model ({why}): choose the model it was trained on."
    )
