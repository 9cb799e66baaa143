import os
from pathlib import Path

import pytest

from cube.seal.flatten.extents import Extent, by_cluster, cut, parse_map, read


def extent(start: int, length: int, *, offset: int | None = 0, file: int = 0) -> Extent:
    return Extent(start=start, length=length, file=file, offset=offset)


def test_what_reads_as_zeros_is_left_out() -> None:
    text = """[
    {"start": 0, "length": 10, "depth": 1, "present": true, "zero": false, "data": true,
     "offset": 327680},
    {"start": 10, "length": 20, "depth": 0, "present": true, "zero": true, "data": false},
    {"start": 30, "length": 5, "depth": 0, "present": true, "zero": true, "data": true,
     "offset": 7},
    {"start": 35, "length": 5, "depth": 0, "present": false, "zero": false, "data": false},
    {"start": 40, "length": 5, "depth": 0, "present": true, "zero": false, "data": true}]"""
    assert parse_map(text) == [
        extent(0, 10, offset=327680, file=1),
        extent(40, 5, offset=None),  # compressed
    ]


def test_extents_are_cut_where_a_cluster_ends() -> None:
    assert list(cut([extent(90, 120, offset=7)], 100)) == [
        extent(90, 10, offset=7),
        extent(100, 100, offset=17),
        extent(200, 10, offset=117),
    ]
    assert list(cut([extent(0, 150, offset=None)], 100))[1] == extent(100, 50, offset=None)


def test_clusters_come_in_order_with_all_that_they_hold() -> None:
    found = by_cluster([extent(0, 10), extent(50, 10), extent(399, 2)], 100)
    assert [(number, [one.start for one in pieces]) for number, pieces in found] == [
        (0, [0, 50]),
        (3, [399]),
        (4, [400]),
    ]
    assert list(by_cluster([], 100)) == []


@pytest.mark.parametrize(
    ("offset", "expected"), [(2, b"\0cde"), (6, b"\0g\0\0")], ids=["whole", "file ends before"]
)
def test_what_no_piece_holds_is_zeros(tmp_path: Path, offset: int, expected: bytes) -> None:
    (tmp_path / "file").write_bytes(b"abcdefg")
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    try:
        found = read([extent(9, 3, offset=offset)], [descriptor], 4)
        assert found == expected
        assert read([], [descriptor], 4) == bytes(4)
    finally:
        os.close(descriptor)
