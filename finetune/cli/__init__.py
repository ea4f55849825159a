"""The command line: `python -m finetune`.

``options`` are what the commands take, ``commands`` and its neighbours the commands, ``show`` what
they print.
"""

from finetune.cli.commands import app, main

__all__ = ["app", "main"]
