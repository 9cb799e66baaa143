"""Answers uv and pip: pages of the index, and files from the folder or through it."""

import contextlib
import json
import re
import sys
import threading
from dataclasses import replace
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit

from cube.supply.wheel_index import AHEAD, page, ranges
from cube.supply.wheel_index.in_flight import Arrival, Arrivals
from cube.supply.wheel_index.locks import Wanted
from cube.supply.wheel_index.page import Origin
from cube.supply.wheel_index.store import Copy, Shelf
from cube.supply.wheel_index.upstream import Upstream

BLOCK = 256 * 1024
METADATA = ".metadata"
ROUTE = re.compile(
    r"/(?:simple/(?P<package>[\w.-]+)/?|files/(?P<sha>[0-9a-f]{64})/(?P<name>[^/]+))"
)
#: Of an answer that is passed on.
PASSED = (
    "Content-Type", "Content-Length", "Content-Range", "Content-Encoding", "Accept-Ranges",
)  # fmt: skip
#: A file's address is no good any more, so its page is old. Other codes from 400 to 499 speak of
#: the moment, the way there or the range. Source: RFC 9110, 15.5.
DEAD = frozenset({
    HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND,
    HTTPStatus.GONE,
})  # fmt: skip


class House(ThreadingHTTPServer):
    """The server.

    Args:
        shelf: what is kept.
        upstream: where the rest comes from.
        locks: which files are wanted of a package; of another one, all are.
        port: of loopback; 0 takes a free one.

    Attributes:
        arrivals: files that are on their way.
        origins: where files are, by their sha256; known of packages whose page was asked for.
        fetched: bytes of files that came from the network.
        given: bytes of files that were given.
    """

    daemon_threads = True
    #: uv opens 50 connections at once. Source: uv, "concurrent-downloads".
    request_queue_size = 128

    def __init__(
        self, shelf: Shelf, upstream: Upstream, *, locks: Wanted | None = None, port: int = 0
    ) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.shelf, self.upstream, self.locks = shelf, upstream, locks or {}
        self.origins: dict[str, Origin] = {}
        self.arrivals = Arrivals()
        self.fetched = self.given = 0
        self._mutex = threading.Lock()

    def count(self, *, fetched: int = 0, given: int = 0) -> None:
        """Add to what has passed."""
        with self._mutex:
            self.fetched += fetched
            self.given += given

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        """Say in a line what broke a connection: a client that goes away is no trouble."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError):
            sys.stderr.write(f"{client_address}: {error!r}\n")


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: House

    def do_GET(self) -> None:
        """Give a page or a file."""
        path = urlsplit(self.path).path
        found = ROUTE.fullmatch(path)
        if path == "/traffic":
            traffic = {"fetched": self.server.fetched, "given": self.server.given}
            self.send_whole(json.dumps(traffic).encode(), "application/json")
        elif found and found["package"]:
            self.give_page(page.normalized(found["package"]))
        elif found:
            self.give_file(found["sha"], found["name"])
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    do_HEAD = do_GET

    def give_page(self, name: str) -> None:
        """Give a package's page.

        The one that was kept is enough if it has every file that the locks name. Else the index
        is asked, and the kept one is given when that is away.
        """
        shelf, upstream = self.server.shelf, self.server.upstream
        wanted = self.server.locks.get(name, frozenset())
        found = shelf.page(upstream.index, name) if wanted else None
        if found and wanted <= page.digests(found):
            self.send_page(name, page.only(found, wanted))  # an earlier build's locks named others
            return
        try:
            found = page.only(upstream.page(name), wanted)
            shelf.keep_page(upstream.index, name, found)
        except (OSError, HTTPException, ValueError) as error:
            if isinstance(error, HTTPError) and error.code < HTTPStatus.INTERNAL_SERVER_ERROR:
                self.refuse(error)
                return
            found = shelf.page(upstream.index, name, doubted=True)
            outcome = "the page that was kept is given" if found else "no page is kept"
            self.log_error("%s: %s; %s", name, error, outcome)
        if found is None:
            self.send_error(HTTPStatus.BAD_GATEWAY)
        else:
            self.send_page(name, found)

    def send_page(self, name: str, found: page.Page) -> None:
        """Send a package's page, and remember where its files are."""
        given, origins = page.here(found, name)
        self.server.origins.update(origins)
        self.send_whole(json.dumps(given).encode(), page.JSON)

    def give_file(self, sha256: str, name: str) -> None:
        """Give a file, or its metadata, from the folder or through it."""
        origin, wanted = self.server.origins.get(sha256), sha256
        if name.endswith(METADATA):
            wanted = origin.metadata_sha256 if origin else ""
            origin = replace(origin, url=f"{origin.url}{METADATA}") if origin else None
        if kept := self.server.shelf.file(wanted):
            with contextlib.suppress(FileNotFoundError):  # somebody has just emptied the folder
                self.give_kept(kept)
                return
        if origin is None:
            self.send_error(HTTPStatus.NOT_FOUND, "ask for the package's page first")
        else:
            self.pass_on(origin, wanted)

    def give_kept(self, path: Path) -> None:
        """Give a file of the folder, or a range of it.

        Raises:
            FileNotFoundError: it has gone; nothing was sent.
        """
        with path.open("rb") as file:
            size = path.stat().st_size
            part = ranges.wanted(self.headers.get("Range", ""), size)
            if part is not None and not part:
                self.begin(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, 0, f"*/{size}")
                return
            sent = range(size) if part is None else part
            place = f"{sent.start}-{sent.stop - 1}/{size}" if part is not None else ""
            self.begin(HTTPStatus.PARTIAL_CONTENT if place else HTTPStatus.OK, len(sent), place)
            if self.command == "GET" and sent:
                self.connection.sendfile(file, sent.start, len(sent))
                self.count_given(len(sent))

    def begin(self, status: HTTPStatus, length: int, place: str) -> None:
        """Send the headers of a kept file."""
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(length))
        self.send_header("Accept-Ranges", "bytes")
        if place:
            self.send_header("Content-Range", f"bytes {place}")
        self.end_headers()

    def pass_on(self, origin: Origin, sha256: str) -> None:
        """Give a file of the index's; one that is asked for whole is kept, and fetched once."""
        whole = self.command == "GET" and not self.headers.get("Range")
        with self.server.arrivals.claimed(sha256 if whole else "") as (arrival, mine):
            if mine:
                self.fetch_unless_kept(origin, sha256, arrival)
                return
            followed = self.follow(arrival)
        if not followed:
            self.fetch_unless_kept(origin, sha256, Arrival())

    def fetch_unless_kept(self, origin: Origin, sha256: str, arrival: Arrival) -> None:
        """Give a file from the folder if it has come there meanwhile, else from the index."""
        if kept := self.server.shelf.file(sha256):
            with contextlib.suppress(FileNotFoundError):
                self.give_kept(kept)
                return
        self.fetch(origin, sha256, arrival)

    def follow(self, arrival: Arrival) -> bool:
        """Give a file that is on its way to somebody else; False: nothing was sent."""
        file = arrival.opened()
        if file is None:
            return False
        with file:
            self.begin(HTTPStatus.OK, arrival.length, "")
            sent = 0
            while sent < arrival.length:
                there = arrival.wait(sent)
                if there == sent:
                    self.log_error("%s: broke off", self.path)
                    self.close_connection = True
                    break
                self.connection.sendfile(file, sent, there - sent)
                self.count_given(there - sent)
                sent = there
        return True

    def fetch(self, origin: Origin, sha256: str, arrival: Arrival) -> None:
        """Give a file of the index's, and tell those who follow how far it is.

        Where its address is dead, the index is asked for the page when somebody wants that again.
        """
        headers = {"Accept-Encoding": "identity"}
        if wanted := self.headers.get("Range"):
            headers["Range"] = wanted
        try:
            answer = self.server.upstream.open(origin.url, method=self.command, headers=headers)
        except HTTPError as error:
            if error.code in DEAD:
                self.server.shelf.doubt_page(self.server.upstream.index, origin.package)
            self.refuse(error)
        except (OSError, HTTPException, ValueError) as error:
            self.log_error("%s: %s", origin.url, error)
            self.send_error(HTTPStatus.BAD_GATEWAY)
        else:
            with answer:
                self.relay(answer, sha256, arrival)

    def relay(self, answer: HTTPResponse, sha256: str, arrival: Arrival) -> None:
        """Send what comes as it comes; an end before the end is one for the client, too."""
        self.send_response(answer.status)
        length = stated_length(answer)
        for name in PASSED:
            if (value := answer.headers.get(name)) and (length or name != "Content-Length"):
                self.send_header(name, value)
        if not length:  # the end of the connection is the end of the file
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "HEAD":
            return
        shelf = self.server.shelf
        whole = sha256 if answer.status == HTTPStatus.OK else ""
        with shelf.copy(whole, length) as copy:
            arrival.begin(copy.part, length)
            try:
                self.tee(answer, copy, length, arrival)
            except (OSError, HTTPException) as error:
                self.log_error("%s: broke off: %s", self.path, error)
                self.close_connection = True

    def tee(self, answer: HTTPResponse, copy: Copy, length: int, arrival: Arrival) -> None:
        """Send and keep; whoever has the last bytes and asks again finds the file kept.

        Raises:
            OSError: one of the two sides has gone.
            HTTPException: the index does not keep to HTTP.
        """
        received, held = 0, b""
        while block := answer.read(BLOCK):
            received += len(block)
            self.server.count(fetched=len(block))
            copy.add(block)
            if copy.part:
                arrival.tell(received - len(block))
            else:
                arrival.end()
            self.send(held)
            held = block
        if received < length:
            raise ConnectionError(f"the index sent {received} bytes of {length}")
        if wrong := copy.finish():
            self.log_error("%s: not kept: %s", self.path, wrong)
        elif copy.kept:
            arrival.tell(received)
        self.send(held)

    def send(self, block: bytes) -> None:
        """Send a part of a file."""
        self.wfile.write(block)
        self.count_given(len(block))

    def count_given(self, size: int) -> None:
        """Count what a machine got; what only fills the folder it will ask for itself."""
        if not self.headers.get(AHEAD):
            self.server.count(given=size)

    def refuse(self, error: HTTPError) -> None:
        """Answer as the index has."""
        with error:
            self.send_error(error.code)

    def send_whole(self, body: bytes, kind: str) -> None:
        """Send an answer that is small."""
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Keep quiet about what went well."""


def stated_length(answer: HTTPResponse) -> int:
    """Return the bytes that an index says it sends; 0 when it does not, or no number."""
    word = answer.headers.get("Content-Length", "")
    return int(word) if word.isascii() and word.isdecimal() else 0
