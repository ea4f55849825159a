"""Imprint as a chat: conversations, the agent, its brain, the page and the terminal.

>>> from assistant import open_assistant
>>> imprint = open_assistant(home="…", profile="pocket")
>>> imprint.conversation().send("this is a zorb", photos=["zorb.png"]).text
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assistant.build import Imprint, open_assistant

__all__ = ["Imprint", "open_assistant"]


def __getattr__(name: str) -> Any:
    # Lazily: `import assistant.agent` and `--help` must not pay for models and databases.
    if name in __all__:
        from assistant import build

        return getattr(build, name)
    raise AttributeError(f"module 'assistant' has no attribute {name!r}")
