"""All tools of the assistant, and how one is called with what a model may decide of it.

Knows nothing of models or messages.
"""

import difflib
from typing import Any

from langchain_core.tools import BaseTool
from pydantic import BaseModel, ValidationError

from tools.answer import answer_question
from tools.artifacts import Artifact
from tools.caption import caption_image
from tools.classify import classify_image
from tools.desk import Desk
from tools.errors import BadCall
from tools.knowledge import list_labels, report_knowledge
from tools.retrieve import compare_images, explain_answer, find_similar
from tools.teach import (
    correct_label,
    forget_label,
    merge_labels,
    reject_label,
    rename_label,
    teach_label,
    undo,
)

__all__ = ["TOOLS", "call_tool", "public_arguments"]

TOOLS: tuple[BaseTool, ...] = (
    classify_image,
    caption_image,
    answer_question,
    find_similar,
    compare_images,
    teach_label,
    correct_label,
    reject_label,
    rename_label,
    merge_labels,
    forget_label,
    undo,
    list_labels,
    report_knowledge,
    explain_answer,
)


def public_arguments(tool: BaseTool) -> dict[str, Any]:
    """The JSON schema properties a model may fill."""
    schema = tool.tool_call_schema
    assert isinstance(schema, type) and issubclass(schema, BaseModel)
    properties: dict[str, Any] = schema.model_json_schema().get("properties", {})
    return properties


def call_tool(name: str, args: dict[str, Any], desk: Desk) -> tuple[str, list[Artifact]]:
    """Call a tool on a desk; returns its sentence and artifacts.

    Raises :class:`BadCall` for an unknown tool or argument, or a value of the wrong type, and
    whatever :class:`tools.errors.ImprintError` the tool raises.
    """
    tool = next((t for t in TOOLS if t.name == name), None)
    if tool is None:
        near = difflib.get_close_matches(name, [t.name for t in TOOLS], n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise BadCall(f"There is no tool called {name!r:.60}.{hint}")
    public = public_arguments(tool)
    unknown = sorted(set(args) - set(public))
    if unknown:
        # An injected argument (desk) that a model sends lands here too.
        takes = ", ".join(public) or "none"
        raise BadCall(f"{name} takes no argument {', '.join(unknown)!r:.80}; it takes: {takes}.")
    call = {"name": name, "args": {**args, "desk": desk}, "id": "call", "type": "tool_call"}
    try:
        message = tool.invoke(call)
    except ValidationError as exc:
        problems = "; ".join(
            f"{e['loc'][0] if e['loc'] else name}: {e['msg']}" for e in exc.errors()
        )
        raise BadCall(f"{name} was called wrongly: {problems}.") from exc
    artifact = message.artifact
    artifacts = list(artifact) if isinstance(artifact, list) else [artifact]
    return str(message.content), artifacts
