"""What of the kept wheels goes before a build."""

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier
from types import SimpleNamespace

import pytest

from cube.supply.wheel_index.store import KEEP_S, Shelf
from tests.unit.supply.wheel_index.origin import WHEEL, sha256


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    found = Shelf(tmp_path, 0)
    found.files.mkdir()
    return found


def test_what_is_half_or_was_not_wanted_for_long_goes(shelf: Shelf) -> None:
    then = time.time() - KEEP_S - 60
    for name in ("old", "kept", "x.1.part", "found"):
        (shelf.files / name).touch()
    for name in ("old", "found"):
        os.utime(shelf.files / name, (then, then))
    assert shelf.file("found")  # it is wanted again
    shelf.clear()
    assert sorted(path.name for path in shelf.files.iterdir()) == ["found", "kept"]


def test_what_is_not_what_it_is_called_goes_after_a_distrust(shelf: Shelf) -> None:
    (shelf.files / sha256(WHEEL)).write_bytes(WHEEL)
    (shelf.files / sha256(b"other")).write_bytes(b"bad")
    shelf.keep_page("http://a/", "x", {"files": [{}]})
    shelf.clear(verify=True)
    assert shelf.page("http://a/", "x") is None  # the index is asked
    assert shelf.page("http://a/", "x", doubted=True)  # and is away
    shelf.clear(verify=True)
    assert shelf.page("http://a/", "x", doubted=True)
    assert [path.name for path in shelf.files.iterdir()] == [sha256(WHEEL)]


def test_an_empty_page_does_not_replace_one(shelf: Shelf) -> None:
    page = {"files": [{"filename": "a"}]}
    shelf.keep_page("http://a/", "x", page)
    shelf.keep_page("http://a/", "x", {"files": []})
    assert shelf.page("http://a/", "x") == page
    assert shelf.page("http://b/", "x") is None


def test_a_page_that_is_doubted_is_replaced_by_a_new_one(shelf: Shelf) -> None:
    shelf.keep_page("http://a/", "x", {"files": [{"filename": "old"}]})
    shelf.doubt_page("http://a/", "x")
    shelf.doubt_page("http://a/", "never kept")
    assert shelf.page("http://a/", "x") is None
    shelf.keep_page("http://a/", "x", page := {"files": [{"filename": "new"}]})
    for doubted in (False, True):
        assert shelf.page("http://a/", "x", doubted=doubted) == page


@dataclass
class Disk:
    """A disk with room for ten bytes besides what must stay free."""

    folder: Path

    def usage(self, _: Path) -> SimpleNamespace:
        used = sum(path.stat().st_size for path in self.folder.glob("files/*"))
        return SimpleNamespace(free=FLOOR_BYTES + 10 - used)


FLOOR_BYTES = 100


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setattr(shutil, "disk_usage", Disk(tmp_path).usage)
    return Shelf(tmp_path, FLOOR_BYTES)


def test_what_is_still_to_come_has_its_room(small: Shelf) -> None:
    with small.copy("a", 6) as first, small.copy("b", 6) as second, small.copy("c", 4) as third:
        assert first.part
        assert second.part is None
        assert third.part
        assert not small.has_room(1)
        for copy in (first, third):
            copy.add(b"xxx")  # it is used now, and no longer promised
            assert small.has_room(0)
            assert not small.has_room(1)
    assert small.has_room(10)


def test_what_is_not_kept_takes_no_room(small: Shelf) -> None:
    with small.copy("", 6) as copy:
        assert copy.part is None
        assert small.has_room(10)


def test_a_copy_that_fails_gives_its_room_back(small: Shelf) -> None:
    with pytest.raises(ConnectionError), small.copy("a", 6):
        raise ConnectionError
    assert small.has_room(10)


def test_of_many_who_ask_at_once_only_those_are_kept_that_fit(
    small: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage

    def slow(path: Path) -> object:
        free = usage(path)
        time.sleep(0.01)
        return free

    monkeypatch.setattr(shutil, "disk_usage", slow)
    at_once = Barrier(20)

    def keep(number: int) -> bool:
        at_once.wait(20)
        with small.copy(f"{number}", 3) as copy:
            at_once.wait(20)  # nobody has written yet
            return copy.part is not None

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(keep, range(20))) == 3
    assert small.has_room(10)
