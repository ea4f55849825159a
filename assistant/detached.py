"""Becomes a command of its own, which outlives who started it and waits for its turn.

``python -m assistant.detached TURN COMMAND…`` returns once the command has begun, or waits. Behind
it a process in a group of its own, of low priority, waits until no other one holds the file TURN,
holds it, and becomes COMMAND. Its output is this one's: first its number, then `begun` once it is
its turn. Knows nothing of what the command does. The system is the queue: whatever ends a process
gives its turn to the next.
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
    numbered, settled = os.pipe(), os.pipe()  # closed by who has done it, and by its end
    child = os.fork()
    if child:
        _say(str(child))
        os.close(numbered[1])
        os.close(settled[1])
        os.read(settled[0], 1)
        return
    os.close(numbered[1])
    os.read(numbered[0], 1)
    os.setsid()
    os.nice(_LOW)
    held = os.open(turn, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(settled[1])
        fcntl.flock(held, fcntl.LOCK_EX)
    os.set_inheritable(held, True)  # the command holds it, until it ends
    _say(BEGUN)
    os.execv(command[0], command)


def _say(line: str) -> None:
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1:])
