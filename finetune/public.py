"""What is left out before others see a run: where things lie here, and whose memory they are of.

Knows nothing of where they go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from finetune.runs import Run
from finetune.settings.schema import Settings

__all__ = ["Public"]

_NAMING = ("source", "answerer", "captioner", "embedder")
_SCHEME = re.compile(r"(pocket|hf|memory|pack):")


class Public:
    """A run's settings and results as others may see them: without a path of this machine."""

    def __init__(self, run: Run, results: Mapping[str, Any]) -> None:
        settings = run.settings.model_dump(mode="json")
        self._places = {value: Path(value).name for value in _places(settings) if _is_path(value)}
        for place, name in ((run.folder.parent.parent, "HOME"), (Path.home(), "~")):
            if place != Path(place.anchor):
                self._places[str(place)] = name
        source = run.settings.data.source
        if source.startswith("memory:"):  # whose memory is nobody's business
            self._places[source] = "memory:"
        self.results: dict[str, Any] = self.of(dict(results))
        self.settings = Settings.model_validate(self.of(settings))

    def of(self, content: Any) -> Any:
        """``content`` with every path in it shortened to a name."""
        if isinstance(content, Mapping):
            return {self.of(key): self.of(value) for key, value in content.items()}
        if isinstance(content, (list, tuple)):
            return [self.of(value) for value in content]
        if not isinstance(content, str):
            return content
        for place in sorted(self._places, key=len, reverse=True):
            content = content.replace(place, self._places[place])
        return content


def _places(settings: Any) -> Iterator[str]:
    """What names a model or a source, in whichever stage."""
    if isinstance(settings, Mapping):
        for key, value in settings.items():
            if key in _NAMING and isinstance(value, str):
                yield value
            else:
                yield from _places(value)
    elif isinstance(settings, list):
        for value in settings:
            yield from _places(value)


def _is_path(value: str) -> bool:
    """Whether it is a place on this machine, in a folder; a Hub id looks like one."""
    if _SCHEME.match(value) or not re.search(r"[/\\]", value):
        return False
    return value[0] in "/.~\\" or value[1:2] == ":" or Path(value).exists()
