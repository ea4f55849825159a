"""Who is at the page: a random id that the server signs and the browser keeps.

Knows nothing of turns or pages. The id names the browser's conversation, and on a public server
its memory too; one that this server did not sign is worth nothing.
"""

import hashlib
import hmac
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assistant.build import Imprint
from assistant.conversation import Conversation

__all__ = ["Visitor", "Visitors"]

_TOKEN = re.compile(r"([0-9a-f]{32})\.([0-9a-f]{32})")
_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Visitor:
    """A browser: what it keeps, and what that names here."""

    token: str
    conversation: str
    workspace: str


class Visitors:
    """Signs and checks the tokens of one home folder."""

    def __init__(self, imprint: Imprint) -> None:
        self._imprint = imprint
        self._key = _stored_key(imprint.config.home / "page.key")

    @property
    def browser_secret(self) -> str:
        """What the browser's copy is encrypted with; the same after a restart."""
        return self._sign("browser")

    def new(self) -> Visitor:
        """A visitor nobody has seen."""
        return self._visitor(secrets.token_hex(16))

    def known(self, token: Any) -> Visitor | None:
        """The visitor of a token that was signed here, else None."""
        match = _TOKEN.fullmatch(token) if isinstance(token, str) else None
        if match is None or not hmac.compare_digest(self._sign(match[1]), match[2]):
            return None
        return self._visitor(match[1])

    def talk(self, visitor: Visitor) -> Conversation:
        """The visitor's conversation, as it was left."""
        return self._imprint.conversation(visitor.conversation, workspace=visitor.workspace)

    def _visitor(self, number: str) -> Visitor:
        if self._imprint.settings.public:
            workspace = f"visitor-{self._sign(f'workspace {number}')}"
        else:
            workspace = self._imprint.config.workspace
        return Visitor(f"{number}.{self._sign(number)}", number, workspace)

    def _sign(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()[:32]


def _stored_key(path: Path) -> bytes:
    """The key in ``path``, made at first need: browsers are known again after a restart."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        text = path.read_text(encoding="ascii", errors="replace").strip()
        if _KEY.fullmatch(text):
            return bytes.fromhex(text)
        path.unlink()  # cut off by a crash: conversations stay on disk, browsers start anew
        return _stored_key(path)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        key = secrets.token_hex(32)
        file.write(key)
    return bytes.fromhex(key)
