"""Transcripts on the server's disk: turns and photos of a conversation survive a restart.

Knows nothing of clients: nothing in here was ever taken from what a browser sent back. A
transcript that cannot be read is moved aside, never lost, and the conversation starts anew.
"""

import json
import logging
import re
import secrets
from collections import OrderedDict
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from assistant.turns import Step, ToolCall, Turn
from tools.artifacts import from_json, to_json
from tools.errors import SettingsError
from tools.images import Photo
from tools.memory.photos import PhotoStore
from tools.whole import whole_file

__all__ = ["Transcript", "now"]

log = logging.getLogger(__name__)
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_OPEN_PHOTOS = 16
_VERSION = 1


class Transcript:
    """The turns and the album (photo ids by number) of one conversation."""

    def __init__(self, folder: Path, conversation_id: str) -> None:
        if not _ID.fullmatch(conversation_id):
            raise SettingsError(
                f"{conversation_id!r:.40} is no name of a conversation: "
                "use up to 64 letters, digits, '-' and '_'."
            )
        self._path = folder / f"{conversation_id}.json"
        self._photos = PhotoStore(folder / "photos")
        self._open: OrderedDict[str, Photo] = OrderedDict()
        self.turns: list[Turn] = []
        self.album: list[str] = []
        self._read()

    def add_photos(self, photos: list[Photo]) -> tuple[int, ...]:
        """Put photos into the album; returns their numbers."""
        numbers = []
        for photo in photos:
            self._photos.put(photo, durable=False)
            self._keep(photo)
            self.album.append(photo.id)
            numbers.append(len(self.album))
        return tuple(numbers)

    def photo(self, number: int) -> Photo:
        """The photo of that number (1 is the first)."""
        photo_id = self.album[number - 1]
        if photo_id not in self._open:
            self._keep(self._photos.get(photo_id))
        self._open.move_to_end(photo_id)
        return self._open[photo_id]

    def photo_path(self, number: int) -> Path:
        """Where the photo of that number lies, as PNG."""
        return self._photos.path(self.album[number - 1])

    def append(self, turn: Turn) -> None:
        """Add a finished turn and write the transcript."""
        self.turns.append(turn)
        self._write()

    def rewind(self, index: int) -> list[Turn]:
        """Drop the turn of that index (0 is the first) and all after it; returns them.

        Their photos go too, so that a message said again has its old photo numbers.
        """
        dropped = self.turns[index:]
        del self.turns[index:]
        del self.album[max((n for t in self.turns for n in t.photos), default=0) :]
        self._write()
        return dropped

    def clear(self) -> None:
        """Start anew: no turns, no photos."""
        self.turns, self.album = [], []
        self._open.clear()
        self._write()

    def _keep(self, photo: Photo) -> None:
        self._open[photo.id] = photo
        while len(self._open) > _OPEN_PHOTOS:
            self._open.popitem(last=False)

    def _read(self) -> None:
        if not self._path.exists():
            return
        try:
            data = json.loads(self._path.read_text(encoding="utf-8"))
            if data["version"] != _VERSION:
                raise ValueError(f"version {data['version']}")
            self.album = [str(x) for x in data["album"]]
            self.turns = [_turn(x) for x in data["turns"]]
        except (OSError, ValueError, KeyError, TypeError, ValidationError) as exc:
            aside = self._path.with_name(f"{self._path.stem}.unreadable-{secrets.token_hex(3)}")
            log.warning("transcript %s is unreadable (%s); it is now %s", self._path, exc, aside)
            self._path.rename(aside)
            self.turns, self.album = [], []

    def _write(self) -> None:
        data = {
            "version": _VERSION,
            "album": self.album,
            "turns": [_data(t) for t in self.turns],
        }
        with whole_file(self._path) as temporary:
            temporary.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")


def now() -> str:
    """The time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _data(turn: Turn) -> dict[str, Any]:
    steps = [
        {
            "call": asdict(s.call),
            "sentence": s.sentence,
            "artifacts": [to_json(a) for a in s.artifacts],
        }
        for s in turn.steps
    ]
    rest = {k: getattr(turn, k) for k in ("text", "reply", "at", "stopped")}
    lists = {k: list(getattr(turn, k)) for k in ("photos", "problems", "options", "changes")}
    return {**rest, **lists, "steps": steps}


def _turn(data: dict[str, Any]) -> Turn:
    steps = tuple(
        Step(ToolCall(**s["call"]), s["sentence"], tuple(from_json(a) for a in s["artifacts"]))
        for s in data["steps"]
    )
    return Turn(
        text=data["text"],
        photos=tuple(data["photos"]),
        reply=data["reply"],
        steps=steps,
        problems=tuple(data["problems"]),
        options=tuple(data["options"]),
        at=data["at"],
        stopped=data["stopped"],
        changes=tuple(data.get("changes", ())),  # older transcripts have none
    )
