"""The page of Imprint in one line: ``python app.py``. Also the entry of a Hugging Face Space.

Settings come from the environment (``IMPRINT_HOME``, ``IMPRINT_PROFILE``, ``IMPRINT_PORT``…);
``python -m assistant serve --help`` has them as options.
"""

import contextlib
import importlib
import os


def main() -> None:
    """Serve until Ctrl-C."""
    if os.environ.get("SPACE_ID"):
        # ZeroGPU wants its module before torch; on other hardware it is not installed.
        with contextlib.suppress(ImportError):
            importlib.import_module("spaces")
    from assistant import open_assistant
    from assistant.ui import serve
    from tools.errors import ImprintError

    try:
        with open_assistant() as imprint:
            serve(imprint)
    except ImprintError as exc:
        raise SystemExit(str(exc)) from exc


if __name__ == "__main__":
    main()
