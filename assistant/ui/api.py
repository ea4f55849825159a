"""The page's door for programs: one typed endpoint, ``/ask``, for ``gradio_client`` and curl.

Knows nothing of the page. A conversation goes on when the token of an earlier answer is sent.
"""

from dataclasses import asdict
from typing import Any

import gradio as gr

from assistant.build import Imprint
from assistant.ui.handlers import uploaded
from assistant.ui.running import incident
from assistant.ui.visitors import Visitors
from tools.artifacts import to_json
from tools.errors import ImprintError

__all__ = ["Api"]


class Api:
    """The endpoint of one page."""

    def __init__(self, imprint: Imprint, visitors: Visitors) -> None:
        self._imprint = imprint
        self._visitors = visitors

    def ask(
        self, text: str, files: list[gr.FileData] | None = None, conversation: str = ""
    ) -> dict[str, Any]:
        """Say something to Imprint, with pictures or without.

        Args:
            text: What you say: "this is a zorb", "what is this?", "describe it".
            files: Uploaded pictures.
            conversation: The token of an earlier answer, to go on from there.

        Returns:
            text: the reply; tool_calls: name, args, ok and seconds of each; artifacts: what the
            tools found; options: messages worth saying next; conversation: the token.
        """
        try:
            visitor = self._visitors.known(conversation) or self._visitors.new()
            talk = self._visitors.talk(visitor)
            reply = talk.send(str(text or ""), [uploaded(f) for f in files or []])
        except ImprintError as exc:
            raise gr.Error(str(exc), print_exception=False) from exc
        except Exception as exc:
            raise gr.Error(incident(exc), print_exception=False) from exc
        return {
            "text": reply.text,
            "tool_calls": [asdict(c) for c in reply.tool_calls],
            "artifacts": [to_json(a) for a in reply.artifacts],
            "options": list(reply.options),
            "conversation": visitor.token,
        }
