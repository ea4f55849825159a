"""What a model is asked about a row and what it should answer; and a class out of a free answer.

Knows nothing of tokens or models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from finetune.data.table import Row
from finetune.settings.schema import PromptSettings
from tools.errors import DataError, SettingsError
from tools.forms import FIELD, around_label, named_class

__all__ = ["Prompts"]


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
        before, _, after = settings.answer.partition("{label}")
        self._lead, self._tail = around_label(settings.answer)
        self.reasons = bool(FIELD.search(before))
        """Whether an answer gives a reason before its class."""
        self.whole = not FIELD.search(after)
        """Whether an answer ends where what is scored of it ends (:meth:`scored`)."""

    @property
    def question(self) -> str:
        """What is asked about a picture with a class."""
        descriptions = self._settings.descriptions
        listed = "; ".join(f"{c}: {descriptions[c]}" for c in self.classes if c in descriptions)
        fields = {"classes": ", ".join(self.classes), "descriptions": listed}
        return f"{self._settings.system} {_filled(self._settings.question, fields)}".strip()

    def asked(self, row: Row) -> str:
        """The question of a row."""
        if row.question is None:
            return self.question
        return f"{self._settings.system} {row.question}".strip()

    def answer(self, row: Row) -> str:
        """What should be answered about it. Raises :class:`DataError` for a reason not given."""
        if row.label is None:
            return row.answer or ""
        form = self._settings.answer
        if "{reasoning}" in form and not row.reasoning:
            raise DataError(
                f"{row.path}: prompt.answer asks for {{reasoning}}, and the source gives none for "
                "this picture: add it in a column (--reasoning-column), or use {description}."
            )
        description = self._settings.descriptions.get(row.label, "")
        fields = {"label": row.label, "description": description, "reasoning": row.reasoning or ""}
        return _filled(form, fields)

    def scored(self, label: str) -> str:
        """The part of an answer that tells the classes apart: all of it where it is the same for
        a class whatever the picture, else the class and the words around it."""
        return f"{'' if self.reasons else self._lead}{label}{self._tail}"

    def lead(self, response: str | None = None) -> str:
        """What stands before :meth:`scored` in a free answer: its reason, and the mark behind it.

        Of None, the mark alone; of an answer that never came to the mark, with it added.
        """
        if not self.reasons:
            return ""
        mark = self._lead.strip()
        gap = self._lead[len(self._lead.rstrip()) :]
        if response is None:
            return mark + gap
        if mark in response:
            return response.rpartition(mark)[0] + mark + gap
        return response.strip() + self._lead

    def parse(self, text: str) -> str | None:
        """The class that a free answer names: exactly, else the only one in it; None if none.

        Where the answer has a form ("Reasoning: … Answer: {label}"), only what stands in the
        place of the class counts.
        """
        return named_class(text, self.classes, self._settings.answer)


def _filled(form: str, fields: Mapping[str, str]) -> str:
    """``form`` with its fields filled in once: what is filled in is never read as a form."""
    return FIELD.sub(lambda found: fields.get(found[1], found[0]), form)
