"""What a model is asked about a row and what it should answer; and a class out of a free answer.

Knows nothing of tokens or models.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from finetune.data.table import Row
from finetune.settings import PromptSettings
from tools.errors import SettingsError

__all__ = ["Prompts"]

_WORDS = re.compile(r"[\W_]+")


class Prompts:
    """Questions and answers for the rows of one data set. ``classes`` is empty for questions."""

    def __init__(self, settings: PromptSettings, classes: Sequence[str]) -> None:
        """Raises :class:`SettingsError` where a description is missing, or of no class."""
        self.classes = tuple(classes)
        self._settings = settings
        strange = sorted(set(settings.descriptions) - set(classes))
        missing = [c for c in classes if c not in settings.descriptions]
        described = "{description" in settings.answer + settings.question
        if strange or (described and missing):
            wrong = [f"no class is called {', '.join(strange)}"] if strange else []
            wrong += [f"there is none for {', '.join(missing)}"] if described and missing else []
            raise SettingsError(f"prompt.descriptions: {'; '.join(wrong)}.")
        self._marker = settings.answer.partition("{label}")[0].rstrip().rpartition(" ")[2]

    @property
    def question(self) -> str:
        """What is asked about a picture with a class."""
        descriptions = self._settings.descriptions
        listed = "; ".join(f"{c}: {descriptions[c]}" for c in self.classes if c in descriptions)
        filled = self._settings.question.replace("{classes}", ", ".join(self.classes))
        return f"{self._settings.system} {filled.replace('{descriptions}', listed)}".strip()

    def asked(self, row: Row) -> str:
        """The question of a row."""
        if row.question is None:
            return self.question
        return f"{self._settings.system} {row.question}".strip()

    def answer(self, row: Row) -> str:
        """What should be answered about it."""
        if row.label is None:
            return row.answer or ""
        return self.answer_of(row.label)

    def answer_of(self, label: str) -> str:
        """What should be answered for a class."""
        description = self._settings.descriptions.get(label, "")
        return self._settings.answer.replace("{description}", description).replace("{label}", label)

    def parse(self, text: str) -> str | None:
        """The class that a free answer names: exactly, else the only one in it; None if none.

        Where the answer has a form ("Answer: {label}"), only what follows its last mark counts.
        """
        if self._marker and self._marker in text:
            text = text.rpartition(self._marker)[2]
        said = _plain(text)
        exact = [c for c in self.classes if _plain(c) == said]
        if exact:
            return exact[0]
        inside = [c for c in self.classes if f" {_plain(c)} " in f" {said} "]
        # "boot" is inside "ankle boot": the longer name is meant.
        outer = [c for c in inside if not any(c != d and _plain(c) in _plain(d) for d in inside)]
        return outer[0] if len(outer) == 1 else None


def _plain(text: str) -> str:
    return _WORDS.sub(" ", text.casefold()).strip()
