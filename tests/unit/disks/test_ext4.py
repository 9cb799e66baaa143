"""Blocks that no file uses: where they are, and what they hold."""

import subprocess
from pathlib import Path

import pytest

from cube.disks import ext4
from cube.runtime.errors import SealError

MIB = 1024 * 1024
AT = MIB
TEXT = """\
Filesystem volume name:   cube-root
Filesystem features:      has_journal extent
Filesystem state:         clean
Block size:               4096
Journal features:         (none)


Group 0: (Blocks 0-9) [ITABLE_ZEROED]
  Free blocks: 3, 5-6
  Free inodes: 12-16
Group 1: (Blocks 10-19)
  Free blocks:
  Free inodes:
"""


def test_free_runs_are_in_bytes() -> None:
    fields, free = ext4.parse(TEXT)
    assert fields["Filesystem state"] == "clean"
    assert free == ((3 * 4096, 4096), (5 * 4096, 2 * 4096))


@pytest.mark.parametrize(
    ("features", "state", "clean"),
    [
        ("has_journal", "clean", True),
        ("has_journal needs_recovery", "clean", False),
        ("has_journal", "not clean", False),
    ],
)
def test_what_was_unmounted(features: str, state: str, clean: bool) -> None:
    fields = {"Filesystem features": features, "Filesystem state": state}
    found = ext4.FileSystem(file=Path("x"), offset=0, fields=fields, unused=())
    assert found.clean is clean


@pytest.mark.parametrize(
    ("unused", "written", "expected"),
    [
        ([(0, 10)], [(105, 100)], [(5, 5)]),
        ([(0, 10), (20, 10)], [(100, 25)], [(0, 10), (20, 5)]),
        ([(0, 30)], [(100, 5), (110, 5), (150, 9)], [(0, 5), (10, 5)]),
        ([(10, 10)], [(0, 110), (120, 9)], []),
        ([(10, 10)], [], []),
    ],
)
def test_only_what_the_image_holds_is_read(
    unused: list[tuple[int, int]],
    written: list[tuple[int, int]],
    expected: list[tuple[int, int]],
) -> None:
    found = ext4.FileSystem(file=Path("x"), offset=100, fields={}, unused=tuple(unused))
    assert list(ext4.overlaps(found, written)) == expected


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A file system of 32 MiB at `AT`, with one file."""
    tree, raw = tmp_path / "tree", tmp_path / "raw"
    tree.mkdir()
    (tree / "file").write_bytes(b"x" * 9000)
    with raw.open("wb") as file:
        file.truncate(AT + 32 * MIB)
    argv = ["mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-d", str(tree), "-E"]
    subprocess.run([*argv, f"offset={AT},lazy_journal_init=0", str(raw), "32M"], check=True)
    return raw


def whole(image: Path) -> list[tuple[int, int]]:
    return [(0, image.stat().st_size)]


def test_a_new_file_system_has_no_residue(image: Path) -> None:
    found = ext4.read(image, AT)
    assert found.clean
    assert sum(length for _, length in found.unused) > 16 * MIB
    assert ext4.residues(found, whole(image)) == []


def test_a_deleted_file_is_a_residue(image: Path) -> None:
    argv = ["debugfs", "-w", "-R", "rm file", f"{image}?offset={AT}"]
    subprocess.run(argv, check=True, capture_output=True)
    (place,) = ext4.residues(ext4.read(image, AT), whole(image))
    with image.open("rb") as file:
        file.seek(AT + place)
        assert file.read(9) == b"x" * 9


def test_what_the_journal_holds_is_a_residue(image: Path) -> None:
    argv = ["debugfs", "-R", "blocks <8>", f"{image}?offset={AT}"]
    blocks = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()
    with image.open("r+b") as file:
        file.seek(AT + int(blocks[7]) * 4096 + 17)
        file.write(b"old name")
    assert len(ext4.residues(ext4.read(image, AT), whole(image))) == 1


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(bytes(MIB))
    with pytest.raises(SealError, match="no ext4 file system at byte 0"):
        ext4.read(tmp_path / "raw", 0)
