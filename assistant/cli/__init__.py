"""The command line: Imprint's conversation and single tasks in a terminal.

``options`` are what every command takes, ``commands`` the commands, ``show`` what they print.
"""

from assistant.cli.commands import app

__all__ = ["app"]
