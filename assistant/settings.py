"""Settings of the assistant: its brain, its server, its limits.

Knows nothing of models or folders (:mod:`tools.config`). The environment (``IMPRINT_*``), the
Space's own variable and the key of a language model are read here and nowhere else in this package.
"""

import os
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from tools.config import explain
from tools.errors import SettingsError

__all__ = ["Settings", "load_settings", "openai_key"]


class Settings(BaseSettings):
    """How the assistant converses and serves. Unknown names are errors."""

    model_config = SettingsConfigDict(
        env_prefix="IMPRINT_", frozen=True, extra="forbid", env_ignore_empty=True
    )

    brain: str = Field(
        default="router",
        description="Who decides what to do: router, openai:MODEL[@BASE_URL] or local:MODEL_ID; "
        "#text at the end sends it no pictures.",
    )
    brain_timeout: float = Field(
        default=60.0, gt=0, description="Seconds of silence after which the router takes over."
    )
    host: str = Field(default="127.0.0.1", description="Address the page is served on.")
    port: int | None = Field(
        default=None, ge=1, le=65535, description="Its port; by default the first free from 7860."
    )
    public: bool = Field(
        default=False,
        description="Strangers may visit: each browser gets a memory of its own.",
    )
    training: Path | None = Field(
        default=None,
        description="A YAML file of settings for trainings from the chat (`python -m finetune`).",
    )
    max_photos: int = Field(default=8, ge=1, le=32, description="Pictures in one message.")
    max_text: int = Field(default=4_000, ge=100, description="Characters in one message.")
    max_calls: int = Field(default=6, ge=1, le=20, description="Tool calls in one turn.")


def load_settings(**overrides: Any) -> Settings:
    """The settings of the environment, with every ``overrides`` value that is not None over it.

    On a Hugging Face Space the page is public and bound to all addresses unless set otherwise.
    Raises :class:`SettingsError` that names every wrong setting at once.
    """
    values = {k: v for k, v in overrides.items() if v is not None}
    if os.environ.get("SPACE_ID"):
        values.setdefault("public", True)
        values.setdefault("host", "0.0.0.0")
    try:
        return Settings(**values)
    except ValidationError as exc:
        raise SettingsError(explain(exc)) from exc


def openai_key() -> SecretStr | None:
    """The key for ``--brain openai:…``: ``OPENAI_API_KEY`` and nothing else; None without one."""
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    return SecretStr(key) if key else None
