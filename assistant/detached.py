"""Becomes a command of its own, which outlives who started it and waits for its turn.

``python -m assistant.detached TURN COMMAND…`` returns at once. Behind it a process in a group of
its own, of low priority, waits until no other one holds the file TURN, holds it, and becomes
COMMAND. Its output is this one's: first its number, then `begun` once it is its turn. Knows
nothing of what the command does. The system is the queue: whatever ends a process gives its turn
to the next.
"""

import fcntl
import os
import sys

__all__ = ["BEGUN", "main"]

BEGUN = "begun"
_LOW = 10  # niceness: a conversation beside it stays quick


def main(arguments: list[str]) -> None:
    """Start ``arguments[1:]`` once the file ``arguments[0]`` is free."""
    turn, *command = arguments
    said, saying = os.pipe()
    child = os.fork()
    if child:
        _say(str(child))
        return  # which closes the pipe
    os.close(saying)
    os.read(said, 1)  # returns once the number stands before whatever is said here
    os.close(said)
    os.setsid()
    os.nice(_LOW)
    held = os.open(turn, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(held, fcntl.LOCK_EX)
    os.set_inheritable(held, True)  # the command holds it, until it ends
    _say(BEGUN)
    os.execv(command[0], command)


def _say(line: str) -> None:
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1:])
