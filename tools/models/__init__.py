"""The models behind the tools: the roles they play, which ones run, and how each is loaded.

``open_models(config)`` answers at once and loads a model when it is first used. torch and
transformers are imported only then.
"""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import Any, cast

from tools.config import PROFILES, Config, ModelChoice
from tools.models.adapters import Adapters
from tools.models.choosing import ROLES, Chosen, choose_profile, how_to_get, missing
from tools.models.hardware import Hardware, choose_hardware
from tools.models.roles import Answerer, Captioner, Embedder
from tools.models.sources import locate
from tools.models.watching import Fitted, News
from tools.shelf import Adapter

__all__ = ["Models", "open_models"]


def open_models(config: Config, *, hub_cache: Path | None = None) -> "Models":
    """The models ``config`` asks for; loads nothing yet.

    ``hub_cache`` is the Hugging Face cache to look in (default: the user's).
    """
    return Models(
        lambda: choose_profile(config, hub_cache=hub_cache),
        hub_cache=hub_cache,
        shelf=config.home / "adapters",
    )


class Models:
    """One embedder, one captioner and one answerer, each loaded when first used.

    Holds nothing of a visitor and may be shared by all threads. A role's property raises
    :class:`tools.errors.ModelMissing` (the message has the command that fetches it) or
    :class:`tools.errors.ModelFailed`, again at each use until it can be loaded.
    """

    def __init__(
        self,
        choose: Callable[[], Chosen],
        *,
        hub_cache: Path | None = None,
        shelf: Path | None = None,
    ) -> None:
        self._choose = choose
        self._hub_cache = hub_cache
        self._loaded: dict[str, Any] = {}
        self._lock = RLock()
        self._hardware: Hardware | None = None
        news = News()
        self._adapters = Adapters(shelf, lambda: self.answerer, news)
        self._fitted: dict[str, Fitted[Any]] = {
            "captioner": Fitted("captioner", shelf, self._load_captioner, news),
            "embedder": Fitted("embedder", shelf, self._load_embedder, news),
        }

    @classmethod
    def of(
        cls,
        *,
        embedder: Embedder | None = None,
        captioner: Captioner | None = None,
        answerer: Answerer | None = None,
        profile: str = "pocket",
    ) -> "Models":
        """Models that are given; a role left out is loaded as ``profile`` says."""
        chosen = Chosen(profile, PROFILES[profile], f"profile {profile}: models were given")
        models = cls(lambda: chosen)
        given = {"embedder": embedder, "captioner": captioner, "answerer": answerer}
        models._loaded = {role: model for role, model in given.items() if model is not None}
        return models

    @cached_property
    def _chosen(self) -> Chosen:
        # Looked up when first asked: commands that need no model do not wait for the Hub's client.
        return self._choose()

    @property
    def profile(self) -> str:
        """``pocket``, ``small`` or ``full``."""
        return self._chosen.name

    @property
    def reason(self) -> str:
        """Which profile and why, in words."""
        return self._chosen.reason

    @property
    def hardware(self) -> Hardware:
        """Device and dtype, and why. Imports torch."""
        if self._hardware is None:
            self._hardware = choose_hardware()
        return self._hardware

    @property
    def embedder(self) -> Embedder:
        """Loaded at first use, and anew when another adapter is set for it: then it has another
        id, and is another space."""
        return cast(Embedder, self._get("embedder"))

    @property
    def captioner(self) -> Captioner:
        """Loaded at first use, and anew when another adapter is set for it."""
        return cast(Captioner, self._get("captioner"))

    @property
    def answerer(self) -> Answerer:
        """Loaded at first use."""
        return cast(Answerer, self._get("answerer"))

    @property
    def adapters(self) -> Adapters:
        """What was trained on top of the answerer, and is in use or not."""
        return self._adapters

    def warm_up(self) -> None:
        """Load all three. Raises what is wrong with the first, before it loads any."""
        absent = missing(self._chosen.profile, hub_cache=self._hub_cache)
        for role, problem in absent.items():
            if role not in self._loaded:
                raise problem
        for role in ROLES:
            self._get(role)
        self._adapters.current()

    def choice(self, role: str) -> ModelChoice:
        """Where the model of a role comes from."""
        return cast(ModelChoice, getattr(self._chosen.profile, role))

    def describe(self) -> str:
        """One line for people: which models run, and how to get better ones."""
        base = PROFILES[self.profile]
        words = base.words
        for role in ROLES:
            source = self.choice(role).source
            if source != getattr(base, role).source:
                words += f"; {source} as {role}"
        line = f"Running {words}."
        if self.profile == "pocket":
            return f"{line} For photos, {how_to_get('small', hub_cache=self._hub_cache)}."
        if self.profile == "small":
            full = how_to_get("full", hub_cache=self._hub_cache)
            return f"{line} For better ones on a GPU of 8 GB, {full}."
        return line

    def _get(self, role: str) -> Any:
        # A dict is read without the lock: a turn never waits for another model to load.
        found = self._loaded.get(role)
        if found is not None:
            return found
        if role in self._fitted:
            return self._fitted[role].model()
        with self._lock:
            if role not in self._loaded:
                self._loaded[role] = self._load_answerer()
            return self._loaded[role]

    def _load_answerer(self) -> Answerer:
        choice = self.choice("answerer")
        located = locate(choice, hub_cache=self._hub_cache)
        from tools.models.answerer import load_answerer

        return load_answerer(located, self.hardware, quantize=choice.quantize)

    def _load_captioner(self, adapter: Adapter | None) -> Captioner:
        located = locate(self.choice("captioner"), hub_cache=self._hub_cache)
        with self._lock:  # one model at a time: transformers imports what it needs meanwhile
            from tools.models.captioner import load_captioner

            return load_captioner(located, self.hardware, adapter)

    def _load_embedder(self, adapter: Adapter | None) -> Embedder:
        choice = self.choice("embedder")
        found = [locate(part, hub_cache=self._hub_cache) for part in choice.parts]
        with self._lock:
            from tools.models.embedder import load_embedder

            first = load_embedder(found[0], self.hardware, adapter)
            if len(found) == 1:
                return first
            from tools.models.paired import PairedEmbedder, load_image_embedder

            return PairedEmbedder(first, load_image_embedder(found[1], self.hardware))
