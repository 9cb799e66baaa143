"""A package index on loopback with one package that counts and misbehaves as a test wants."""

import contextlib
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from cube.supply.wheel_index.locks import Wanted
from cube.supply.wheel_index.page import JSON, Page
from cube.supply.wheel_index.server import House
from cube.supply.wheel_index.store import Shelf
from cube.supply.wheel_index.upstream import Upstream

WHEEL = b"not a wheel, but as good as one to an index\n" * 40_000
METADATA = b"Name: some-package\n"
NAME = "some_package-1.0+cpu-py3-none-any.whl"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Origin(BaseHTTPRequestHandler):
    """The index.

    Attributes:
        asked: how often each path was asked for.
        html: whether it speaks HTML only.
        wheel: what it sends.
        length: what it says that it sends.
        down: the status with which it refuses everything.
        login: the header that it wants.
        hold: files wait for it in the middle.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    asked: Counter[str]
    html = False
    wheel = WHEEL
    length = len(WHEEL)
    down = 0
    login = ""
    hold: threading.Event | None = None

    def do_GET(self) -> None:
        self.asked[self.path] += 1
        if self.down or (self.login and self.headers.get("Authorization") != self.login):
            self.send_error(self.down or 401)
        elif self.path == "/simple/some-package/":
            self.send(self.page(), "text/html; charset=utf-8" if self.html else JSON)
        elif self.path == "/deep/w.whl.metadata":
            self.send(METADATA, "text/plain")
        elif self.path == "/deep/w.whl" and "Range" in self.headers:
            self.send_response(206)
            self.send_header("Content-Range", f"bytes 0-3/{len(WHEEL)}")
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.wfile.write(WHEEL[:4])
        elif self.path == "/deep/w.whl":
            self.send_wheel()
        else:
            self.send_error(404)

    do_HEAD = do_GET

    def page(self) -> bytes:
        digest, metadata = sha256(WHEEL), sha256(METADATA)
        if self.html:
            return (
                '<!DOCTYPE html><html><head><base href="/deep/"></head><body>'
                f'<a href="w.whl#sha256={digest}" data-requires-python="&gt;=3.9" data-yanked="old"'
                f' data-dist-info-metadata="sha256={metadata}">{NAME}</a>'
                '<a href="../plain.tar.gz">plain.tar.gz</a></body></html>'
            ).encode()
        return (
            '{"meta": {"api-version": "1.1"}, "name": "some-package", "files": ['
            f'{{"filename": "{NAME}", "url": "../../deep/w.whl",'
            f' "size": {len(WHEEL)}, "hashes": {{"sha256": "{digest}"}},'
            f' "requires-python": ">=3.9", "core-metadata": {{"sha256": "{metadata}"}}}},'
            '{"filename": "plain.tar.gz", "url": "../../plain.tar.gz", "hashes": {}}]}'
        ).encode()

    def send(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def send_wheel(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(self.length))
        self.end_headers()
        if self.command == "HEAD":
            return
        half = len(self.wheel) // 2
        self.wfile.write(self.wheel[:half])
        if self.hold:
            self.hold.wait(20)
        self.wfile.write(self.wheel[half:])
        self.close_connection = self.length != len(self.wheel)

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def running(server: ThreadingHTTPServer) -> Iterator[str]:
    """Serve while the block runs; yield the URL."""
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Pair:
    """An index and ours in front of it."""

    def __init__(self, origin: type[Origin], house: House, url: str, folder: Path) -> None:
        self.origin, self.house, self.url, self.folder = origin, house, url, folder

    @property
    def file(self) -> str:
        """The path of the wheel at our index."""
        return f"/files/{sha256(WHEEL)}/{NAME.replace('+', '%2B')}"

    @property
    def kept(self) -> list[str]:
        """Names in the folder of files."""
        return sorted(path.name for path in self.folder.glob("files/*"))

    def page(self) -> Page:
        """Ask for the package's page."""
        found: Page = json.loads(self.get("/simple/Some_Package/")[1])
        return found

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes, str]:
        """Return status, body and range of an answer."""
        request = Request(self.url + path, method=method, headers=headers)
        try:
            with build_opener(ProxyHandler({})).open(request, timeout=20) as answer:
                return answer.status, answer.read(), answer.headers.get("Content-Range", "")
        except HTTPError as error:
            with error:
                return error.code, b"", error.headers.get("Content-Range", "")


@contextlib.contextmanager
def pair(
    folder: Path, *, login: str = "", floor_bytes: int = 0, locks: Wanted | None = None
) -> Iterator[Pair]:
    """Run both while the block runs."""
    origin = type("Bound", (Origin,), {"asked": Counter()})
    with running(ThreadingHTTPServer(("127.0.0.1", 0), origin)) as far:
        index = f"{far.replace('//', f'//{login}@' if login else '//')}/simple/"
        house = House(Shelf(folder, floor_bytes), Upstream(index), locks=locks)
        with running(house) as near:
            yield Pair(origin, house, near, folder)
