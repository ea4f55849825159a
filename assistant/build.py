"""The composition root: from settings to an assistant that works. The public Python API.

Knows how the parts fit; what they do is theirs. Opening is quick: models load at first use, or
all at once with :meth:`Imprint.warm_up`.
"""

import os
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Any, Literal, cast

from langchain_core.language_models import BaseChatModel

from assistant.brains import choose_brain
from assistant.conversation import Conversation
from assistant.history import Transcript
from assistant.router import Router
from assistant.settings import Settings, load_settings
from assistant.turns import Step, ToolCall
from tools.artifacts import Recognition
from tools.classify import recognise
from tools.config import Config, load_config
from tools.describing import describe
from tools.desk import Desk, Jobs
from tools.errors import BadCall, SettingsError
from tools.images import Photo, open_photo
from tools.looking import look_closer
from tools.memory import Memory, MemoryHome
from tools.models import Models, open_models
from tools.models.roles import Features
from tools.recall import Recall
from tools.registry import TOOLS, call_tool
from tools.sight import Sight

__all__ = ["Imprint", "Processed", "Task", "open_assistant"]

Task = Literal["auto", "classify", "caption", "vqa", "embed", "similarity"]
_WORKSPACE = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")


@dataclass(frozen=True)
class Processed:
    """What :meth:`Imprint.process` did: the task it picked, and that task's result."""

    task: str
    result: Any


def open_assistant(
    home: str | Path | None = None,
    profile: str | None = None,
    workspace: str | None = None,
    brain: str | BaseChatModel | None = None,
    *,
    models: Models | None = None,
    **settings: Any,
) -> "Imprint":
    """Open Imprint on a home folder.

    Args:
        home: Folder of everything it keeps; default ``IMPRINT_HOME`` or the user's data folder.
        profile: ``pocket``, ``small``, ``full`` or ``auto`` (the best one that is here).
        workspace: Whose memory; 1–41 characters of a–z, 0–9 and ``-``.
        brain: ``"router"`` (the default), ``"openai:MODEL[@BASE_URL]"``, ``"local:MODEL_ID"``,
            or any langchain-core chat model that can call tools.
        models: Ready-made models instead of a profile's.
        settings: Any other field of :class:`tools.config.Config` or
            :class:`assistant.settings.Settings`.

    Raises :class:`tools.errors.SettingsError` for a setting that is unknown or wrong.
    """
    known = set(Settings.model_fields)
    own = {k: v for k, v in settings.items() if k in known}
    rest = {k: v for k, v in settings.items() if k not in known}
    config = load_config(home=home, profile=profile, workspace=workspace, **rest)
    return Imprint(config, load_settings(**own), brain=brain, models=models)


