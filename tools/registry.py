"""All tools of the assistant, and how one is called with what a model may decide of it.

Knows nothing of models or messages.
"""

import difflib
from typing import Any, cast

from langchain_core.tools import BaseTool
from pydantic import BaseModel, ValidationError

from tools.answer import answer_question
from tools.artifacts import Artifact
from tools.caption import caption_image
from tools.classify import classify_image
from tools.desk import Desk
from tools.errors import BadCall
from tools.export import export_memory
from tools.forget import forget_everything, forget_label, forget_pictures, forget_since
from tools.knowledge import list_labels, report_knowledge
from tools.memory import noting
from tools.naming import alias_label, merge_labels, rename_label, split_label
from tools.remember import teach_answer
from tools.retrieve import compare_images, explain_answer, find_similar
from tools.teach import correct_label, reject_label, teach_label
from tools.train import cancel_training, train_adapter, training_status, use_adapter
from tools.undo import undo

__all__ = ["TOOLS", "call_tool", "check_call", "public_arguments"]

TOOLS: tuple[BaseTool, ...] = (
    classify_image,
    caption_image,
    answer_question,
    find_similar,
    compare_images,
    teach_label,
    teach_answer,
    correct_label,
    reject_label,
    rename_label,
    alias_label,
    merge_labels,
    split_label,
    forget_label,
    forget_pictures,
    forget_since,
    forget_everything,
    undo,
    list_labels,
    report_knowledge,
    explain_answer,
    train_adapter,
    training_status,
    cancel_training,
    use_adapter,
    export_memory,
)


def public_arguments(tool: BaseTool) -> dict[str, Any]:
    """The JSON schema properties a model may fill."""
    schema = tool.tool_call_schema
    assert isinstance(schema, type) and issubclass(schema, BaseModel)
    properties: dict[str, Any] = schema.model_json_schema().get("properties", {})
    return properties


def check_call(name: str, args: dict[str, Any]) -> BaseTool:
    """The tool of that name, if ``args`` are what it takes.

    Raises :class:`BadCall` for an unknown tool or argument, or a value of the wrong type.
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
    try:
        cast(type[BaseModel], tool.tool_call_schema).model_validate(args)
    except ValidationError as exc:
        problems = "; ".join(
            f"{e['loc'][0] if e['loc'] else name}: {e['msg']}" for e in exc.errors()
        )
        raise BadCall(f"{name} was called wrongly: {problems}.") from exc
    return tool


def call_tool(name: str, args: dict[str, Any], desk: Desk) -> tuple[str, list[Artifact]]:
    """Call a tool on a desk; returns its sentence and artifacts.

    Raises what :func:`check_call` raises, and whatever :class:`tools.errors.ImprintError` the
    tool raises.
    """
    tool = check_call(name, args)
    call = {"name": name, "args": {**args, "desk": desk}, "id": "call", "type": "tool_call"}
    with noting(desk.changes):
        message = tool.invoke(call)
    artifact = message.artifact
    artifacts = list(artifact) if isinstance(artifact, list) else [artifact]
    return str(message.content), artifacts
