"""The index of wheels, in front of an index that misbehaves."""

import errno
import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cube.supply.wheel_index import AHEAD, store
from cube.supply.wheel_index.page import JSON
from cube.supply.wheel_index.server import BLOCK
from tests.unit.supply.wheel_index.origin import METADATA, NAME, WHEEL, Origin, Pair, pair, sha256

DIGEST = sha256(WHEEL)
#: Seconds for what happens in another thread.
SOON_S = 20


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Pair]:
    with pair(tmp_path) as found:
        yield found


def wait_until(come: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON_S
    while not come():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("html", [False, True])
def test_a_page_has_its_files_here_and_keeps_what_it_says_of_them(both: Pair, html: bool) -> None:
    both.origin.html = html
    wheel, plain = both.page()["files"]
    assert wheel["filename"] == NAME
    assert wheel["url"] == both.file
    assert wheel["hashes"] == {"sha256": DIGEST}
    assert wheel["requires-python"] == ">=3.9"
    assert wheel["core-metadata"] == {"sha256": sha256(METADATA)}
    assert wheel.get("yanked", "") == ("old" if html else "")
    assert plain["url"].startswith("http://127.0.0.1:")
    assert plain["url"].endswith("/plain.tar.gz")


def test_a_file_is_fetched_once(both: Pair) -> None:
    both.page()
    for _ in range(3):
        assert both.get(both.file) == (200, WHEEL, "")
        assert both.get(f"{both.file}.metadata") == (200, METADATA, "")
    assert both.origin.asked["/deep/w.whl"] == 1
    assert both.origin.asked["/deep/w.whl.metadata"] == 1
    assert both.kept == sorted([DIGEST, sha256(METADATA)])
    whole = len(WHEEL) + len(METADATA)
    wait_until(lambda: (both.house.fetched, both.house.given) == (whole, 3 * whole))


def test_what_is_kept_needs_no_network(tmp_path: Path) -> None:
    with pair(tmp_path) as first:
        page = first.page()
        first.get(first.file)
        first.origin.down = 503
        assert first.page() == page
        assert first.get(first.file)[1] == WHEEL
    with pair(tmp_path) as second:  # another index, so its pages are not these
        second.origin.down = 503
        assert second.get("/simple/some-package/")[0] == 502
        assert second.get(second.file)[1] == WHEEL
    # nobody listens any more
    assert second.kept == [DIGEST]


def test_a_page_that_has_what_the_locks_name_is_not_asked_again(tmp_path: Path) -> None:
    with pair(tmp_path, locks={"some-package": frozenset({DIGEST})}) as both:
        for _ in range(2):
            assert [file["filename"] for file in both.page()["files"]] == [NAME]
        assert both.get(both.file)[1] == WHEEL
    assert both.origin.asked["/simple/some-package/"] == 1


def test_a_page_that_was_kept_whole_is_given_in_part(tmp_path: Path) -> None:
    with pair(tmp_path) as both:
        assert len(both.page()["files"]) == 2
        both.house.locks = {"some-package": frozenset({DIGEST})}
        assert [file["filename"] for file in both.page()["files"]] == [NAME]


def test_a_page_that_lacks_what_the_locks_name_is_asked_for_anew(tmp_path: Path) -> None:
    with pair(tmp_path, locks={"some-package": frozenset({DIGEST, "0" * 64})}) as both:
        for _ in range(2):
            assert [file["filename"] for file in both.page()["files"]] == [NAME]
        assert both.origin.asked["/simple/some-package/"] == 2
        both.origin.down = 503
        assert both.page()["files"]
    with pair(tmp_path / "other", locks={"some-package": frozenset({"0" * 64})}) as both:
        assert len(both.page()["files"]) == 2  # the client shall say what it misses


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410])
def test_a_page_whose_files_are_gone_is_asked_for_anew(tmp_path: Path, code: int) -> None:
    with pair(tmp_path, locks={"some-package": frozenset({DIGEST})}) as both:
        both.page()
        both.origin.down = code  # the addresses of its page were for a time
        assert both.get(both.file)[0] == code
        both.origin.down = 0
        both.page()
        assert both.get(both.file)[1] == WHEEL
        both.page()
    assert both.origin.asked["/simple/some-package/"] == 2


