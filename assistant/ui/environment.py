"""What gradio reads from the environment, set before it is imported.

Knows nothing of pages. Nothing is reported to anybody, and files that visitors upload lie in a
private folder that goes away with the process.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

__all__ = ["prepare", "temp_folder"]

_SETTINGS = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_MCP_SERVER": "False",
}


def prepare() -> None:
    """Set what is not set yet. Calling it again changes nothing."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    if not os.environ.get("GRADIO_TEMP_DIR"):
        folder = tempfile.mkdtemp(prefix="imprint-page-")  # readable by this user alone
        os.environ["GRADIO_TEMP_DIR"] = folder
        atexit.register(shutil.rmtree, folder, ignore_errors=True)


def temp_folder() -> Path:
    """Where gradio keeps uploads. Whatever lies in it is served to who knows its path."""
    prepare()
    return Path(os.environ["GRADIO_TEMP_DIR"]).resolve()
