"""What the methods that stand on the embedder have in common: it, its facts, and names alone.

Knows nothing of what is learned on it: see :mod:`finetune.learners.linear` and
:mod:`finetune.learners.prototypes`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from finetune.data import Row
from finetune.evaluation.predictions import Prediction
from finetune.files import write_json
from finetune.learners.exemplars import open_sight, zero_shot
from finetune.learners.learner import base_facts
from finetune.settings.schema import Settings
from tools.config import ModelChoice
from tools.errors import SettingsError
from tools.models.sources import locate

__all__ = ["OnEmbedder", "with_weights"]


class OnEmbedder:
    """The part of a :class:`finetune.learners.learner.Learner` of classes that does not learn."""

    base_name = "names alone"

    def __init__(self, settings: Settings, classes: Sequence[str]) -> None:
        """Raises :class:`SettingsError` for rows that have no classes."""
        if not classes:
            raise SettingsError(
                f"method: {settings.method} names classes, and {settings.data.source} has "
                "questions and answers; choose lora, qlora, projector or full."
            )
        self.settings = settings
        self.classes = tuple(classes)
        self.located = locate(ModelChoice(settings.model.embedder))
        self.sight = open_sight(settings)

    def describe(self) -> dict[str, Any]:
        """What the report and the manifest say of the embedder."""
        return {
            **base_facts(self.settings, self.located),
            "precision": "float32",
            "trained": [],
        }

    def by_names(self, rows: Sequence[Row]) -> list[Prediction]:
        """What the embedder says before anything is learned."""
        return zero_shot(self.sight, self.classes, rows)

    def keep(self, file: Path, weights: Mapping[str, Tensor]) -> None:
        """Writes what was learned, and beside it the classes in the order that it counts them."""
        save_file({n: w.detach().cpu().contiguous() for n, w in weights.items()}, file)
        write_json(file.with_name("classes.json"), list(self.classes))


@contextmanager
def with_weights(module: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """``module`` with other weights for a while, of the same names and shapes."""
    own = {name: weight.clone() for name, weight in module.state_dict().items()}
    module.load_state_dict(weights)
    try:
        yield
    finally:
        module.load_state_dict(own)