@pytest.mark.parametrize("code", [407, 429, 503])
def test_a_page_is_kept_when_its_files_are_only_refused_for_now(tmp_path: Path, code: int) -> None:
    with pair(tmp_path, locks={"some-package": frozenset({DIGEST})}) as both:
        both.page()
        both.origin.down = code
        assert both.get(both.file)[0] == code
        both.page()
    assert both.origin.asked["/simple/some-package/"] == 1


def test_a_page_that_is_doubted_is_given_where_the_index_is_away(tmp_path: Path) -> None:
    with pair(tmp_path, locks={"some-package": frozenset({DIGEST})}) as both:
        page = both.page()
        both.get(both.file)
        both.house.shelf.clear(verify=True)
        both.origin.down = 503
        assert both.page() == page
        assert both.get(both.file)[1] == WHEEL


def packed(damage: Callable[[bytes], bytes]) -> Callable[[Origin], None]:
    """Return what answers with a page that is packed, and damaged."""

    def send(origin: Origin) -> None:
        body = damage(gzip.compress(origin.page()))
        origin.send_response(200)
        for name, value in (("Type", JSON), ("Encoding", "gzip"), ("Length", str(len(body)))):
            origin.send_header(f"Content-{name}", value)
        origin.end_headers()
        origin.wfile.write(body)

    return send


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "broken off": lambda body: body[:-12],
    "damaged": lambda body: body[:12] + b"\xff" * 8 + body[20:],
    "not packed": lambda _: b"{}",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_packed_page_that_is_damaged_is_none(
    both: Pair, monkeypatch: pytest.MonkeyPatch, damage: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setattr(both.origin, "do_GET", packed(damage))
    assert both.get("/simple/some-package/")[0] == 502
    monkeypatch.setattr(both.origin, "do_GET", packed(lambda body: body))
    page = both.page()
    monkeypatch.setattr(both.origin, "do_GET", packed(damage))
    assert both.page() == page


@pytest.mark.parametrize("url", ["http://[broken/w.whl", "http://127.0.0.1:1/\u00fc", "ftp://x/y"])
def test_a_file_with_an_address_that_is_none_is_refused(
    both: Pair, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    page = both.origin.page
    monkeypatch.setattr(
        both.origin, "page", lambda self: page(self).replace(b"../../deep/w.whl", url.encode())
    )
    both.page()
    assert both.get(both.file)[0] == 502


@pytest.mark.parametrize("length", ["many", "-1", ""])
def test_a_file_whose_length_is_no_number_comes_to_its_end(
    both: Pair, monkeypatch: pytest.MonkeyPatch, length: str
) -> None:
    both.page()
    monkeypatch.setattr(both.origin, "length", length)
    assert both.get(both.file) == (200, WHEEL, "")
    wait_until(lambda: both.kept == [DIGEST])


@pytest.mark.parametrize(
    ("instead", "of"), [(b'"name"', b'"filename"'), (b'"hashes": [1]', b'"hashes": {}')]
)
def test_a_page_with_a_damaged_entry_is_none(
    both: Pair, monkeypatch: pytest.MonkeyPatch, instead: bytes, of: bytes
) -> None:
    page = both.origin.page
    monkeypatch.setattr(both.origin, "page", lambda self: page(self).replace(of, instead))
    assert both.get("/simple/some-package/")[0] == 502


def test_an_index_that_cannot_be_reached_is_told(both: Pair, tmp_path: Path) -> None:
    both.house.upstream.index = "http://127.0.0.1:1/simple"
    assert both.get("/simple/some-package/")[0] == 502


@pytest.mark.parametrize("code", [401, 403, 404])
def test_what_the_index_refuses_is_refused_although_a_page_is_kept(both: Pair, code: int) -> None:
    both.page()
    both.origin.down = code
    assert both.get("/simple/some-package/")[0] == code
    assert both.get(both.file)[0] == code


@pytest.mark.parametrize("path", ["/", "/simple/", "/files/x/y", f"/files/{'0' * 64}/y", "/../etc"])
def test_what_nobody_knows_is_not_found(both: Pair, path: str) -> None:
    assert both.get(path)[0] == 404


def test_what_is_no_page_is_refused(both: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(both.origin, "page", lambda _: b'{"projects": []}')
    assert both.get("/simple/some-package/")[0] == 502


def test_a_wrong_file_is_given_and_never_kept(both: Pair) -> None:
    both.page()
    both.origin.wheel = b"X" + WHEEL[1:]
    assert both.get(both.file)[1] == both.origin.wheel  # the client knows its hash
    wait_until(lambda: both.kept == [])
    both.origin.wheel = WHEEL
    assert both.get(both.file)[1] == WHEEL
    assert both.kept == [DIGEST]


def test_a_file_that_breaks_off_breaks_off_for_the_client(both: Pair) -> None:
    both.page()
    both.origin.wheel = WHEEL[:-1]
    with pytest.raises(Exception, match="IncompleteRead"):
        both.get(both.file)
    wait_until(lambda: both.kept == [])
    assert both.page()["files"]


def test_who_asks_meanwhile_gets_it_as_it_comes(both: Pair) -> None:
    both.page()
    both.origin.hold = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(both.get, both.file) for _ in range(2)]
        wait_until(lambda: both.house.given == 2 * 2 * BLOCK)  # all but the last block of a half
        both.origin.hold.set()
        assert [one.result()[1] for one in asked] == [WHEEL, WHEEL]
    assert both.kept == [DIGEST]
    assert both.origin.asked["/deep/w.whl"] == 1
    assert both.house.fetched == len(WHEEL)


def test_who_asks_meanwhile_for_what_is_not_kept_fetches_it(tmp_path: Path) -> None:
    with pair(tmp_path, floor_bytes=2**62) as both:
        both.page()
        both.origin.hold = threading.Event()
        with ThreadPoolExecutor(2) as pool:
            asked = [pool.submit(both.get, both.file) for _ in range(2)]
            wait_until(lambda: both.origin.asked["/deep/w.whl"] == 2)
            both.origin.hold.set()
            assert [one.result()[1] for one in asked] == [WHEEL, WHEEL]
        assert both.kept == []


def test_what_breaks_off_breaks_off_for_all_who_get_it(both: Pair) -> None:
    both.page()
    both.origin.hold = threading.Event()
    both.origin.wheel = WHEEL[:-1]
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(both.get, both.file) for _ in range(2)]
        wait_until(lambda: both.house.given == 2 * 2 * BLOCK)
        both.origin.hold.set()
        for one in asked:
            with pytest.raises(Exception, match="IncompleteRead"):
                one.result()
    wait_until(lambda: both.kept == [])
    both.origin.wheel = WHEEL
    assert both.get(both.file)[1] == WHEEL


def test_what_has_just_come_is_given_from_the_folder(both: Pair) -> None:
    both.page()
    with both.house.arrivals.claimed(DIGEST) as (arrival, mine), ThreadPoolExecutor(1) as pool:
        assert mine
        asked = pool.submit(both.get, both.file)
        (both.folder / "files").mkdir(exist_ok=True)
        (both.folder / "whole").write_bytes(WHEEL)
        (both.folder / "whole").rename(both.folder / "files" / DIGEST)
        arrival.end()
        assert asked.result()[1] == WHEEL
    assert both.origin.asked["/deep/w.whl"] == 0


def test_a_client_that_goes_away_leaves_nothing_behind(both: Pair) -> None:
    both.page()
    both.origin.hold = threading.Event()
    host, port = both.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(f"GET {both.file} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert client.recv(15) == b"HTTP/1.1 200 OK"
        wait_until(lambda: [name[-len(store.PART) :] for name in both.kept] == [store.PART])
    both.origin.hold.set()
    wait_until(lambda: both.kept == [])
    assert both.get(both.file)[1] == WHEEL


class Full:
    """A file on a disk that is full."""

    def write(self, _: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def flush(self) -> None:
        """Have nothing to write."""

    def close(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_ends_the_keeping_only(both: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    both.page()
    opened = Path.open

    def full(path: Path, mode: str = "r", *rest: Any) -> Any:
        return Full() if path.suffix == store.PART and mode == "wb" else opened(path, mode, *rest)

    monkeypatch.setattr(Path, "open", full)
    assert both.get(both.file)[1] == WHEEL
    wait_until(lambda: both.kept == [])


def test_what_the_build_needs_stays_free(tmp_path: Path) -> None:
    with pair(tmp_path, floor_bytes=2**62) as both:
        both.page()
        assert both.get(both.file)[1] == WHEEL
        wait_until(lambda: both.kept == [])
        assert not (tmp_path / "pages").exists()


def test_a_folder_that_goes_away_is_made_anew(both: Pair) -> None:
    both.page()
    both.get(both.file)
    (both.folder / "files" / DIGEST).unlink()
    (both.folder / "files").rmdir()
    assert both.get(both.file)[1] == WHEEL
    assert both.kept == [DIGEST]


RANGES = [
    ("bytes=0-3", 206, WHEEL[:4], f"bytes 0-3/{len(WHEEL)}"),
    ("bytes=-5", 206, WHEEL[-5:], f"bytes {len(WHEEL) - 5}-{len(WHEEL) - 1}/{len(WHEEL)}"),
    (f"bytes={len(WHEEL) - 2}-", 206, WHEEL[-2:],
     f"bytes {len(WHEEL) - 2}-{len(WHEEL) - 1}/{len(WHEEL)}"),
    (f"bytes=10-{len(WHEEL) * 2}", 206, WHEEL[10:],
     f"bytes 10-{len(WHEEL) - 1}/{len(WHEEL)}"),
    (f"bytes={len(WHEEL)}-", 416, b"", f"bytes */{len(WHEEL)}"),
    ("bytes=5-2", 200, WHEEL, ""),
    ("bytes=0-1,4-5", 200, WHEEL, ""),
    ("bytes=-", 200, WHEEL, ""),
    ("lines=0-1", 200, WHEEL, ""),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "status", "body", "place"), RANGES)
def test_a_range_of_a_kept_file_is_given(
    both: Pair, asked: str, status: int, body: bytes, place: str
) -> None:
    both.page()
    both.get(both.file)
    assert both.get(both.file, Range=asked) == (status, body, place)


def test_a_range_of_a_file_that_is_not_kept_comes_from_the_index(both: Pair) -> None:
    both.page()
    assert both.get(both.file, Range="bytes=0-3") == (
        206,
        WHEEL[:4],
        f"bytes 0-3/{len(WHEEL)}",
    )
    wait_until(lambda: both.kept == [])


def test_head_gives_no_body(both: Pair) -> None:
    both.page()
    assert both.get(both.file, "HEAD") == (200, b"", "")
    wait_until(lambda: both.kept == [])
    both.get(both.file)
    assert both.get(both.file, "HEAD") == (200, b"", "")
    assert both.get("/simple/some-package/", "HEAD") == (200, b"", "")


def test_a_login_goes_to_the_index_and_nowhere_else(tmp_path: Path) -> None:
    with pair(tmp_path, login="ada:a%40b") as both:
        both.origin.login = "Basic YWRhOmFAYg=="
        both.page()
        assert both.get(both.file)[1] == WHEEL
        assert "ada" not in both.house.upstream.index
        moved = both.house.origins[DIGEST].url.replace("127.0.0.1", "localhost")
        with pytest.raises(OSError, match="401"):
            both.house.upstream.open(moved)


def test_a_file_of_this_machine_is_not_read(both: Pair) -> None:
    with pytest.raises(OSError, match="only http"):
        both.house.upstream.open("file:///etc/passwd")


def test_what_only_fills_the_folder_is_not_counted_as_given(both: Pair) -> None:
    both.page()
    assert both.get(both.file, **{AHEAD: "1"})[1] == WHEEL
    assert both.kept == [DIGEST]
    assert both.get(both.file)[1] == WHEEL
    wait_until(lambda: (both.house.fetched, both.house.given) == (len(WHEEL), len(WHEEL)))
