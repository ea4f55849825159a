"""The default brain: what people type to tool calls, without a network, weights or chance.

``en.yaml`` and its likes are the tables of what people say, ``grammar`` and ``spelling`` match it,
``reading`` takes a message apart, ``deciding`` decides with a handler an intent (``teaching``,
``ordering``, ``handlers``) or, where no line fits, by likeness (``similar``); ``brain`` is the
chat model that answers with the calls and then words their results (``telling``, in other
languages).
"""

from assistant.router.brain import Router

__all__ = ["Router"]
