"""A folder on loopback, over HTTP: a package archive that a machine reaches, and that can wait.

with serve(folder) as server:
    server.hold()              # from now on no package is sent
    server.wait_for_package()  # one was asked for: whoever installs it stands still
    server.release()
"""

import contextlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.integration.index import HOST

#: How a package's name ends.
PACKAGE = ".deb"
#: Seconds until a package is asked for, and for which one is held at most.
WAIT_S = 600


class Server:
    """What is served, and whether packages are."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.sends, self.asked = threading.Event(), threading.Event()
        self.sends.set()

    @property
    def url(self) -> str:
        """Where a machine finds it."""
        return f"http://{HOST}:{self.port}"

    def hold(self) -> None:
        """Send no package from now on."""
        self.asked.clear()
        self.sends.clear()

    def release(self) -> None:
        """Send packages again."""
        self.sends.set()

    def wait_for_package(self) -> None:
        """Wait until a package is asked for."""
        assert self.asked.wait(WAIT_S), "nobody asked for a package"


class Handler(SimpleHTTPRequestHandler):
    """Answers GET."""

    state: Server

    def do_GET(self) -> None:
        """Send a file; a package only when packages are sent."""
        if self.path.endswith(PACKAGE):
            self.state.asked.set()
            self.state.sends.wait(WAIT_S)
        super().do_GET()

    def handle(self) -> None:
        """Serve a connection until the other side goes away."""
        with contextlib.suppress(ConnectionError):
            super().handle()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """Serve a folder while the block runs."""
    state = Server(port=0)
    bound = type("Bound", (Handler,), {"state": state})
    handler = partial(bound, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.release()
        server.shutdown()
        server.server_close()
        thread.join()