class Imprint:
    """The assistant without a browser. A context manager; thread-safe."""

    def __init__(
        self,
        config: Config,
        settings: Settings,
        *,
        brain: str | BaseChatModel | None = None,
        models: Models | None = None,
    ) -> None:
        # Before langchain reads it: what is said here goes to no tracing service.
        os.environ.setdefault("LANGSMITH_TRACING", "false")
        self.config = config
        self.settings = settings
        self.models = models or open_models(config)
        self.sight = Sight(self.models, config.cache_folder)
        self._router = cast(BaseChatModel, Router().bind_tools(list(TOOLS)))
        self._brain = choose_brain(settings.brain if brain is None else brain, settings, TOOLS)
        self._home = MemoryHome(config)
        self._recalls: dict[str, Recall] = {}
        self._conversations: dict[tuple[str, str], Conversation] = {}
        self._lock = RLock()

    @property
    def memory(self) -> Memory:
        """The memory of the default workspace."""
        return self.recall().memory

    def recall(self, workspace: str | None = None) -> Recall:
        """The memory of a workspace with its recognizer."""
        name = workspace or self.config.workspace
        if not _WORKSPACE.fullmatch(name):
            raise SettingsError(
                f"{name!r:.50} is no name of a workspace: use 1–41 characters of a–z, 0–9 and '-'."
            )
        with self._lock:
            sight = self._look()
            if name not in self._recalls:
                self._recalls[name] = Recall(sight, self._home.workspace(name))
            return self._recalls[name]

    def _look(self) -> Sight:
        """The sight as of now: another one, also for the memories, where another embedder runs."""
        sight = self.sight.fresh()
        if sight is not self.sight:
            self.sight = sight
            self._recalls.clear()
        return sight

    def conversation(self, id: str | None = None, *, workspace: str | None = None) -> Conversation:
        """The conversation of that id, as it was left; a new one without an id."""
        name = self.recall(workspace).memory.workspace
        id = id or secrets.token_hex(8)
        folder = self.config.home / "memory" / name / "conversations"
        with self._lock:
            key = (name, id)
            if key not in self._conversations:
                self._conversations[key] = Conversation(
                    id,
                    partial(self.recall, name),
                    Transcript(folder, id),
                    self._brain,
                    self._router,
                    self.settings,
                    self._jobs(),
                )
            return self._conversations[key]

    # --- single tasks, outside any conversation ------------------------------------------------

    def classify(self, photo: Any, labels: Sequence[str] | None = None) -> Recognition:
        """What a photo shows: by what was taught, else by name; among ``labels`` if given."""
        opened = open_photo(photo)
        return recognise(self._desk(opened), opened, list(labels or []))

    def caption(self, photo: Any) -> str:
        """A sentence that describes a photo."""
        recall = self.recall()
        return describe(recall.sight, open_photo(photo), recall)

    def answer(self, photo: Any, question: str) -> str:
        """The answer to a question about a photo."""
        if not question.strip():
            raise BadCall("The question is empty: ask something about the picture.")
        opened, adapter = open_photo(photo), self.models.adapters.current()
        if adapter is not None and not adapter.classes:
            return self.models.adapters.answer(adapter, opened, question)
        recall = self.recall()
        looked = look_closer(recall.sight, opened, question, recall)
        if looked is not None:
            return looked
        return self.models.answerer.answer(opened, question)

    def embed(self, photo: Any) -> Features:
        """The unit vector (d,) of a photo, float32."""
        with self._lock:
            sight = self._look()
        return sight.vector(open_photo(photo)).copy()

    def similarity(self, photo: Any, texts: Sequence[str]) -> list[float]:
        """The cosine of a photo with each text, in [-1, 1]."""
        if not texts:
            return []
        with self._lock:
            sight = self._look()
        vectors = sight.embedder.embed_texts(list(texts))
        return [float(x) for x in vectors @ sight.vector(open_photo(photo))]

    def process(
        self,
        photo: Any,
        task: Task = "auto",
        prompt: str | Sequence[str] | None = None,
        labels: Sequence[str] | None = None,
    ) -> Processed:
        """One of the tasks above. ``auto`` picks by what is given:

        ``labels`` → classify; a ``prompt`` that asks → vqa, that wants a description → caption,
        that wants a vector → embed, that is any other text (or several) → similarity; nothing →
        classify when something was taught, else caption.
        """
        if task == "auto":
            task = self._task_for(prompt, labels)
        texts = [prompt] if isinstance(prompt, str) else list(prompt or [])
        match task:
            case "classify":
                return Processed(task, self.classify(photo, labels))
            case "caption":
                return Processed(task, self.caption(photo))
            case "vqa":
                return Processed(task, self.answer(photo, " ".join(texts)))
            case "embed":
                return Processed(task, self.embed(photo))
            case "similarity":
                return Processed(task, self.similarity(photo, texts or list(labels or [])))
        raise BadCall(
            f"There is no task {task!r:.40}: use auto, classify, caption, vqa, embed or similarity."
        )

    def call(self, tool: str, photos: Sequence[Any] = (), **args: Any) -> Step:
        """Run one tool outside any conversation, on ``photos``: ``call("undo")``.

        Raises what the tool raises (:class:`tools.errors.ToolError` and others of its tree).
        """
        opened = [open_photo(p) for p in photos]
        desk = Desk(
            self.recall(),
            lambda n: opened[n - 1],
            photo_count=len(opened),
            turn_photos=tuple(range(1, len(opened) + 1)),
            jobs=self._jobs(),
        )
        desk.memory.refresh()
        started = time.perf_counter()
        sentence, artifacts = call_tool(tool, args, desk)
        seconds = time.perf_counter() - started
        return Step(ToolCall(tool, args, True, seconds), sentence, tuple(artifacts))

    def _jobs(self) -> Jobs | None:
        """Training, unless strangers would share its result."""
        if self.settings.public or os.name != "posix":
            return None
        from assistant.jobs import TrainingJobs

        return TrainingJobs(self.config, self.models, self.settings.training)

    def _task_for(self, prompt: str | Sequence[str] | None, labels: Sequence[str] | None) -> Task:
        if labels:
            return "classify"
        if not prompt:
            taught = any(e.positive for e in self.memory.state.exemplars.values())
            return "classify" if taught else "caption"
        if not isinstance(prompt, str):
            return "similarity"
        text = prompt.strip().casefold()
        asks = r"(?:what|who|whose|where|when|why|how|which|is|are|was|were|does|do|did|can|has)\b"
        if text.endswith("?") or re.match(asks, text):
            return "vqa"
        if re.match(r"(?:describe|caption)\b", text):
            return "caption"
        return "embed" if re.match(r"(?:embed|embedding|vector)\b", text) else "similarity"

    def _desk(self, photo: Photo) -> Desk:
        return Desk(self.recall(), lambda _: photo, photo_count=1, turn_photos=(1,))

    # --- life -----------------------------------------------------------------------------------

    def warm_up(self) -> None:
        """Load every model and index now, so that the first answer does not wait for them."""
        self.models.warm_up()
        self.sight.warm_up()
        self.recall().recognizer()
        if self._brain is not None:
            self._brain.ready()

    def close(self) -> None:
        """Release memory; all that was acknowledged is on disk already."""
        self._home.close()

    def __enter__(self) -> "Imprint":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Imprint(home={str(self.config.home)!r}, profile={self.models.profile!r})"
