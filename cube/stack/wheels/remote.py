"""A file on a server, read in ranges: a wheel's directory and a part of it, never all of it."""

import http.client
import io
import urllib.parse
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Protocol
from urllib.error import HTTPError

from cube.runtime import documents
from cube.runtime.errors import StackError

#: One request brings this much: few requests, little that is not needed.
BLOCK = 1024**2
#: Source: PEP 691, "Simple API", JSON.
SIMPLE_JSON = "application/vnd.pypi.simple.v1+json"
PARTIAL = 206


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A file of a package index."""

    filename: str
    url: str
    size: int
    sha256: str


class Source(Protocol):
    """A package index: knows the way to it, and its login."""

    @property
    def index(self) -> str:
        """Its URL without a login."""
        ...

    def open(self, url: str, *, headers: dict[str, str]) -> HTTPResponse:
        """Ask for a URL; raises OSError or ValueError."""
        ...


class RangeFile(io.RawIOBase):
    """A seekable file over HTTP ranges; `received` counts bytes."""

    def __init__(self, source: Source, url: str, size: int) -> None:
        self.source, self.url = source, url
        self.size, self.position, self.received = size, 0, 0

    def seekable(self) -> bool:
        """Say that it is."""
        return True

    def readable(self) -> bool:
        """Say that it is."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; nothing is read."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence]
        self.position = start + offset
        return self.position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fetch what fits.

        Raises:
            StackError: the server sends no ranges, or fails.
        """
        end = min(self.position + len(buffer), self.size)
        if self.position >= end:
            return 0
        asked = {"Range": f"bytes={self.position}-{end - 1}"}
        data = fetch(self.source, self.url, asked, status=PARTIAL)
        buffer[: len(data)] = data
        self.position += len(data)
        self.received += len(data)
        return len(data)


def opened(source: Source, url: str, size: int) -> tuple[RangeFile, io.BufferedReader]:
    """Return a file on a server, and a buffered reader of it."""
    raw = RangeFile(source, url, size)
    return raw, io.BufferedReader(raw, BLOCK)


def fetch(source: Source, url: str, headers: dict[str, str], *, status: int = 200) -> bytes:
    """Return what a server sends; the index's login goes to its own host only.

    Raises:
        StackError: it does not answer, or with another status.
    """
    if not url.startswith(("https://", "http://")):
        raise StackError(f"{url}: only http and https can be read", hint="--wheel FILE")
    try:
        with source.open(url, headers=headers) as answer:
            if answer.status != status:
                raise StackError(
                    f"{url}: status {answer.status} where {status} was wanted",
                    hint="the server sends no ranges: download the wheel, then --wheel FILE",
                )
            return bytes(answer.read())
    except (OSError, ValueError, http.client.HTTPException) as error:
        if isinstance(error, HTTPError):
            error.close()
        raise StackError(
            f"{url}: cannot be read: {error}", hint="check the network, or give --wheel FILE"
        ) from error


def listing(source: Source, package: str) -> list[Listed]:
    """Return the files of a package.

    Raises:
        StackError: the index cannot be read, or is of another kind.
    """
    url = f"{source.index}/{package}/"
    try:
        files = documents.parse(fetch(source, url, {"Accept": SIMPLE_JSON}))["files"]
        return [
            Listed(
                filename=file["filename"],
                url=urllib.parse.urljoin(url, file["url"]),
                size=file["size"],
                sha256=file["hashes"].get("sha256", ""),
            )
            for file in files
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise StackError(
            f"{url}: the index does not list files as JSON", hint="PyPI does; or --wheel FILE"
        ) from error
