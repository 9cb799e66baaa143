import shutil
from pathlib import Path

import pytest

from cube.disks import qcow2
from cube.runtime import run
from cube.runtime.errors import MachineError

GIB = 1024**3
qemu = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="needs qemu-img")


def make_base(folder: Path) -> Path:
    base = folder / "base.qcow2"
    run.run(["qemu-img", "create", "-q", "-f", "qcow2", base, str(GIB)])
    return base


@qemu
def test_overlay_lies_over_its_backing_file(tmp_path: Path) -> None:
    base = make_base(tmp_path)
    qcow2.create_overlay(tmp_path / "top.qcow2", base)
    found = qcow2.info(tmp_path / "top.qcow2")
    assert (found.format, found.virtual_bytes, found.backing) == ("qcow2", GIB, base)


@qemu
def test_overlay_can_be_larger(tmp_path: Path) -> None:
    qcow2.create_overlay(tmp_path / "top.qcow2", make_base(tmp_path), size_bytes=2 * GIB)
    assert qcow2.virtual_bytes(tmp_path / "top.qcow2") == 2 * GIB


@qemu
def test_overlay_replaces_what_has_its_name(tmp_path: Path) -> None:
    (tmp_path / "top.qcow2").write_text("old")
    qcow2.create_overlay(tmp_path / "top.qcow2", make_base(tmp_path))
    qcow2.check(tmp_path / "top.qcow2")


@qemu
def test_overlay_over_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="no overlay could be made over"):
        qcow2.create_overlay(tmp_path / "top.qcow2", tmp_path / "missing.qcow2")


@qemu
def test_overlay_over_garbage_is_told(tmp_path: Path) -> None:
    (tmp_path / "garbage.qcow2").write_bytes(b"garbage" * 1000)
    with pytest.raises(MachineError, match="garbage"):
        qcow2.create_overlay(tmp_path / "top.qcow2", tmp_path / "garbage.qcow2")


@qemu
def test_disk_grows(tmp_path: Path) -> None:
    base = make_base(tmp_path)
    qcow2.resize(base, 3 * GIB)
    assert qcow2.virtual_bytes(base) == 3 * GIB


@qemu
def test_corrupt_file_is_told(tmp_path: Path) -> None:
    base = make_base(tmp_path)
    content = bytearray(base.read_bytes())
    content[65536:65544] = b"\xff" * 8  # the refcount table's first entry
    base.write_bytes(content)
    with pytest.raises(MachineError, match="corrupt"):
        qcow2.check(base)


@qemu
def test_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="not a readable disk image"):
        qcow2.info(tmp_path / "missing.qcow2")


def test_compression_is_read() -> None:
    text = (
        '{"format": "qcow2", "virtual-size": 1, "actual-size": 2,'
        ' "format-specific": {"data": {"compression-type": "zstd"}}}'
    )
    found = qcow2.parse_info(text)
    assert (found.compression, found.backing, found.actual_bytes) == ("zstd", None, 2)


@qemu
def test_copy_that_reads_otherwise_is_told(tmp_path: Path) -> None:
    one, other = tmp_path / "one.qcow2", tmp_path / "other.qcow2"
    for file in (one, other):
        run.run(["qemu-img", "create", "-q", "-f", "qcow2", file, "1M"])
    qcow2.compare(one, other)
    run.run(["qemu-io", "-f", "qcow2", "-c", "write -P 1 64k 512", other])
    with pytest.raises(
        MachineError, match=r"other\.qcow2: does not have the same content as .*one\.qcow2"
    ):
        qcow2.compare(one, other)


@qemu
def test_chain_names_every_file_below_a_disk(tmp_path: Path) -> None:
    base, top = tmp_path / "base.qcow2", tmp_path / "top.qcow2"
    run.run(["qemu-img", "create", "-q", "-f", "qcow2", base, "1M"])
    qcow2.create_overlay(top, base)
    assert list(qcow2.chain_of(top)) == [top, base]
