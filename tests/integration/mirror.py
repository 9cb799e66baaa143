"""A mirror of Debian that requires a login and forwards to Debian's own servers.

with mirrored() as mirror:
    ...                        # apt_mirror = mirror.archive, apt_security_mirror = mirror.security
    assert mirror.asked("/debian/dists/trixie/InRelease")
"""

import base64
import contextlib
import shutil
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote

from cube.config.mirrors import archives

#: What shells, sed, URLs and apt each read in their own way.
USER, PASSWORD = "build", "s&#1%:/w\\0"
#: Folders of the mirror, and whose they are.
FOLDERS = dict(
    zip(("/a&b/debian/", "/updates&1/"), (f"{url}/" for url in archives("debian-13")), strict=True)
)
#: Headers of a question, and of an answer, that matter to apt.
ASKED = ("If-Modified-Since", "Range", "If-Range")
TOLD = ("Content-Length", "Content-Range", "Last-Modified", "Content-Type")
#: Seconds for Debian's servers to answer.
ANSWER_S = 60


@dataclass
class Mirror:
    """What is served, and what was requested with the login; `scheme` is http or https."""

    port: int = 0
    scheme: str = "http"
    paths: list[str] = field(default_factory=list)
    refused: int = 0

    def url(self, folder: str, host: str) -> str:
        """Return the URL of a folder with the login in it."""
        login = f"{quote(USER, safe='')}:{quote(PASSWORD, safe='')}"
        return f"{self.scheme}://{login}@{host}:{self.port}{folder}"

    def network(self, host: str) -> str:
        """Return what cube.toml says of it.

        Args:
            host: this machine, as whoever asks calls it.
        """
        archive, security = (self.url(folder, host) for folder in FOLDERS)
        return f'apt_mirror = "{archive}"\napt_security_mirror = "{security}"\n'

    def asked(self, ending: str) -> bool:
        """Tell whether a file was asked for."""
        return any(path.endswith(ending) for path in self.paths)


class Handler(BaseHTTPRequestHandler):
    """Answers GET."""

    protocol_version = "HTTP/1.1"
    mirror: Mirror

    def do_GET(self) -> None:
        """Pass an answer of Debian's server on, to who has the login."""
        wanted = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {wanted}":
            self.mirror.refused += 1
            self.answer(401, {"WWW-Authenticate": "Basic"})
            return
        path = unquote(self.path)
        folder = next((one for one in FOLDERS if path.startswith(one)), "")
        if not folder:
            self.answer(404, {})
            return
        self.mirror.paths.append(path)
        headers = {name: self.headers[name] for name in ASKED if name in self.headers}
        url = FOLDERS[folder] + quote(path.removeprefix(folder))
        try:
            request = urllib.request.Request(url, headers=headers)
            with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
                told = {name: answer.headers[name] for name in TOLD if name in answer.headers}
                self.answer(answer.status, told)
                shutil.copyfileobj(answer, self.wfile)
        except urllib.error.HTTPError as error:
            with error:
                self.answer(error.code, {})

    def answer(self, code: int, headers: dict[str, str]) -> None:
        """Send the head of an answer."""
        self.send_response(code)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def handle(self) -> None:
        """Serve a connection until the other side goes away."""
        with contextlib.suppress(ConnectionError):
            super().handle()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def mirrored(
    address: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[Mirror]:
    """Serve while the block runs; port 0 is any free one."""
    mirror = Mirror(scheme="https" if tls else "http")
    handler = type("Bound", (Handler,), {"mirror": mirror})
    server = ThreadingHTTPServer((address, port), handler)
    if tls:
        # The handshake is left to the thread of the connection.
        server.socket = tls.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    mirror.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield mirror
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
