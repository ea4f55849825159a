"""The default brain: what people type to tool calls, without a connection and without chance.

``en.yaml`` and its likes are the tables of what people say, ``grammar`` and ``spelling`` match it,
``reading`` takes a message apart, ``references`` finds the pictures that it points at, ``deciding``
decides with a handler an intent (``teaching``, ``ordering``, ``handlers``). Where no line fits, and
where one fits that is hardly meant, the ``learned`` reader is heard, which ``learn`` trains with
``examples/*.txt`` (``lessons``): ``guessing`` says what its guess leads to, ``judging`` which of
the two is done, ``marking`` which words fill a slot, ``several`` where a message is cut that holds
several wishes, ``merging`` puts together what came of them. ``brain`` is the chat model that
answers with the calls and then words their results (``telling``, in other languages).
"""

from assistant.router.brain import Router

__all__ = ["Router"]
