"""Every setting of a training run: one schema behind the YAML files, the flags and the run folder.

Knows nothing of data, models or files (:mod:`finetune.settings.files` reads and checks those).
"""

from __future__ import annotations

from typing import Any, Literal

import yaml
from pydantic import Field, model_validator

from finetune.settings.methods import (
    BoxSettings,
    LinearSettings,
    LoraSettings,
    MamlSettings,
    Part,
)

__all__ = [
    "CHANGING",
    "AugmentationSettings",
    "BoxSettings",
    "DataSettings",
    "EvaluationSettings",
    "LinearSettings",
    "LoraSettings",
    "MamlSettings",
    "Method",
    "ModelSettings",
    "Part",
    "PromptSettings",
    "Role",
    "Settings",
    "SpeedSettings",
    "SuitsSettings",
    "Task",
    "TrainingSettings",
]

Task = Literal["classify", "answer", "caption", "boxes"]
Role = Literal["answerer", "captioner", "embedder"]
Method = Literal["lora", "qlora", "projector", "full", "linear", "prototypes", "box", "maml"]
CHANGING: tuple[Method, ...] = ("lora", "qlora", "projector", "full")
"""The methods that change a model; the others put something of their own on the embedder."""

_METHODS: dict[Role, tuple[Method, ...]] = {"captioner": CHANGING, "embedder": ("lora",)}
"""What can be trained of a role where not everything can; a model may do with less."""


class ModelSettings(Part):
    """Which models."""

    answerer: str = Field(
        "pocket:llava", description="The vision-language model: pocket:NAME, a Hub id or a folder."
    )
    captioner: str = Field(
        "pocket:blip", description="The model that describes: a BLIP or a BLIP-2."
    )
    embedder: str = Field(
        "pocket:clip",
        description="The embedder: what `linear` and `prototypes` stand on, and what every result "
        "is compared with.",
    )


class DataSettings(Part):
    """Which pictures, and which of them are kept to measure with."""

    source: str = Field(
        "", description="A folder, a table, a .parquet file, hf:OWNER/NAME or memory:WORKSPACE."
    )
    image_column: str | None = Field(None, description="Column that names the picture's file.")
    label_column: str | None = Field(None, description="Column of the class.")
    question_column: str | None = Field(None, description="Column of the question.")
    answer_column: str | None = Field(None, description="Column of the answer.")
    reasoning_column: str | None = Field(None, description="Column of why it is that class.")
    caption_column: str | None = Field(None, description="Column of the picture's description.")
    task: Literal["auto", "classify", "answer", "caption", "boxes"] = Field(
        "auto",
        description="Name a class, answer, describe, find things, or what the columns say.",
    )
    class_names: list[str] | None = Field(None, description="Names of the classes 0, 1, 2….")
    only: list[str] | None = Field(None, description="Only these classes, by name.")
    max_samples: int | None = Field(None, ge=4, description="At most so many rows, evenly drawn.")
    shots: int | None = Field(
        None, ge=1, description="Train on so many pictures of each class; the others measure."
    )
    split: tuple[float, float, float] = Field(
        (0.8, 0.1, 0.1), description="Shares of training, validation and test pictures."
    )
    evaluation: Literal["auto", "split", "folds", "leave-one-out"] = Field(
        "auto", description="How it is measured; auto: by folds below 30 pictures, else by split."
    )
    folds: int = Field(5, ge=2, description="Folds, where it is measured by folds.")
    seed: int = Field(0, ge=0, description="Which pictures go where; --seed is training.seed too.")

    @model_validator(mode="after")
    def _shares(self) -> DataSettings:
        train, _, test = self.split
        if min(self.split) < 0 or abs(sum(self.split) - 1) > 1e-6 or not train or not test:
            raise ValueError("split must be three shares of sum 1, of training and of test above 0")
        return self


class PromptSettings(Part):
    """What the model is asked and how it answers."""

    question: str = Field(
        "what is this?",
        description="The question for pictures with a class; {classes} and {descriptions} are "
        "filled in.",
    )
    system: str = Field("", description="An instruction put before the question.")
    answer: str = Field(
        "{label}",
        description='The answer; "Reasoning: {reasoning} Answer: {label}" gives the row\'s reason '
        "first, {description} the class's.",
    )
    descriptions: dict[str, str] = Field(
        default_factory=dict,
        description="What each class looks like, by its name: {crater: a ring, ridge: a line}; "
        "else as the source says.",
    )

    @model_validator(mode="after")
    def _fields(self) -> PromptSettings:
        before, label, _ = self.answer.partition("{label}")
        if not label:
            raise ValueError("answer must contain {label}")
        reason, brace, mark = before.rpartition("}")
        if "{" in reason and brace and not any(c.isalnum() for c in mark):
            raise ValueError("answer needs a word between the reason and {label}, such as Answer:")
        return self


class AugmentationSettings(Part):
    """What is done to training pictures, each time anew. 0 is nothing."""

    crop: float = Field(0.0, ge=0, lt=0.9, description="At most this share of a side is cut off.")
    rotation: float = Field(0.0, ge=0, le=180, description="At most so many degrees, either way.")
    colour: float = Field(
        0.0, ge=0, lt=1, description="Brightness, contrast and saturation by at most this share."
    )
    noise: float = Field(0.0, ge=0, lt=1, description="Standard deviation, of a range of 0 to 1.")
    flip: bool = Field(False, description="Mirror half of them; wrong for letters and for left.")


