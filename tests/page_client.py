"""What tests of the page share: a tab without a browser (its private events over HTTP, as a
browser sends them), and models that have to be stopped or never say the same twice."""

import json
import re
import secrets
from collections.abc import Callable
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any

import httpx

from tests.fakes import FakeAnswerer, FakeCaptioner
from tools.images import Photo

__all__ = ["CountingCaptioner", "EndlessAnswerer", "Tab"]


class EndlessAnswerer(FakeAnswerer):
    """Talks until it is stopped."""

    def answer(
        self,
        photo: Photo,
        question: str,
        *,
        on_token: Callable[[str], None] | None = None,
        stop: Event | None = None,
    ) -> str:
        assert stop is not None and on_token is not None
        while not stop.wait(0.02):
            on_token("and ")
        return "and so on"


class CountingCaptioner(FakeCaptioner):
    """Never says the same twice."""

    def __init__(self) -> None:
        self._looks = count(1)

    def captions(self, photo: Photo, count: int, *, stop: Event | None = None) -> list[str]:
        return [f"look {next(self._looks)}"]


class Tab:
    """Sends events and keeps what the page shows. ``token`` is what a browser would keep."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self._http = httpx.Client(base_url=url, timeout=30)
        self._session = secrets.token_hex(8)
        config = self._http.get("config").json()
        self._events = {d["api_name"]: d["id"] for d in config["dependencies"]}
        self.token = token
        self.chat: list[dict[str, Any]] = []
        self.known = ""
        self.notices: list[str] = []
        self.send("open")

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> "Tab":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def upload(self, *files: Path) -> list[dict[str, Any]]:
        """Upload files; returns them as a message names them."""
        parts = [("files", (f.name, f.read_bytes())) for f in files]
        answer = self._http.post("gradio_api/upload", files=parts)
        answer.raise_for_status()
        meta = {"_type": "gradio.FileData"}
        return [
            {"path": path, "orig_name": f.name, "meta": meta}
            for path, f in zip(answer.json(), files, strict=True)
        ]

    def say(self, text: str = "", *files: Path, named: list[dict[str, Any]] | None = None) -> str:
        """Send a message; returns the text of what the page then shows last."""
        sent = [*self.upload(*files)] if files else []
        self.send("say", {"text": text, "files": [*sent, *(named or [])]}, None)
        return self.last

    def send(self, name: str, *data: Any, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send an event and wait for its end; returns gradio's last message about it."""
        self._http.post(
            "gradio_api/queue/join",
            json={
                "fn_index": self._events[name],
                "data": [*data, self.token],
                "event_data": event,
                "session_hash": self._session,
            },
        ).raise_for_status()
        last: dict[str, Any] = {}
        with self._http.stream(
            "GET", "gradio_api/queue/data", params={"session_hash": self._session}
        ) as lines:
            for line in lines.iter_lines():
                message = json.loads(line[5:]) if line.startswith("data:") else {}
                if message.get("msg") == "log":
                    self.notices.append(message["log"])
                if message.get("msg") == "process_completed":
                    last = message
                    break
        self._take(last.get("output", {}).get("data") or [])
        return last

    def _take(self, data: list[Any]) -> None:
        if len(data) != 5:
            return
        chat, _, _, token, known = data
        if isinstance(chat, list):
            self.chat = chat
        self.token = token if isinstance(token, str) else self.token
        self.known = known if isinstance(known, str) else self.known

    @property
    def texts(self) -> list[str]:
        """Every text shown, HTML of cards included; steps are left out."""
        return [
            part.get("text") or str(part.get("value", ""))
            for message in self.chat
            if not (message.get("metadata") or {}).get("title")
            for part in message["content"]
        ]

    @property
    def labels(self) -> list[str]:
        """The labels in the panel "What I know"."""
        return re.findall(r"<strong>(.*?)</strong>", self.known)

    @property
    def last(self) -> str:
        """The last message: its text, its cards and its buttons."""
        if not self.chat:
            return ""
        parts = [p.get("text") or str(p.get("value", "")) for p in self.chat[-1]["content"]]
        return "\n".join([*parts, *self.options])

    @property
    def options(self) -> list[str]:
        """The messages one click away."""
        return [o["value"] for o in (self.chat[-1].get("options") or [])] if self.chat else []
