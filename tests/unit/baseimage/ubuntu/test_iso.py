"""Downloads: resumed, checked, and named only when they are right. The server is a real one."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cube.baseimage.ubuntu import iso
from cube.runtime.errors import PackerError
from tests.authority import certified

CONTENT = bytes(range(256)) * 20_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT, breaks off answers, and remembers what it was asked for."""

    break_offs = 0
    knows_ranges = True
    ranges: list[str]


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        self.server.ranges.append(asked)
        if not self.path.endswith("/ubuntu.iso"):
            self.send_error(404)
            return
        start = int(asked[6:-1]) if asked and self.server.knows_ranges else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        body = CONTENT[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.server.break_offs:
            self.server.break_offs -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Stay silent."""


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server(("127.0.0.1", 0), Handler)
    found.ranges = []
    thread = threading.Thread(target=found.serve_forever)
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


def url(server: Server, name: str = "ubuntu.iso") -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/{name}"


def test_a_certificate_of_cube_toml_is_trusted(server: Server, tmp_path: Path) -> None:
    authority, tls = certified(tmp_path, "127.0.0.1")
    server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    address = url(server).replace("http:", "https:")
    assert iso.fetch(address, SHA256, tmp_path, trust=[str(authority)]).read_bytes() == CONTENT
    with pytest.raises(PackerError, match="CERTIFICATE_VERIFY_FAILED"):
        iso.fetch(address, SHA256, tmp_path / "other")


def test_a_file_is_fetched_once(server: Server, tmp_path: Path) -> None:
    found = iso.fetch(url(server), SHA256, tmp_path / "cache")
    assert found.read_bytes() == CONTENT
    assert iso.fetch(url(server), SHA256, tmp_path / "cache") == found
    assert server.ranges == [""]
    assert list((tmp_path / "cache").iterdir()) == [found]


def test_a_file_is_fetched_through_the_proxy(server: Server, tmp_path: Path) -> None:
    proxy = f"http://127.0.0.1:{server.server_address[1]}"
    found = iso.fetch("http://iso.invalid/ubuntu.iso", SHA256, tmp_path, proxy=proxy)
    assert found.read_bytes() == CONTENT


def test_a_broken_download_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.break_offs = 2
    assert iso.fetch(url(server), SHA256, tmp_path).read_bytes() == CONTENT
    half = len(CONTENT) // 2
    assert server.ranges == ["", f"bytes={half}-", f"bytes={half + half // 2}-"]


def test_a_server_without_ranges_is_asked_for_all_of_it(server: Server, tmp_path: Path) -> None:
    server.knows_ranges = False
    server.break_offs = 1
    assert iso.fetch(url(server), SHA256, tmp_path).read_bytes() == CONTENT


def test_a_part_of_an_earlier_run_is_used(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{SHA256[:16]}-ubuntu.iso.part").write_bytes(CONTENT[:1000])
    assert iso.fetch(url(server), SHA256, tmp_path).read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-"]


def test_a_part_that_is_whole_already_is_used(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{SHA256[:16]}-ubuntu.iso.part").write_bytes(CONTENT)
    assert iso.fetch(url(server), SHA256, tmp_path).read_bytes() == CONTENT


def test_a_wrong_checksum_names_both_and_leaves_nothing(server: Server, tmp_path: Path) -> None:
    with pytest.raises(PackerError, match="wrong checksum") as caught:
        iso.fetch(url(server), "0" * 64, tmp_path)
    assert SHA256 in caught.value.message
    assert "0" * 64 in caught.value.message
    assert "iso_sha256" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_went_bad_in_the_cache_is_not_believed(server: Server, tmp_path: Path) -> None:
    found = iso.fetch(url(server), SHA256, tmp_path)
    found.write_bytes(b"bad")
    with pytest.raises(PackerError, match="wrong checksum") as caught:
        iso.fetch(url(server), SHA256, tmp_path)
    assert str(found) in caught.value.hint


def test_a_missing_file_is_told(server: Server, tmp_path: Path) -> None:
    with pytest.raises(PackerError, match="HTTP 404"):
        iso.fetch(url(server, "none.iso"), SHA256, tmp_path)
    assert server.ranges == [""]


def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(PackerError, match="cannot be downloaded") as caught:
        iso.fetch("http://127.0.0.1:9/ubuntu.iso", SHA256, tmp_path)
    assert "file://" in caught.value.hint


def test_a_local_file_is_used_in_place(tmp_path: Path) -> None:
    path = tmp_path / "my ubuntu.iso"
    path.write_bytes(CONTENT)
    cache = tmp_path / "cache"
    assert iso.fetch(path.as_uri(), SHA256, cache) == path
    assert not cache.exists()


def test_a_local_file_with_a_wrong_checksum_stays(tmp_path: Path) -> None:
    path = tmp_path / "ubuntu.iso"
    path.write_bytes(b"other")
    with pytest.raises(PackerError, match="wrong checksum"):
        iso.fetch(path.as_uri(), SHA256, tmp_path)
    assert path.exists()


def test_a_local_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(PackerError, match="there is no file"):
        iso.fetch((tmp_path / "none.iso").as_uri(), SHA256, tmp_path)


@pytest.mark.parametrize(
    ("done", "total", "expected"),
    [(0, 0, "0 MiB"), (3 << 20, 0, "3 MiB"), (3 << 20, 12 << 20, "3 MiB (25 %)")],
)
def test_progress_is_for_people(done: int, total: int, expected: str) -> None:
    assert iso.percent(done, total) == expected