class EvaluationSettings(Part):
    """What is tried with a trained model besides the pictures that measure it."""

    controls: bool = Field(
        True, description="Blank pictures, the adapter off, false yes, what is forgotten."
    )
    sample: int = Field(100, ge=8, description="Pictures at most that a control looks at.")


class TrainingSettings(Part):
    """The loop."""

    epochs: float = Field(10, gt=0, description="Passes over the training pictures.")
    max_steps: int | None = Field(None, ge=1, description="Stop after so many steps.")
    lr: float = Field(1e-4, gt=0, description="Highest learning rate.")
    schedule: Literal["cosine", "linear", "constant", "step"] = Field(
        "cosine", description="How it falls; step: tenfold at one half and at three quarters."
    )
    warmup: float = Field(0.0, ge=0, lt=1, description="Share of the steps in which it rises.")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's.")
    clip: float = Field(1.0, gt=0, description="Largest norm of a gradient.")
    batch: int = Field(8, ge=1, description="Pictures at once.")
    accumulation: int = Field(1, ge=1, description="Batches a step.")
    patience: int | None = Field(
        None,
        ge=1,
        description="Stop when the loss (of validation, or of training where there is none) has "
        "not fallen for so many epochs.",
    )
    save_steps: int = Field(100, ge=1, description="Steps between checkpoints.")
    max_length: int | None = Field(
        None, ge=8, description="Most tokens of a row, pictures included; longer ones are errors."
    )
    seed: int = Field(0, ge=0, description="Of the weights and the order.")
    checkpointing: bool | Literal["auto"] = Field(
        "auto", description="Recompute activations to save memory; auto: where it must be."
    )
    check_memory: bool = Field(
        True, description="Refuse what the forecast says does not fit into memory."
    )
    report_to: list[Literal["tensorboard", "wandb", "trackio"]] = Field(
        default_factory=list, description="Where else the curves go."
    )


class SpeedSettings(Part):
    """What is left out or done once. Nothing here changes what is learned, but for `views`."""

    cache: bool = Field(
        True, description="Keep on disk what a frozen vision tower makes of each picture."
    )
    cache_gb: float = Field(8, gt=0, description="Disk it takes at most, in GB, over all runs.")
    views: int = Field(
        4, ge=0, description="So many augmented views of each picture; 0: a new one every epoch."
    )
    grouping: bool = Field(True, description="Rows of like length together: less padding.")
    supervised_only: bool = Field(
        True, description="Compute at the end of the model only what the answer's tokens need."
    )
    fused_lora: bool = Field(True, description="Compute LoRA in one step, where it is plain.")
    one_tile: bool = Field(
        True, description="A picture whole, as the assistant looks at it, not cut into tiles."
    )
    find_batch: bool = Field(
        True, description="A batch too large for the GPU: halve it and accumulate twice as many."
    )
    dequantise: bool = Field(
        True, description="qlora: unpack the 4-bit weights once where there is memory for it."
    )


class SuitsSettings(Part):
    """What a strategy is for and what it takes, which `strategies` tells; no training reads it."""

    tasks: list[Task] = Field(default_factory=list, description="What it can learn.")
    examples: tuple[int, int] = Field(
        (1, 100_000), description="Pictures of each class, or rows without classes: from, to."
    )
    memory_gb: float = Field(0, ge=0, description="Memory at its peak, of what it trains on.")
    download_gb: float = Field(0, ge=0, description="What its models take on the disk.")
    teraflops: float = Field(
        0, ge=0, description="10¹² operations of one picture in one pass; the time follows."
    )


class Settings(Part):
    """A whole run; also what a strategy file holds."""

    description: str = Field("", description="What it is for, in a sentence.")
    needs_gpu_gb: float = Field(0, ge=0, description="GPU memory it needs; 0: runs on a CPU.")
    suits: SuitsSettings = SuitsSettings()
    role: Role = Field("answerer", description="Whose model is trained.")
    method: Method = Field("lora", description="What is trained.")
    model: ModelSettings = ModelSettings()
    data: DataSettings = DataSettings()
    prompt: PromptSettings = PromptSettings()
    lora: LoraSettings = LoraSettings()
    linear: LinearSettings = LinearSettings()
    box: BoxSettings = BoxSettings()
    maml: MamlSettings = MamlSettings()
    augmentation: AugmentationSettings = AugmentationSettings()
    training: TrainingSettings = TrainingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    speed: SpeedSettings = SpeedSettings()
    stages: list[dict[str, Any]] = Field(
        default_factory=list,
        description="Trainings one after another, each on what the one before learned: {name: "
        "align, method: projector, training: {epochs: 1}}; the rest is as above.",
    )

    @model_validator(mode="after")
    def _methods_of_role(self) -> Settings:
        known = _METHODS.get(self.role, (self.method,))
        if self.method not in known:
            raise ValueError(
                f"role {self.role} is trained by {' or '.join(known)}, not by {self.method}"
            )
        return self

    @model_validator(mode="after")
    def _boxes(self) -> Settings:
        if self.method == "box" and self.data.task != "boxes":
            raise ValueError("method box learns from boxes: set data.task to boxes (--task boxes)")
        return self

    @property
    def base_model(self) -> str:
        """Where the model that is trained comes from."""
        role = "embedder" if self.uses_embedder else self.role
        return str(getattr(self.model, role))

    @property
    def uses_embedder(self) -> bool:
        """Whether something is put on the embedder, rather than a model changed."""
        return self.method not in CHANGING

    @property
    def changes_answerer(self) -> bool:
        """Whether the answerer itself is trained: it can be asked anything, before and after."""
        return self.role == "answerer" and not self.uses_embedder

    def yaml(self) -> str:
        """All of it, as a file that `train --config` reads."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
