"""The index that wheels come from, over this machine's trust and proxies."""

import base64
import gzip
import ssl
import zlib
from collections.abc import Sequence
from http.client import HTTPResponse
from typing import cast
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import BaseHandler, HTTPSHandler, ProxyHandler, Request, build_opener

from cube.supply.wheel_index import page

#: Seconds without a byte from the index.
SILENCE_S = 60.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Upstream:
    """An index.

    Args:
        index: URL, the login in it if there is one.
        proxy: URL; empty takes what the environment says, if it does. None leads to loopback.
        trust: files of certificates, besides this machine's.
    """

    def __init__(self, index: str, proxy: str = "", trust: Sequence[str] = ()) -> None:
        parts = urlsplit(index)
        self.host = parts.netloc.rpartition("@")[2]
        self.index = urlunsplit((parts.scheme, self.host, parts.path.rstrip("/"), "", ""))
        login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        self.login = base64.b64encode(login.encode()).decode() if parts.username else ""
        # One context for all: to read this machine's certificates takes longer than a page.
        context = ssl.create_default_context()
        for file in trust:
            context.load_verify_locations(file)
        chosen: list[BaseHandler] = [HTTPSHandler(context=context)]
        if parts.hostname in LOOPBACK:
            chosen.append(ProxyHandler({}))
        elif proxy:
            chosen.append(ProxyHandler({"http": proxy, "https": proxy}))
        self.opener = build_opener(*chosen)

    def open(
        self, url: str, *, method: str = "GET", headers: dict[str, str] | None = None
    ) -> HTTPResponse:
        """Ask for a URL; the login goes to the index's own host only, also if that redirects.

        Raises:
            HTTPError: it answers that it will not.
            OSError: it cannot be reached, or the URL is none of HTTP.
            ValueError: the URL is malformed.
        """
        if urlsplit(url).scheme not in {"http", "https"}:
            raise OSError(f"{url}: only http and https are asked")
        request = Request(url, method=method, headers=headers or {})  # noqa: S310 (see above)
        if self.login and urlsplit(url).netloc == self.host:
            request.add_unredirected_header("Authorization", f"Basic {self.login}")
        return cast(HTTPResponse, self.opener.open(request, timeout=SILENCE_S))

    def page(self, name: str) -> page.Page:
        """Return the page of a package.

        Raises:
            HTTPError: the index answers that it has none, or will not give it.
            OSError: it cannot be reached.
            ValueError: what it gives is no page.
        """
        headers = {"Accept": page.ACCEPT, "Accept-Encoding": "gzip"}
        with self.open(f"{self.index}/{name}/", headers=headers) as answer:
            body = answer.read()
            if answer.headers.get("Content-Encoding") == "gzip":
                body = unpacked(body, answer.url)
            return page.read(body, answer.headers.get("Content-Type", ""), answer.url, name)


def unpacked(body: bytes, url: str) -> bytes:
    """Return what gzip has packed.

    Raises:
        ValueError: it breaks off, or is damaged.
    """
    try:
        return gzip.decompress(body)
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{url}: what it has packed is damaged: {error}") from error
