"""A cache of its own for every test, and a server on this machine that misbehaves as told."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import scdrug
from scdrug.datasets import _fetch
from scdrug.datasets._registry import FileEntry


@dataclass
class Server:
    """Files to serve by path, how to behave at each request (the last way is kept), and what was asked for."""

    port: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    behaviour: dict[str, list[str]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def add(self, name: str, content: bytes, *behaviour: str) -> str:
        self.files[f"/{name}"] = content
        self.behaviour[f"/{name}"] = [*behaviour] or ["ok"]
        return f"http://127.0.0.1:{self.port}/{name}"

    def next_behaviour(self, path: str) -> str:
        ways = self.behaviour.get(path, ["missing"])
        return ways.pop(0) if len(ways) > 1 else ways[0]


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.requests.append(self.path)
            way = state.next_behaviour(self.path)
            if way in ("missing", "broken"):
                self.send_error(404 if way == "missing" else 503)
                return
            content = state.files[self.path]
            if way in ("endless", "drip"):
                self.flow(content, pause=0.02 if way == "drip" else 0)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if way == "cut":
                content = content[: len(content) // 2]
            elif way == "corrupt":
                content = content[::-1]
            elif way == "slow":
                time.sleep(0.5)
            self.wfile.write(content)

        def flow(self, content: bytes, *, pause: float) -> None:
            """Send without end, and without saying how much there is."""
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(content[:1] if pause else content)
                    self.wfile.flush()
                    time.sleep(pause)

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.port = httpd.server_address[1]
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield state
    httpd.shutdown()
    httpd.server_close()
    thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("SCDRUG_DATA_DIR", str(folder))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("SCDRUG_OFFLINE", raising=False)
    monkeypatch.setattr(scdrug.settings, "_data_dir", None)
    monkeypatch.setattr(scdrug.settings, "progress", False)
    monkeypatch.setattr(_fetch, "_PAUSE_SECONDS", 0.01)
    return folder


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch):
    """Put one file into the registry, as data set and as file."""

    def add(
        *urls: str, content: bytes | None = None, size: int | None = None, note: str = "", file: str = "table.csv"
    ) -> FileEntry:
        sha256 = None if content is None else hashlib.sha256(content).hexdigest()
        entry = FileEntry(
            dataset="screen",
            file=file,
            urls=urls,
            sha256=sha256,
            size=size,
            unverified=sha256 is None,
            note=note,
        )
        monkeypatch.setattr(_fetch, "find_files", lambda _: (entry,))
        return entry

    return add
