"""Where things are and which models run: settings of the tools layer, resolved in one place.

Knows nothing of servers or conversations (:mod:`assistant.settings`). The environment is read
here (``IMPRINT_*``) and nowhere else below ``assistant``; what a caller passes wins over it.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import platformdirs
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from tools.errors import SettingsError

__all__ = ["PROFILES", "Config", "ModelChoice", "Profile", "ProfileName", "explain", "load_config"]

ProfileName = Literal["auto", "pocket", "small", "full"]


@dataclass(frozen=True)
class ModelChoice:
    """One model of a profile: where it comes from and how it is loaded.

    ``source`` is ``pocket:clip|blip|llava``, a Hub id (``owner/name`` or ``owner/name@revision``)
    or a folder; ``gigabytes`` is the download, for the message when it is missing (0: not known);
    ``quantize`` loads the linear layers of its language model in 4-bit NF4.
    """

    source: str
    gigabytes: float = 0.0
    quantize: bool = False

    @property
    def parts(self) -> tuple["ModelChoice", ...]:
        """The model itself, or the two that a ``+`` joins: one that reads, one that only sees."""
        if "+" not in self.source or Path(self.source).expanduser().exists():
            return (self,)
        return tuple(replace(self, source=part.strip()) for part in self.source.split("+", 1))


@dataclass(frozen=True)
class Profile:
    """Which models run, and in words."""

    embedder: ModelChoice
    captioner: ModelChoice
    answerer: ModelChoice
    words: str


PROFILES: dict[str, Profile] = {
    "pocket": Profile(
        ModelChoice("pocket:clip"),
        ModelChoice("pocket:blip"),
        ModelChoice("pocket:llava"),
        "pocket models: drawings, icons, shapes, garments and characters",
    ),
    "small": Profile(
        ModelChoice("openai/clip-vit-base-patch32", 0.6),
        ModelChoice("Salesforce/blip-image-captioning-base", 1.0),
        ModelChoice("HuggingFaceTB/SmolVLM-500M-Instruct", 1.0),
        "CLIP ViT-B/32, BLIP base and SmolVLM-500M",
    ),
    "full": Profile(
        ModelChoice("openai/clip-vit-large-patch14", 1.7),
        ModelChoice("Salesforce/blip-image-captioning-large", 1.9),
        ModelChoice("llava-hf/llava-1.5-7b-hf", 14.1, quantize=True),
        "CLIP ViT-L/14, BLIP large and LLaVA-1.5-7B in 4 bits",
    ),
}


class Config(BaseSettings):
    """Settings of the tools layer. Unknown names are errors."""

    model_config = SettingsConfigDict(
        env_prefix="IMPRINT_", frozen=True, extra="forbid", env_ignore_empty=True
    )

    home: Path = Field(
        default_factory=lambda: platformdirs.user_data_path("imprint", appauthor=False),
        description="Folder of everything Imprint keeps: memory, conversations, runs, adapters.",
    )
    workspace: str = Field(
        default="default",
        pattern=r"^[a-z0-9][a-z0-9-]{0,40}$",
        description="Whose memory: 1–41 characters of a–z, 0–9 and '-'.",
    )
    profile: ProfileName = Field(
        default="auto",
        description="Which models run: pocket, small, full, or auto (the best one that is here).",
    )
    embedder: str | None = Field(
        default=None,
        description="Hub id or folder that replaces the profile's embedder; "
        "two joined by + add one that only sees pictures (DINOv2, DINOv3, ViT).",
    )
    captioner: str | None = Field(
        default=None, description="Hub id or folder that replaces the profile's captioner."
    )
    answerer: str | None = Field(
        default=None, description="Hub id or folder that replaces the profile's answerer."
    )
    quantize: bool | None = Field(
        default=None, description="Load the answerer in 4-bit NF4 (default: as the profile says)."
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="SQLAlchemy URL of the journal; default a SQLite file per workspace.",
    )
    chroma_url: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="http(s) address of a Chroma server; default embedded, in the home folder.",
    )

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()

    @property
    def memory_folder(self) -> Path:
        """Journal, photos and conversations of the workspace."""
        return self.home / "memory" / self.workspace

    @property
    def chroma_folder(self) -> Path:
        """The embedded Chroma store, shared by the workspaces."""
        return self.home / "memory" / "chroma"

    @property
    def cache_folder(self) -> Path:
        """What was computed and can be computed again."""
        return self.home / "cache"

    def choices(self, profile: str) -> Profile:
        """The models of ``profile`` with this config's overrides laid over them."""
        base = PROFILES[profile]
        answerer = _override(base.answerer, self.answerer)
        if self.quantize is not None:
            answerer = replace(answerer, quantize=self.quantize)
        return Profile(
            _override(base.embedder, self.embedder),
            _override(base.captioner, self.captioner),
            answerer,
            base.words,
        )


def load_config(**overrides: Any) -> Config:
    """The config of the environment, with every ``overrides`` value that is not None over it.

    Raises :class:`SettingsError` that names every wrong setting at once.
    """
    try:
        return Config(**{k: v for k, v in overrides.items() if v is not None})
    except ValidationError as exc:
        raise SettingsError(explain(exc)) from exc


def explain(exc: ValidationError) -> str:
    """All problems of a settings object in one sentence, in the words of the flags."""
    problems = []
    for error in exc.errors():
        name = ".".join(str(part) for part in error["loc"])
        flag = f"--{name.replace('_', '-')} (IMPRINT_{name.upper()})"
        shown = "" if name == "database_url" else f" (got {error.get('input')!r:.60})"
        problems.append(f"{flag}: {error['msg']}{shown}")
    return "Settings are wrong: " + "; ".join(problems) + "."


def _override(choice: ModelChoice, source: str | None) -> ModelChoice:
    if source is None:
        return choice
    known = [c for p in PROFILES.values() for c in (p.embedder, p.captioner, p.answerer)]
    name = source.partition("@")[0]
    return ModelChoice(source, next((c.gigabytes for c in known if c.source == name), 0.0))
