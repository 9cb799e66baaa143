"""Checksums as sha256sum(1) makes them."""

import hashlib
from pathlib import Path

import pytest

from cube.runtime import checksum, run


@pytest.mark.parametrize("size", [0, 1, checksum.BLOCK, checksum.BLOCK + 1])
def test_checksum_is_what_sha256sum_says(tmp_path: Path, size: int) -> None:
    path = tmp_path / "image.qcow2"
    path.write_bytes(b"x" * size)
    digest = checksum.sha256(path)
    (tmp_path / "image.qcow2.sha256").write_text(checksum.line(digest, path.name))
    assert digest == hashlib.sha256(b"x" * size).hexdigest()
    run.run(["sha256sum", "--check", "--strict", "image.qcow2.sha256"], cwd=tmp_path)
