"""A hub on 127.0.0.1 that speaks as much of the hub's protocol as a download needs.

It serves the folders it is given, and misbehaves on request: gated, cut connections, error codes.
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

REVISION = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class FakeHub:
    """What is served and how; `requests` records the method and path of everything asked for."""

    repos: dict[str, Path]
    url: str = ""
    gated: set[str] = field(default_factory=set)
    status: int | None = None
    cuts: dict[str, int] = field(default_factory=dict)
    """File name -> after how many bytes its connection is cut; each cut happens once."""
    broken: set[str] = field(default_factory=set)
    """Files whose connection is cut at once, each time."""
    requests: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    accounts: dict[str, str] = field(default_factory=dict)
    """Token -> name of its account, for who asks whose it is."""
    refusal: str = "Invalid username or password."
    silent: threading.Event | None = None
    """While it is not set, no question is answered."""


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = self.path.split("?")[0]
        self.hub.requests.append(f"{self.command} {path}")
        self.hub.tokens.append(self.headers.get("Authorization") or "")
        if self.hub.silent is not None:
            self.hub.silent.wait(60)
        if path == "/api/whoami-v2":
            self._account()
            return
        parts = path.strip("/").split("/")
        api = parts[:2] == ["api", "models"]
        repo = "/".join(parts[2:4] if api else parts[:2])
        if self.hub.status is not None:
            self._send(self.hub.status, b"{}")
        elif repo not in self.hub.repos:
            self._send(401, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif repo in self.hub.gated and not api:
            self._send(
                403 if self.headers.get("Authorization") else 401, b"{}", {"X-Error-Code": "GatedRepo"}
            )
        elif api:
            self._send(200, json.dumps(self._describe(repo)).encode())
        else:
            self._file(self.hub.repos[repo] / "/".join(parts[4:]), body)

    def _account(self) -> None:
        name = self.hub.accounts.get((self.headers.get("Authorization") or "").removeprefix("Bearer "))
        if name is None:
            self._send(401, json.dumps({"error": self.hub.refusal}).encode())
            return
        token = {"displayName": "laptop", "role": "read"}
        self._send(200, json.dumps({"name": name, "auth": {"accessToken": token}}).encode())

    def _describe(self, repo: str) -> dict[str, object]:
        files = sorted(path for path in self.hub.repos[repo].rglob("*") if path.is_file())
        names = [(path.relative_to(self.hub.repos[repo]).as_posix(), path.stat().st_size) for path in files]
        siblings = [{"rfilename": name, "size": size} for name, size in names]
        return {"id": repo, "sha": REVISION, "siblings": siblings, "private": False}

    def _file(self, path: Path, body: bool) -> None:
        if not path.is_file():
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        content = path.read_bytes()
        headers = {
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Repo-Commit": REVISION,
            "Accept-Ranges": "bytes",
        }
        asked, status = self.headers.get("Range"), 200
        if body and asked:
            self.hub.ranges.append(f"{path.name} {asked}")
            start = int(asked.removeprefix("bytes=").split("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            content, status = content[start:], 206
        limit = 0 if path.name in self.hub.broken else self.hub.cuts.pop(path.name, None) if body else None
        self._send(status, content, headers, body, limit)

    def _send(
        self,
        status: int,
        content: bytes,
        headers: dict[str, str] | None = None,
        body: bool = True,
        limit: int | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body and self.command == "GET":
            self.wfile.write(content[:limit])
            self.close_connection = limit is not None

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@contextmanager
def serve(repos: dict[str, Path]) -> Iterator[FakeHub]:
    """Run a FakeHub in a thread for the length of the block."""
    hub = FakeHub(repos)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
