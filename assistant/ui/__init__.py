"""The page: Imprint in a browser.

``serve(imprint)`` starts it, ``build_page(imprint)`` makes the Blocks without a server. Knows
nothing of models or tools; what it shows are turns, events and artifacts. Importing this package
imports no gradio.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assistant.ui.page import build_page
    from assistant.ui.server import Served, serve

__all__ = ["Served", "build_page", "serve"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'assistant.ui' has no attribute {name!r}")
    from assistant.ui.environment import prepare

    prepare()  # before gradio is imported: it reads some settings only then
    if name == "build_page":
        from assistant.ui.page import build_page

        return build_page
    from assistant.ui import server

    return getattr(server, name)
