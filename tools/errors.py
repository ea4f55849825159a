"""Every failure Imprint expects, as one tree. Each message says what, why and what to do.

    ImprintError
    ├── SettingsError            a setting, flag or environment variable is wrong
    ├── PhotoError               what was given is not a picture that can be used
    ├── ModelError
    │   ├── ModelMissing         its weights are not on this machine
    │   └── ModelFailed          it is there, and cannot be loaded or run
    ├── BrainFailed              the language model did not answer, or not usably
    ├── MemoryFailed
    │   ├── MemoryInUse          another process owns this folder
    │   └── MemoryDamaged        the journal cannot be read
    ├── TrainingError
    │   ├── DataError            a source of pictures cannot be trained on
    │   └── TrainingFailed       a training run, or what it left, cannot be used or gone on with
    └── ToolError                a tool cannot do what was asked
        ├── NoPhoto              it needs a picture and there is none
        ├── BadLabel             a text that cannot be the name of a label
        ├── UnknownLabel         no label of that name
        ├── BadPack              a file that cannot be taken in as a pack
        └── BadCall              unknown tool, unknown or malformed argument

Knows nothing of who words them: the agent, the terminal and the page show ``str(error)``.
Anything that is not an ImprintError is a bug, and is not caught below the edges.
"""

__all__ = [
    "BadCall",
    "BadLabel",
    "BadPack",
    "BrainFailed",
    "DataError",
    "ImprintError",
    "MemoryDamaged",
    "MemoryFailed",
    "MemoryInUse",
    "ModelError",
    "ModelFailed",
    "ModelMissing",
    "NoPhoto",
    "PhotoError",
    "SettingsError",
    "ToolError",
    "TrainingError",
    "TrainingFailed",
    "UnknownLabel",
]


class ImprintError(Exception):
    """An expected failure; its text is one sentence for a person."""


class SettingsError(ImprintError):
    """A setting, flag or environment variable is wrong."""


class PhotoError(ImprintError):
    """What was given is not a picture that can be used."""


class ModelError(ImprintError):
    """A model cannot be used."""


class ModelMissing(ModelError):
    """The model's weights are not on this machine."""


class ModelFailed(ModelError):
    """The model is there, and cannot be loaded or run."""


class BrainFailed(ImprintError):
    """The language model did not answer, or not usably.

    Made of the reason alone: a clause, without a full stop.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"The language model did not answer ({reason}).")


class MemoryFailed(ImprintError):
    """What was taught cannot be read or written."""


class MemoryInUse(MemoryFailed):
    """Another process owns this memory folder."""


class MemoryDamaged(MemoryFailed):
    """The journal cannot be read."""


class TrainingError(ImprintError):
    """Something cannot be trained."""


class DataError(TrainingError):
    """A source of pictures cannot be trained on."""


class TrainingFailed(TrainingError):
    """A training run, or what it left, cannot be used or gone on with."""


class ToolError(ImprintError):
    """A tool cannot do what was asked."""


class NoPhoto(ToolError):
    """The tool needs a picture and there is none."""


class BadLabel(ToolError):
    """A text that cannot be the name of a label."""


class UnknownLabel(ToolError):
    """No label of that name has been taught."""


class BadPack(ToolError):
    """A file that cannot be taken in as a pack."""


class BadCall(ToolError):
    """An unknown tool, or an unknown or malformed argument."""
