"""What is compressed is searched: every format, any length, in bounded time."""

import gzip
import lzma
import os
from pathlib import Path

import pytest
import zstandard

from cube.runtime.errors import SealError
from cube.seal import packed
from tests.initramfs import archive


def test_a_text_across_two_pieces_is_found(tmp_path: Path) -> None:
    for at in (packed.CHUNK - 3, packed.CHUNK, 2 * packed.CHUNK - 1):
        (tmp_path / f"{at}.gz").write_bytes(gzip.compress(b"x" * at + b"needle" + b"x" * 99))
    assert {text for _, text in packed.search(tmp_path, ["needle", "other"])} == {"needle"}
    assert len(packed.search(tmp_path, ["needle"])) == 3


def test_what_is_not_compressed_is_left_to_the_search_of_the_disk(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("needle")
    (tmp_path / "empty.gz").touch()
    (tmp_path / "pipe").symlink_to("plain")
    os.mkfifo(tmp_path / "fifo")
    assert packed.search(tmp_path, ["needle"]) == []


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, zstandard.compress])
def test_what_can_be_read_of_a_damaged_file_is_searched(tmp_path: Path, pack: object) -> None:
    assert callable(pack)
    noise = os.urandom(3 * packed.CHUNK)
    whole = pack(b"needle" + noise)
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "more").write_bytes(whole + b"rubbish behind it")
    (tmp_path / "head").write_bytes(whole[:8])
    assert {name for name, _ in packed.search(tmp_path, ["needle"])} >= {"cut", "more"}


def test_archives_before_a_compressed_one_are_passed_over(tmp_path: Path) -> None:
    first = archive({"kernel/x86/odd": b"12345", "kernel/x86/other": bytes(4000)})
    (tmp_path / "boot").mkdir()
    file = tmp_path / "boot/initrd.img"
    file.write_bytes(first + first + zstandard.compress(b"needle"))
    assert packed.search(tmp_path, ["needle"]) == [("boot/initrd.img", "needle")]
    file.write_bytes(first)
    assert packed.search(tmp_path, ["needle"]) == []
    file.write_bytes(first + b"\x02\x21\x4c\x18")
    with pytest.raises(SealError, match=r"/boot/initrd.img: its compression is not known"):
        packed.search(tmp_path, ["needle"])


def test_the_time_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "zeros.gz").write_bytes(gzip.compress(bytes(2 * packed.CHUNK)))
    with pytest.raises(SealError, match=r"/zeros.gz: the search of compressed files takes too"):
        packed.search(tmp_path, ["needle"], limit_s=0)
