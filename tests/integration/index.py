"""A package index: it forwards to this machine's index, keeps files, counts and misbehaves.

A container reaches it at `HOST`. Every byte that layer 4 downloads in the tests comes through it.
"""

import base64
import contextlib
import json
import re
import ssl
import threading
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlparse

from cube.supply.wheel_cache import upstream

#: The machine that runs the container, as the container sees it. Source: slirp4netns(1).
HOST = "10.0.2.2"
#: Source: PyPA, "Simple repository API", JSON serialization.
JSON = "application/vnd.pypi.simple.v1+json"
CHUNK = 1 << 18


class Index:
    """What the server knows; a test sets `slow`, `cut` and `down`.

    Args:
        folder: keeps the files.

    Attributes:
        sent: how many wheels of a package were sent whole, by its name in a wheel's name.
        asked: how many were asked for.
        slow: packages whose wheels are sent no faster than a megabyte a second.
        cut: packages whose next wheel breaks off in the middle.
        down: whether every request is refused.
        login: "user:password" that every request must have; empty: none.
        refused: how many requests lacked it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.urls: dict[str, str] = {}
        self.sent, self.asked = Counter[str](), Counter[str]()
        self.slow, self.cut = set[str](), set[str]()
        self.down = False
        self.login, self.refused = "", 0
        self.locks = defaultdict[str, threading.Lock](threading.Lock)
        self.port = 0

    @property
    def url(self) -> str:
        """Where a container finds it."""
        return f"http://{HOST}:{self.port}/simple"

    def page(self, name: str) -> bytes:
        """Return the page of a package, its files at this server."""
        file = self.folder / f"{name}.json"
        with self.locks[name]:
            if not file.exists():
                request = urllib.request.Request(
                    f"{upstream('').rstrip('/')}/{name}/", headers={"Accept": JSON}
                )
                with urllib.request.urlopen(request, timeout=60) as answer:
                    file.write_bytes(answer.read())
        page = json.loads(file.read_text())
        for one in page["files"]:
            self.urls[one["filename"]] = one["url"]
            one["url"] = f"/files/{one['filename']}"
        return json.dumps(page).encode()

    def file(self, name: str) -> Path:
        """Return a file, fetched on its first use."""
        path = self.folder / name
        with self.locks[name]:
            if not path.exists():
                base = name.removesuffix(".metadata")
                url = self.urls[base] + name.removeprefix(base)
                part, _ = urllib.request.urlretrieve(url, path.with_name(f"{name}.part"))
                Path(part).rename(path)
        return path


class Handler(BaseHTTPRequestHandler):
    """Answers GET."""

    index: Index
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Send a page, a file, or a refusal."""
        path = urlparse(self.path).path
        wanted = base64.b64encode(self.index.login.encode()).decode()
        if self.index.login and self.headers.get("Authorization") != f"Basic {wanted}":
            self.index.refused += 1
            self.send_error(401)
            return
        page, file = (re.fullmatch(f"/{kind}/([^/]+)/?", path) for kind in ("simple", "files"))
        if self.index.down or not (page or file):
            self.send_error(503 if self.index.down else 404)
        elif page:
            body = self.index.page(page[1])
            self.head(len(body), JSON)
            self.wfile.write(body)
        elif file:
            self.send_file(file[1])

    def head(self, length: int, kind: str = "application/octet-stream") -> None:
        """Send the headers."""
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def send_file(self, name: str) -> None:
        """Send a file as the test wants it sent."""
        index, package = self.index, name.split("-", maxsplit=1)[0] if name.endswith(".whl") else ""
        index.asked[package] += 1
        body = index.file(name).read_bytes()
        self.head(len(body))
        end = len(body) // 2 if package in index.cut else len(body)
        for start in range(0, end, CHUNK):
            self.wfile.write(body[start : min(start + CHUNK, end)])
            if package in index.slow:
                time.sleep(CHUNK / 2**20)
        if end < len(body):
            index.cut.remove(package)
            self.close_connection = True
        else:
            index.sent[package] += 1

    def handle(self) -> None:
        """Serve a connection until the other side goes away."""
        with contextlib.suppress(ConnectionError):
            super().handle()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serve(
    folder: Path, address: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> Iterator[Index]:
    """Run an index while the block runs."""
    index = Index(folder)
    handler = type("Bound", (Handler,), {"index": index})
    server = ThreadingHTTPServer((address, 0), handler)
    if tls:
        server.socket = tls.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    index.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
