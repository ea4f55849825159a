"""The default brain: plain English to tool calls, without a network, weights or chance.

``phrases`` is the table of what people say, ``reading`` takes a message apart by it, ``brain`` is
the chat model that answers with the calls and then words their results.
"""

from assistant.router.brain import Router

__all__ = ["Router"]
