"""What of the kept wheels goes before a build."""

import os
import time
from pathlib import Path

import pytest

from cube.wheelhouse.shelf import KEEP_S, Shelf
from tests.unit.wheelhouse.origin import WHEEL, sha256


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
    assert shelf.page("http://a/", "x")
    assert [path.name for path in shelf.files.iterdir()] == [sha256(WHEEL)]


def test_an_empty_page_does_not_replace_one(shelf: Shelf) -> None:
    page = {"files": [{"filename": "a"}]}
    shelf.keep_page("http://a/", "x", page)
    shelf.keep_page("http://a/", "x", {"files": []})
    assert shelf.page("http://a/", "x") == page
    assert shelf.page("http://b/", "x") is None
