"""What each method of training has of its own to set; and what every block of settings is.

Knows nothing of data, models or files.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["BoxSettings", "LinearSettings", "LoraSettings", "MamlSettings", "Part"]


class Part(BaseModel):
    """One block of settings: unknown keys are errors, and nothing changes once it is checked."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LoraSettings(Part):
    """Low-rank adapters (Hu et al. 2022)."""

    rank: int = Field(8, ge=1, le=512, description="r: the adapters' rank.")
    alpha: int = Field(16, ge=1, description="The adapters' weight is alpha / rank.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of inputs left out in training.")
    targets: str | None = Field(
        None,
        description="Regular expression of the layers that get one; null: the language model's, "
        "of an embedder those of both towers.",
    )
    projector_lr: float | None = Field(
        None, gt=0, description="Train the projector too, at this learning rate."
    )


class LinearSettings(Part):
    """A linear head on the embedder."""

    unfreeze_layers: int = Field(
        0, ge=0, description="Last layers of its vision tower that are trained too, one by one."
    )
    unfreeze_every: int = Field(1, ge=1, description="Epochs until the next layer joins in.")
    tower_lr: float = Field(1e-5, gt=0, description="Learning rate of those layers.")


class BoxSettings(Part):
    """A head that finds things, on the patches of the embedder."""

    width: int = Field(128, ge=8, multiple_of=4, description="Its width.")
    layers: int = Field(1, ge=1, description="Its layers, in which patches see one another.")


class MamlSettings(Part):
    """An initialisation that adapts in a few steps (Finn et al. 2017), learned in episodes."""

    ways: int = Field(5, ge=2, description="Labels in an episode.")
    shots: int = Field(1, ge=1, description="Pictures of each label to adapt to.")
    queries: int = Field(5, ge=1, description="Pictures of each label, at most, to be judged by.")
    rank: int = Field(32, ge=1, description="Rank of the layer put on the embedder's vectors.")
    inner_steps: int = Field(5, ge=1, description="Steps of adapting.")
    inner_lr: float = Field(0.05, gt=0, description="Their learning rate.")
    episodes: int = Field(200, ge=1, description="Episodes that are called an epoch.")
