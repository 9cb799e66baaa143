"""The cache of packages as a program: what it keeps, and that it ends with its build."""

import http.server
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cube.supply import apt_cache
from tests.integration.conftest import PROJECT

PACKAGE = b"not a package, but as good as one to a cache\n" * 1000
#: Seconds for the cache to end after its owner.
END_S = 20


class Mirror(http.server.BaseHTTPRequestHandler):
    """A mirror with one package that counts who asks for it."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(PACKAGE)))
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.end_headers()
        self.wfile.write(PACKAGE)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def mirror() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    handler = type("Counting", (Mirror,), {"asked": asked})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", apt_cache.small_port()), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/debian/pool/main/h/h_1.0-1_amd64.deb", asked
    server.shutdown()
    server.server_close()


def fetch(proxy: str, url: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": proxy}))
    with opener.open(url, timeout=20) as answer:
        data: bytes = answer.read()
    return data


def test_a_package_is_fetched_once_for_two_builds(
    tmp_path: Path, mirror: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, asked = mirror
    monkeypatch.setattr(apt_cache, "upstream", lambda _: "")
    for _ in range(2):
        with apt_cache.started("", tmp_path) as proxy:
            assert fetch(proxy, url) == PACKAGE
        assert not apt_cache.is_cacher(proxy)
    assert len(asked) == 1


@pytest.mark.parametrize("name", ["a blank", "it's", "100%", "it's 100% new"])
def test_it_serves_this_machine_alone_whatever_its_folder_is_called(
    tmp_path: Path, mirror: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """In a path with a quote it once passed over its settings and served every network."""
    monkeypatch.setattr(apt_cache, "upstream", lambda _: "")
    with apt_cache.started("", tmp_path / name) as proxy:
        assert fetch(proxy, mirror[0]) == PACKAGE
        found = [one for one in psutil.net_connections("tcp") if one.pid in cachers()]
        listens = [one.laddr[:1] for one in found if one.status == psutil.CONN_LISTEN]
        assert set(listens) == {("127.0.0.1",)}
    assert list((tmp_path / name / "files").rglob("*.deb"))
    assert cachers() == set()


def cachers() -> set[int]:
    """Return the caches that this process has started."""
    own = psutil.Process().children(recursive=True)
    return {one.pid for one in own if one.name() == apt_cache.PROGRAM}


def test_it_ends_with_a_build_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from cube.supply import apt_cache\n"
        "with apt_cache.started('', Path(sys.argv[1])) as url:\n"
        "    print(url, flush=True); time.sleep(99)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True, cwd=PROJECT
    ) as owner:
        assert owner.stdout is not None
        url = owner.stdout.readline().strip()
        assert apt_cache.is_cacher(url)
        os.kill(owner.pid, signal.SIGKILL)
    deadline = time.monotonic() + END_S
    while apt_cache.is_cacher(url):
        assert time.monotonic() < deadline, f"{url} still answers"
        time.sleep(0.05)
