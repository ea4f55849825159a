"""A real HTTP server, in a thread, that speaks OpenAI's chat completions as it is told to.

Answers are enqueued and sent in order, streamed as server-sent events with chunked encoding;
requests are kept. Knows nothing of Imprint.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

__all__ = [
    "OpenAIServer",
    "breaks_off",
    "calls",
    "endless",
    "fails",
    "keeps_silent",
    "says",
    "sends",
]

Answer = Callable[["_Handler"], None]


class OpenAIServer:
    """``with OpenAIServer() as server``; its base URL is ``server.url``."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        """The ``Authorization`` of each request."""
        self.left = threading.Event()
        """A client closed its connection while it was being answered."""
        self.closing = threading.Event()
        self._answers: list[Answer] = []
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def enqueue(self, *answers: Answer) -> None:
        """What the next requests get, one each; a request beyond them gets HTTP 418."""
        self._answers.extend(answers)

    def next(self) -> Answer:
        """The answer to the request that has just come."""
        return self._answers.pop(0) if self._answers else fails(418, "nothing is left to say")

    def messages(self, request: int = -1) -> list[dict[str, Any]]:
        """The messages of a request."""
        found: list[dict[str, Any]] = self.requests[request]["messages"]
        return found

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()


def says(text: str, *, pause: float = 0.0, requests: int = 0) -> Answer:
    """Words, streamed one by one, once so many ``requests`` have come."""

    def answer(handler: "_Handler") -> None:
        while len(handler.owner.requests) < requests and not handler.owner.closing.wait(0.01):
            pass
        handler.events([{"content": w} for w in _words(text)], "stop", pause=pause)

    return answer


def calls(*wanted: tuple[str, dict[str, Any] | str], text: str = "") -> Answer:
    """Tool calls, all in one message, their arguments in pieces; a string is sent as it is."""

    def answer(handler: "_Handler") -> None:
        deltas: list[dict[str, Any]] = [{"content": text}] if text else []
        for index, (name, arguments) in enumerate(wanted):
            raw = arguments if isinstance(arguments, str) else json.dumps(arguments)
            head = {"name": name, "arguments": ""}
            start = {"index": index, "id": f"c{index}", "type": "function", "function": head}
            deltas.append({"tool_calls": [start]})
            for at in range(0, len(raw), 5):
                piece = {"index": index, "function": {"arguments": raw[at : at + 5]}}
                deltas.append({"tool_calls": [piece]})
        handler.events(deltas, "tool_calls")

    return answer


def endless(word: str, *, pause: float = 0.01) -> Answer:
    """The same word until the client has enough."""

    def answer(handler: "_Handler") -> None:
        def words() -> Iterator[dict[str, Any]]:
            while not handler.owner.closing.is_set():
                yield {"content": word}

        handler.events(words(), "stop", pause=pause)

    return answer


def breaks_off(*deltas: dict[str, Any], politely: bool = False) -> Answer:
    """Some of an answer, then a closed connection; ``politely``: as if that were all."""

    def answer(handler: "_Handler") -> None:
        handler.events(list(deltas), None, broken=not politely)

    return answer


def keeps_silent(*, alive: bool = False) -> Answer:
    """Nothing; ``alive``: comments that say only that something will come."""

    def answer(handler: "_Handler") -> None:
        if alive:
            handler.start("text/event-stream")
        while not handler.owner.closing.is_set():
            time.sleep(0.02)
            if alive:
                handler.chunk(b": still busy\n\n")

    return answer


def fails(status: int, message: str) -> Answer:
    """An error, as OpenAI words it."""
    return sends(json.dumps({"error": {"message": message}}), "application/json", status)


def sends(body: str, content_type: str, status: int = 200) -> Answer:
    """Any body."""

    def answer(handler: "_Handler") -> None:
        data = body.encode()
        handler.send_response(status)
        handler.send_header("Content-Type", content_type)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return answer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: OpenAIServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path != "/v1/chat/completions":
            fails(404, f"no {self.path} here")(self)
            return
        self.owner.requests.append(json.loads(body))
        self.owner.keys.append(self.headers["Authorization"])
        self.owner.next()(self)

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            self.owner.left.set()

    def start(self, content_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def events(
        self,
        deltas: Any,
        reason: str | None,
        *,
        pause: float = 0.0,
        broken: bool = False,
    ) -> None:
        self.start("text/event-stream")
        self._event({"role": "assistant", "content": ""})
        for delta in deltas:
            self._event(delta)
            time.sleep(pause)
        if broken:
            self.close_connection = True
            return
        if reason is not None:
            self._event({}, reason)
            self.chunk(b"data: [DONE]\n\n")
        self.chunk(b"")

    def _event(self, delta: dict[str, Any], reason: str | None = None) -> None:
        data = {
            "id": "answer",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "scripted",
            "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
        }
        self.chunk(f"data: {json.dumps(data)}\n\n".encode())

    def log_message(self, *_: Any) -> None:
        """Quiet."""


def _words(text: str) -> list[str]:
    return [w + " " * (i < text.count(" ")) for i, w in enumerate(text.split(" "))]
