"""A company's network on this machine: a proxy, mirrors and an index, each with a login.

One address, of a veth pair of ours, serves them all, so that a URL means the same to this machine
and to the machines of a build. Half of them speak https with a certificate of the company's CA.

with opened(folder) as company:
    company.network()   # the table [network] of cube.toml
    company.secrets()   # what no image, log or process list may hold
"""

import base64
import contextlib
import http.client
import ipaddress
import os
import select
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, urlsplit

from cube.runtime import run
from cube.supply import apt_cache
from tests.authority import certified
from tests.integration import index, mirror
from tests.integration.index import Index
from tests.integration.mirror import FOLDERS, Mirror

#: Of documentation: no real host has it. Source: RFC 5737.
NETWORK = "198.51.100.0/24"
PROXY_LOGIN = ("pro xy", "Pr&x%:/y0'1")
INDEX_LOGIN = ("pip", "In&d%:/x0'1")
COPY_BYTES = 65536


@dataclass
class Proxy:
    """A proxy for http and https; `asked` has the host of each request with the login."""

    port: int = 0
    asked: list[str] = field(default_factory=list)
    refused: int = 0


@dataclass(frozen=True)
class Company:
    """The servers, and the file of the certificate that signs those with https."""

    address: str
    authority: Path
    proxy: Proxy
    archive: Mirror
    security: Mirror
    index: Index
    index_port: int

    def network(self) -> str:
        """Return the table [network] of a cube.toml."""
        archive, security = FOLDERS
        return f"""[network]
ca_certificates = ["{self.authority}"]
proxy = "http://{login(PROXY_LOGIN)}@{self.address}:{self.proxy.port}"
apt_mirror = "{self.archive.url(archive, self.address)}"
apt_security_mirror = "{self.security.url(security, self.address)}"
pypi_index = "https://{login(INDEX_LOGIN)}@{self.address}:{self.index_port}/simple"
"""

    def secrets(self) -> dict[str, str]:
        """Return what nothing may tell, by its name: passwords in each form, encoded logins."""
        found = {}
        logins = {"proxy": PROXY_LOGIN, "mirror": (mirror.USER, mirror.PASSWORD)}
        for name, (user, password) in {**logins, "index": INDEX_LOGIN}.items():
            plain = f"{user}:{password}"
            found[f"password of the {name}"] = password
            found[f"password of the {name}, quoted"] = quote(password, safe="")
            found[f"login of the {name}, encoded"] = base64.b64encode(plain.encode()).decode()
        return found

    def traces(self) -> dict[str, str]:
        """Return what no image may have, by its name: the secrets, addresses, the certificate."""
        lines = self.authority.read_text().split("\n")
        return {
            **self.secrets(),
            "address": self.address,
            "certificate": lines[len(lines) // 2],
        }


def login(words: tuple[str, str]) -> str:
    """Return a login as a URL has it."""
    return ":".join(quote(word, safe="") for word in words)


class Handler(BaseHTTPRequestHandler):
    """Forwards what has the login; connections are closed after each request."""

    proxy: Proxy
    timeout = 120

    def permitted(self, host: str) -> bool:
        """Check the login."""
        wanted = base64.b64encode(":".join(PROXY_LOGIN).encode()).decode()
        if self.headers.get("Proxy-Authorization") != f"Basic {wanted}":
            self.proxy.refused += 1
            self.send_response(407)
            self.send_header("Proxy-Authenticate", 'Basic realm="company"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return False
        self.proxy.asked.append(host)
        return True

    def do_CONNECT(self) -> None:
        """Join two connections until one of them ends."""
        self.close_connection = True
        if not self.permitted(self.path):
            return
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host.strip("[]"), int(port)), self.timeout) as far:
            self.send_response(200)
            self.end_headers()
            ends = {self.connection: far, far: self.connection}
            while ready := select.select(list(ends), [], [], self.timeout)[0]:
                for end in ready:
                    data = end.recv(COPY_BYTES)
                    if not data:
                        return
                    ends[end].sendall(data)

    def do_GET(self) -> None:
        """Forward a request for a whole URL."""
        self.close_connection = True
        parts = urlsplit(self.path)
        if not self.permitted(parts.netloc):
            return
        left_out = ("proxy-authorization", "proxy-connection", "connection")
        headers = {
            name: text for name, text in self.headers.items() if name.lower() not in left_out
        }
        far = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=120)
        with contextlib.closing(far):
            far.request("GET", self.path.split(parts.netloc, 1)[1], headers=headers)
            answer = far.getresponse()
            self.send_response(answer.status)
            for name, text in answer.getheaders():
                if name.lower() not in ("connection", "date", "server"):
                    self.send_header(name, text)
            self.send_header("Connection", "close")
            self.end_headers()
            while data := answer.read(COPY_BYTES):
                self.wfile.write(data)

    def handle(self) -> None:
        """Serve a connection until the other side goes away."""
        with contextlib.suppress(OSError):
            super().handle()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def proxied(address: str) -> Iterator[Proxy]:
    """Run the proxy while the block runs."""
    proxy = Proxy()
    server = ThreadingHTTPServer((address, 0), type("Bound", (Handler,), {"proxy": proxy}))
    proxy.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Company]:
    """Run all of it while the block runs.

    Args:
        folder: for the certificate and what the index keeps.
    """
    (folder / "index").mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(addressed())
        authority, tls = certified(folder, address)
        # A small port: the cache of packages carries no others.
        archive = stack.enter_context(mirror.mirrored(address, apt_cache.small_port()))
        security = stack.enter_context(mirror.mirrored(address, tls=tls))
        wheels = stack.enter_context(index.serve(folder / "index", address, tls))
        wheels.login = ":".join(INDEX_LOGIN)
        yield Company(
            address,
            authority,
            stack.enter_context(proxied(address)),
            archive,
            security,
            wheels,
            wheels.port,
        )


@contextlib.contextmanager
def addressed() -> Iterator[str]:
    """Give this machine an address on a veth pair of ours."""
    number = os.getpid()
    name, address = f"cube-t{number}"[:15], ipaddress.ip_network(NETWORK)[1 + number % 250]
    run.run(["ip", "link", "add", name, "type", "veth", "peer", "name", f"p{number}"])
    try:
        run.run(["ip", "address", "add", f"{address}/32", "dev", name])
        for end in (name, f"p{number}"):
            run.run(["ip", "link", "set", end, "up"])
        yield str(address)
    finally:
        run.run(["ip", "link", "delete", name])
