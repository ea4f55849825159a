"""A real HTTP server, in a thread, that speaks the Hugging Face Hub's protocol to its own client.

Repositories are in memory: one list of files a branch, and every commit. Large files go the way of
LFS. Which request fails, and how, is told beforehand. Knows nothing of Imprint.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import yaml

__all__ = ["TOKEN", "HubServer", "Repository"]

TOKEN = "hf_ann"
_LARGE = (".safetensors", ".parquet", ".png", ".npz")
_KINDS = r"(?P<kind>models|datasets)"
_REPO = r"(?P<repo>[\w.-]+/[\w.-]+)"


@dataclass
class Repository:
    """``branches``: name → path → content. ``commits``: id, branch and message of each."""

    private: bool = False
    branches: dict[str, dict[str, bytes]] = field(
        default_factory=lambda: {"main": {".gitattributes": b"*.safetensors filter=lfs\n"}}
    )
    commits: list[tuple[str, str, str]] = field(default_factory=list)

    def head(self, revision: str) -> str:
        """The commit of a branch, or itself; 40 digits."""
        if revision not in self.branches:
            return revision
        mine = [oid for oid, branch, _ in self.commits if branch == revision]
        return mine[-1] if mine else hashlib.sha1(revision.encode()).hexdigest()

    def files(self, revision: str) -> dict[str, bytes] | None:
        """What is there, by the name of a branch or the id of its last commit."""
        named = [b for b in self.branches if revision in (b, self.head(b))]
        return self.branches[named[0]] if named else None


class HubServer:
    """``with HubServer() as hub``; ``HF_ENDPOINT`` is ``hub.url``. :data:`TOKEN` is ann's."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.requests: list[tuple[str, str]] = []
        self.blobs: dict[str, bytes] = {}
        self._failing: dict[str, int | None] = {}
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def fails(self, what: str, status: int | None) -> None:
        """Requests whose path has ``what`` in it get ``status``, or (None) a closed connection."""
        self._failing[what] = status

    def failure(self, path: str) -> tuple[bool, int | None]:
        """Whether a request is to fail, and how."""
        for what, status in self._failing.items():
            if what in path:
                return True, status
        return False, None

    def add(self, repo: str, files: dict[str, bytes], kind: str = "models", **how: Any) -> None:
        """A repository that is there already."""
        made = self.repositories[kind, repo] = Repository(**how)
        made.branches["main"] |= files

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = urlsplit(self.path).path
        self.hub.requests.append((self.command, path))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self._chunks()
        failing, status = self.hub.failure(path)
        if failing and status is None:
            self.close_connection = True
            return
        if failing:
            self._send({"error": "as told"}, status or 500)
            return
        for methods, pattern, how in _ROUTES:
            match = re.fullmatch(pattern, path)
            if match and self.command in methods:
                how(self, body, **{k: unquote(v) for k, v in match.groupdict().items() if v})
                return
        self._send({"error": f"no {self.command} {path} here"}, 404)

    def _chunks(self) -> bytes:
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    # --- who, and where -------------------------------------------------------------------------

    def whoami(self, _: bytes) -> None:
        if self._writes():
            self._send({"type": "user", "name": "ann", "orgs": []})

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        if not self._writes(asked["organization"]):
            return
        kind, repo = asked.get("type", "model") + "s", f"{asked['organization']}/{asked['name']}"
        url = {"url": f"{self.hub.url}/{repo}"}
        if (kind, repo) in self.hub.repositories:
            self._send(url | {"error": "You already created this model repo"}, 409)
            return
        private = asked.get("visibility") == "private"
        self.hub.repositories[kind, repo] = Repository(private)
        self._send(url)

    def branch(self, _: bytes, kind: str, repo: str, revision: str) -> None:
        found = self._found(kind, repo)
        if found is None:
            return
        if revision in found.branches:
            self._send({"error": "Reference already exists"}, 409)
            return
        found.branches[revision] = dict(found.branches["main"])
        self._send({})

    def info(self, _: bytes, kind: str, repo: str, revision: str = "main") -> None:
        found = self._found(kind, repo)
        files = found.files(revision) if found else None
        if found is None:
            return
        if files is None:
            self._send({"error": "Invalid rev id"}, 404, {"X-Error-Code": "RevisionNotFound"})
            return
        told = {"id": repo, "sha": found.head(revision), "private": found.private}
        self._send(told | {"siblings": [{"rfilename": name} for name in sorted(files)]})

    def tree(self, _: bytes, kind: str, repo: str, revision: str) -> None:
        found = self._found(kind, repo)
        files = (found.files(revision) if found else None) or {}
        rows = []
        for name, content in sorted(files.items()):
            row: dict[str, Any] = {"type": "file", "path": name, "size": len(content)}
            row["oid"] = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            if name.endswith(_LARGE):
                oid = hashlib.sha256(content).hexdigest()
                row["lfs"] = {"oid": oid, "size": len(content), "pointerSize": 130}
            rows.append(row)
        self._send(rows)

    # --- upwards --------------------------------------------------------------------------------

    def validate(self, body: bytes) -> None:
        """As the Hub does: front matter must be there and be YAML, and its lists well formed."""
        parts = json.loads(body)["content"].split("---\n", 2)
        try:
            front = yaml.safe_load(parts[1])
            assert parts[0] == "" and isinstance(front, dict)
            for result in front["model-index"][0]["results"]:
                assert result["task"]["type"] and result["dataset"]["type"] and result["metrics"]
            assert re.fullmatch(r"[\w.-]+/[\w.-]+", front.get("base_model", "a/b"))
        except (AssertionError, LookupError, yaml.YAMLError) as exc:
            self._send({"errors": [{"message": f"bad front matter: {exc}"}], "warnings": []}, 400)
            return
        self._send({"errors": [], "warnings": []})

    def preupload(self, body: bytes, kind: str, repo: str, revision: str) -> None:
        found = self._found(kind, repo)
        files = (found.files(revision) if found else None) or {}
        modes = []
        for one in json.loads(body)["files"]:
            large, old = one["path"].endswith(_LARGE), files.get(one["path"])
            oid = None
            if old is not None:
                git = hashlib.sha1(b"blob %d\0" % len(old) + old)
                oid = (hashlib.sha256(old) if large else git).hexdigest()
            mode = {"uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": oid}
            modes.append({"path": one["path"], **mode})
        self._send({"files": modes})

    def batch(self, body: bytes, repo: str) -> None:
        objects = [
            {
                **{key: one[key] for key in ("oid", "size")},
                **(
                    {}
                    if one["oid"] in self.hub.blobs
                    else {"actions": {"upload": {"href": f"{self.hub.url}/lfs/{one['oid']}"}}}
                ),
            }
            for one in json.loads(body)["objects"]
        ]
        self._send({"transfer": "basic", "objects": objects})

    def put(self, body: bytes, oid: str) -> None:
        if hashlib.sha256(body).hexdigest() != oid:
            self._send({"error": "not what was announced"}, 422)
            return
        self.hub.blobs[oid] = body
        self._send({})

    def commit(self, body: bytes, kind: str, repo: str, revision: str) -> None:
        found = self._found(kind, repo)
        if found is None or not self._writes(repo.partition("/")[0]):
            return
        header, *operations = [json.loads(line) for line in body.splitlines()]
        files = dict(found.branches[revision])
        for operation in operations:
            value = operation["value"]
            if operation["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                files[value["path"]] = self.hub.blobs[value["oid"]]
            elif operation["key"] == "deletedFile":
                del files[value["path"]]
        oid = hashlib.sha1(body).hexdigest()
        found.branches[revision] = files
        found.commits.append((oid, revision, header["value"]["summary"]))
        url = f"{self.hub.url}/{repo}/commit/{oid}"
        self._send({"success": True, "commitOid": oid, "commitUrl": url})

    # --- downwards ------------------------------------------------------------------------------

    def resolve(self, _: bytes, repo: str, revision: str, name: str, kind: str = "models") -> None:
        found = self._found(kind, repo)
        content = ((found.files(revision) if found else None) or {}).get(name)
        if found is None:
            return
        if content is None:
            self._send({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
            return
        told = {"X-Repo-Commit": found.head(revision)}
        self._bytes(content, 200, told | {"ETag": f'"{hashlib.sha256(content).hexdigest()}"'})

    # --- words ----------------------------------------------------------------------------------

    def _writes(self, owner: str = "ann") -> bool:
        """Whether the token is good and may write to ``owner``; says so if it is not."""
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            said = "Invalid credentials in Authorization header"
            self._send({"error": said}, 401, {"X-Error-Message": said})
        elif owner != "ann":
            said = "You don't have the rights to create a model under this namespace"
            self._send({"error": said}, 403, {"X-Error-Message": said})
        else:
            return True
        return False

    def _found(self, kind: str, repo: str) -> Repository | None:
        found = self.hub.repositories.get((kind, repo))
        if found is None:
            self._send({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        return found

    def _send(self, content: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(content).encode()
        self._bytes(body, status, {"Content-Type": "application/json", **(headers or {})})

    def _bytes(self, body: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


_ROUTES: list[tuple[str, str, Callable[..., None]]] = [
    ("GET", "/api/whoami-v2", _Handler.whoami),
    ("POST", "/api/repos/create", _Handler.create),
    ("POST", "/api/validate-yaml", _Handler.validate),
    ("POST", f"/api/{_KINDS}/{_REPO}/branch/(?P<revision>[^/]+)", _Handler.branch),
    ("GET", f"/api/{_KINDS}/{_REPO}", _Handler.info),
    ("GET", f"/api/{_KINDS}/{_REPO}/revision/(?P<revision>[^/]+)", _Handler.info),
    ("GET", f"/api/{_KINDS}/{_REPO}/tree/(?P<revision>[^/]+)", _Handler.tree),
    ("POST", f"/api/{_KINDS}/{_REPO}/preupload/(?P<revision>[^/]+)", _Handler.preupload),
    ("POST", f"/{_REPO}\\.git/info/lfs/objects/batch", _Handler.batch),
    ("PUT", "/lfs/(?P<oid>[0-9a-f]{64})", _Handler.put),
    ("POST", f"/api/{_KINDS}/{_REPO}/commit/(?P<revision>[^/]+)", _Handler.commit),
    (
        "GET HEAD",
        f"/(?:(?P<kind>datasets)/)?{_REPO}/resolve/(?P<revision>[^/]+)/(?P<name>.+)",
        _Handler.resolve,
    ),
]
