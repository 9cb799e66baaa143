"""A cache of packages, the same for all: a proxy that keeps what it has once loaded.

What it has is given out whatever the archive has by then, so every tool installs the same
packages. It listens on loopback only, and ends when its standard input does.
"""

import argparse
import hashlib
import os
import shutil
import sys
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

#: Seconds for an archive's answer.
ANSWER_S = 120


class Cache(ThreadingHTTPServer):
    """The proxy's server."""

    daemon_threads = True

    def __init__(self, port: int, folder: Path) -> None:
        """Listen on a port of loopback; keep files in a folder."""
        super().__init__(("127.0.0.1", port), Handler)
        self.folder = folder


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Cache

    def do_GET(self) -> None:
        """Answer from the folder, and load first what is not there."""
        try:
            file = stored(self.path, self.server.folder)
        except urllib.error.HTTPError as error:
            self.answer(error.code, 0)
        except OSError as error:
            self.log_error("%s: %s", self.path, error)
            self.answer(502, 0)
        else:
            self.answer(200, file.stat().st_size)
            with file.open("rb") as source:
                shutil.copyfileobj(source, self.wfile)

    def answer(self, code: int, length: int) -> None:
        """Send the head of an answer."""
        self.send_response(code)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Keep quiet about what went well."""


def stored(url: str, folder: Path) -> Path:
    """Return the file of a URL, loaded when it is not there.

    Raises:
        HTTPError: the archive has none.
        OSError: the archive cannot be reached, or the URL is none of HTTP.
    """
    file = folder / hashlib.sha256(url.encode()).hexdigest()
    if not file.exists():
        if not url.startswith("http://"):
            raise OSError("only http:// is kept here")
        part = file.with_name(f"{file.name}.{threading.get_ident()}")
        with urllib.request.urlopen(url, timeout=ANSWER_S) as answer, part.open("wb") as target:  # noqa: S310 (checked above)
            shutil.copyfileobj(answer, target)
        part.rename(file)
    return file


def follow() -> None:
    """End when the standard input does: whoever started this has gone."""
    sys.stdin.buffer.read()
    os._exit(0)


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("port", type=int)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    threading.Thread(target=follow, daemon=True).start()
    Cache(options.port, options.folder).serve_forever()


if __name__ == "__main__":
    main()
