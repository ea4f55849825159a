"""What gradio would do for a client and this page does not: fetch from the network.

Knows nothing of handlers. A file in a request must have been uploaded here; an address in its
place (which gradio would download) is refused before anything looks at it.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import gradio as gr

__all__ = ["GuardedBlocks", "NoFetching", "names_address"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_REFUSED = "That is an address, not a file: send the picture itself."
_DEEP = 12


class GuardedBlocks(gr.Blocks):
    """Blocks that take no file by its address."""

    async def preprocess_data(
        self, block_fn: Any, inputs: list[Any], state: Any, explicit_call: bool = False
    ) -> Any:
        """Refuse addresses, then go on as always."""
        if names_address(inputs):
            raise gr.Error(_REFUSED, print_exception=False)
        return await super().preprocess_data(block_fn, inputs, state, explicit_call)


class NoFetching:
    """ASGI middleware: the routes that fetch for a client are not here."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403 to a request that asks for somebody else's file."""
        path = str(scope.get("path", "")) if scope["type"] == "http" else ""
        if "/proxy=" in path or ("/file=" in path and ":/" in path.split("/file=", 1)[1][2:]):
            await send({"type": "http.response.start", "status": 403, "headers": []})
            await send({"type": "http.response.body", "body": b"not here"})
            return
        await self._app(scope, receive, send)


def names_address(value: Any, depth: int = 0) -> bool:
    """Whether a file in a request's data is given by an address instead of an upload."""
    if depth > _DEEP:
        return True  # no message of this page is nested so deep
    if isinstance(value, dict):
        path = value.get("path")
        if isinstance(path, str) and "://" in path:
            return True
        return any(names_address(v, depth + 1) for v in value.values())
    if isinstance(value, list | tuple):
        return any(names_address(v, depth + 1) for v in value)
    return False
