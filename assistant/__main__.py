"""``python -m assistant`` and ``imprint``: the terminal.

Knows nothing but the way in; ``--help`` must not import models, databases or gradio.
"""

import os


def main() -> None:
    """Run the command line."""
    # Read by the libraries when they are imported: nothing is sent anywhere unasked.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("LANGSMITH_TRACING", "false")
    from assistant.cli import app

    app(prog_name="imprint")


if __name__ == "__main__":
    main()
