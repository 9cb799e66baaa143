from pathlib import Path

import pytest

from cube.disks import qcow2
from cube.runtime import log, run
from cube.runtime.errors import CommandError, MachineError, SealError
from cube.seal import sealing
from cube.seal.cleaning import steps
from cube.seal.flatten import compress


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    """Two links: 4 MiB in the lower one, 1 MiB in the upper one."""
    base, top, data = tmp_path / "base.qcow2", tmp_path / "top.qcow2", tmp_path / "data"
    data.write_bytes(bytes(range(256)) * 4096 * 4)
    run.run(["qemu-img", "create", "-q", "-f", "qcow2", base, "64M"])
    run.run(["qemu-io", "-f", "qcow2", "-c", f"write -s {data} 0 4M", base])
    qcow2.create_overlay(top, base)
    run.run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 8M 1M", top])
    return top


def test_marked_disk_is_believed(tmp_path: Path) -> None:
    (tmp_path / steps.DONE).parent.mkdir(parents=True)
    (tmp_path / steps.DONE).write_text("2026-01-31T13:00:05Z\n")
    sealing.read_mark(tmp_path, Path("disk.qcow2"))


def test_disk_without_a_mark_is_not_believed(tmp_path: Path) -> None:
    with pytest.raises(SealError, match=r"disk\.qcow2: was not cleaned"):
        sealing.read_mark(tmp_path, Path("disk.qcow2"))


def test_flattened_disk_is_one_compressed_file_with_the_same_content(
    tmp_path: Path, chain: Path
) -> None:
    target = tmp_path / "sealed.qcow2"
    sizes = sealing.flatten(chain, target)
    info = qcow2.info(target)
    run.run(["qemu-img", "compare", "-q", chain, target])
    assert (info.format, info.backing, info.compression) == ("qcow2", None, "zstd")
    assert sizes.virtual == 64 * 1024**2
    assert sizes.after == target.stat().st_size
    assert sizes.before > 5 * 1024**2


def test_disk_that_cannot_be_read_leaves_no_file(tmp_path: Path, chain: Path) -> None:
    with (tmp_path / "base.qcow2").open("r+b") as stream:
        stream.seek(40)  # Source: qcow2 specification, header: l1_table_offset
        table = int.from_bytes(stream.read(8), "big")
        stream.seek(table)
        stream.write(b"\x80" + b"\xfe" * 7)
    with pytest.raises(SealError, match="could not be compressed") as caught:
        sealing.flatten(chain, tmp_path / "sealed.qcow2")
    assert "L2 table offset 0xfefefefefefe00 unaligned" in caught.value.details
    assert not (tmp_path / "sealed.qcow2").exists()


def test_full_disk_leaves_no_file(tmp_path: Path, chain: Path) -> None:
    target = tmp_path / "sealed.qcow2"
    target.symlink_to("/dev/full")  # Source: full(4)
    with pytest.raises(SealError, match="No space left on device") as caught:
        sealing.flatten(chain, target)
    assert "cube chain prune" in caught.value.hint
    assert not target.is_symlink()


@pytest.mark.parametrize(
    ("said", "hint"), [("qemu-img: No space left on device", "prune"), ("corrupt", "verify")]
)
def test_a_program_that_fails_is_told_with_what_helps(
    tmp_path: Path, chain: Path, monkeypatch: pytest.MonkeyPatch, said: str, hint: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise CommandError("qemu-img convert: exit code 1", output=said)

    monkeypatch.setattr(compress, "flatten", fail)
    with pytest.raises(SealError, match="could not be compressed: qemu-img convert") as caught:
        sealing.flatten(chain, tmp_path / "sealed.qcow2")
    assert hint in caught.value.hint
    assert caught.value.details == said


def test_a_link_that_is_gone_is_told(tmp_path: Path, chain: Path) -> None:
    (tmp_path / "base.qcow2").unlink()
    with pytest.raises(SealError, match="could not be compressed"):
        sealing.flatten(chain, tmp_path / "sealed.qcow2")


def test_file_that_reads_otherwise_is_never_kept(
    tmp_path: Path, chain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def misread(pieces: object, files: object, size: int) -> bytearray:
        return bytearray(b"x" * size)

    monkeypatch.setattr(compress, "read", misread)
    with pytest.raises(MachineError, match="does not have the same content as") as caught:
        sealing.flatten(chain, tmp_path / "sealed.qcow2")
    assert "mismatch" in caught.value.details
    assert not (tmp_path / "sealed.qcow2").exists()


def test_progress_of_the_compression_is_told(tmp_path: Path, chain: Path) -> None:
    told: list[log.Event] = []
    with log.listening(told.append):
        sealing.flatten(chain, tmp_path / "sealed.qcow2")
    said = [event.text for event in told if event.kind == "status"]
    assert "compressing the image 3%" in said
    assert said[-1] == "compressing the image 16%"  # the last byte that the disk holds
