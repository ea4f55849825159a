"""``list_labels``: what has been taught.

Knows nothing of recognition.
"""

from typing import Annotated

from langchain_core.tools import InjectedToolArg, tool

from tools.artifacts import LabelList, LabelSummary
from tools.desk import Desk
from tools.memory import Memory
from tools.wording import count, join

__all__ = ["list_labels", "summaries"]

_THUMBNAILS = 4


@tool(response_format="content_and_artifact")
def list_labels(*, desk: Annotated[Desk, InjectedToolArg]) -> tuple[str, LabelList]:
    """List the labels that have been taught, with how many pictures each has."""
    labels = summaries(desk.memory)
    if not labels:
        return (
            "Nothing yet. Send a picture and say “this is a zorb”, and I will know zorbs.",
            LabelList(()),
        )
    parts = [f"{x.name} ({count(x.count, 'picture')})" for x in labels]
    return f"I know {count(len(labels), 'thing')}: {join(parts)}.", LabelList(tuple(labels))


def summaries(memory: Memory) -> list[LabelSummary]:
    """Every label with its counts and its newest photos."""
    state = memory.state
    result = []
    for label in state.labels.values():
        shown = state.of(label.id)
        result.append(
            LabelSummary(
                label.name,
                len(shown),
                len(state.of(label.id, positive=False)),
                label.description,
                tuple(e.photo_id for e in shown[-_THUMBNAILS:]),
            )
        )
    return result
