"""What was deleted on a disk is not in its copy, and everything else is."""

import os
from pathlib import Path

import pytest

from cube.config import Layout
from cube.disks import gpt, loop, lvm, mount, shape
from cube.disks.shape import MIB
from cube.runtime import run
from cube.runtime.errors import SealError
from cube.seal import leaks, repack, sealing
from tests.integration.test_disks import PV_MIB, ROOT_MIB, as_qcow2, make_raw, make_tree

SECRET = b"a planted secret that was deleted"
#: Lets a program use raw sockets: CAP_NET_RAW. Source: Linux, struct vfs_cap_data.
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
#: u::rw-,u:7:rw-,g::r--,m::rw-,o::r--. Source: Linux, struct posix_acl_xattr_entry.
ACL = bytes.fromhex(
    "0200000001000600ffffffff020006000700000004000400ffffffff10000600ffffffff20000400ffffffff"
)


@pytest.fixture(params=["plain", "lvm"])
def raw(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A disk of each layout; see `make_disk`."""
    return make_disk(tmp_path, request.param)


def make_disk(tmp_path: Path, layout: Layout) -> Path:
    """Make a disk of the product's shape with an EFI system partition and a boot sector."""
    image = make_raw(tmp_path / "disk.raw", gpt.partition_table(layout), shape.ROOT_AT + PV_MIB + 1)
    at = shape.ROOT_AT
    if layout == "lvm":
        with loop.attached(image, offset=at * MIB, size=PV_MIB * MIB) as device:
            lvm.create(device)
        at += shape.PV_START_MIB
    tree = make_tree(tmp_path / "tree")
    plant(tree)
    run.run(gpt.root_args(tree, image, at=at * MIB, size=ROOT_MIB * MIB))
    gpt.make_esp(image, at=shape.ESP_AT * MIB, size=shape.ESP_MIB * MIB)
    esp = f"{image}@@{shape.ESP_AT}M"
    run.run(["mmd", "-i", esp, "::EFI", "::EFI/BOOT"])
    run.run(["mcopy", "-i", esp, "-", "::EFI/BOOT/BOOTX64.EFI"], stdin="loader")
    run.run(["mcopy", "-i", esp, "-", "::EFI/old"], stdin=SECRET.decode())
    run.run(["mdel", "-i", esp, "::EFI/old"])
    run.run(["mmd", "-i", esp, "::loader"])
    run.run(["mcopy", "-i", esp, "-", f"::{repack.ESP_SEED}"], stdin="a seed")
    with image.open("r+b") as file:
        file.write(repack.JUMP + b"boot code")
        file.seek(shape.BIOS_AT * MIB)
        file.write(b"core image")
    return image


def plant(tree: Path) -> None:
    """Make one entry of every kind."""
    (tree / "bin").mkdir()
    program = tree / "bin/ping"
    program.write_bytes(os.urandom(70_000))
    program.chmod(0o4755)
    os.setxattr(program, "security.capability", CAPABILITY)
    os.setxattr(program, "user.note", b"kept")
    os.link(program, tree / "bin/ping6")
    (tree / "bin/sh").symlink_to("/usr/bin/dash")
    os.mkfifo(tree / "etc/fifo")
    os.mknod(tree / "etc/null", 0o20666, os.makedev(1, 3))
    (tree / "etc/empty").touch()
    with (tree / "etc/sparse").open("wb") as file:
        file.truncate(8 * MIB)
        file.seek(5 * MIB)
        file.write(b"data")
    os.chown(tree / "etc/empty", 1000, 1001)
    os.utime(tree / "etc/empty", (1, 2))
    os.setxattr(tree / "etc/hostname", "system.posix_acl_access", ACL)


@pytest.fixture
def lived_in(raw: Path, tmp_path: Path) -> Path:
    """The disk after a life: secrets were written and deleted."""
    image = as_qcow2(raw)
    with mount.mounted(image, tmp_path / "run", writable=True) as root:
        for number in range(200):
            (root / f"etc/{number}").write_bytes(SECRET * 10)
        (root / "etc/a name that is a planted secret").touch()
        os.sync()
        for number in range(0, 200, 2):
            (root / f"etc/{number}").unlink()
        (root / "etc/a name that is a planted secret").unlink()
    return image


def traces(file: Path) -> int:
    return file.read_bytes().count(b"planted secret")


def test_nothing_deleted_is_copied_and_all_else_is(lived_in: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat.raw"
    run.run(["qemu-img", "convert", "-O", "raw", lived_in, flat])
    with mount.mounted(lived_in, tmp_path / "run") as root:
        names = sorted(repack.walk(root))
    target = tmp_path / "new.raw"

    repack.repack(lived_in, target, tmp_path / "work")

    assert traces(flat) > 10 * 100 + 2, "the old disk still has what was deleted"
    assert traces(target) == 10 * 100, "the new one has the files that are there"
    with target.open("rb") as file:
        assert file.read(10) == repack.JUMP + b"boot code"
        file.seek(shape.BIOS_AT * MIB)
        assert file.read(10) == b"core image"
    assert uuids(target) == uuids(flat)
    new = as_qcow2(target)
    with mount.mounted(new, tmp_path / "run") as root:
        assert sorted(repack.walk(root)) == names
        assert (root / "etc/sparse").stat().st_blocks * 512 < MIB
        assert os.getxattr(root / "etc/hostname", "system.posix_acl_access") == ACL
        assert os.getxattr(root / "bin/ping", "user.note") == b"kept"
    loader = run.run(["mtype", "-i", f"{target}@@{shape.ESP_AT}M", "::EFI/BOOT/BOOTX64.EFI"])
    assert loader.stdout == "loader"
    left = run.run(["mdir", "-b", "-i", f"{target}@@{shape.ESP_AT}M", "-/", "::"]).stdout
    assert "random-seed" not in left
    assert "BOOTX64.EFI" in left


BLKID = ("blkid", "-p", "-o", "value", "-s", "UUID")


def uuids(file: Path) -> list[str]:
    """Return what identifies each part of a raw disk."""
    table = run.run(["sfdisk", "--dump", file]).stdout
    rows = [line.split(": ", 1)[1] for line in table.splitlines() if " start=" in line]
    tags = [
        run.run(
            ["blkid", "-p", "-o", "value", "-s", "UUID", "--offset", str(at * MIB), str(file)]
        ).stdout
        for at in (shape.ESP_AT, shape.ROOT_AT)
    ]
    return [*rows, *tags]


NEEDLE = leaks.Needle(what="the login of network.proxy", text="anna:open-sesame")


def plant_needles(root: Path) -> set[str]:
    """Hide the needle in content, a name, an attribute and a link; return the places."""
    (root / "etc/environment").write_text(f"http_proxy=http://{NEEDLE.text}@proxy:3128\n")
    (root / f"boot/{NEEDLE.text}").touch()
    os.setxattr(root / "etc/sparse", "user.note", b"x" * 300 + NEEDLE.text.encode())
    (root / "etc/link").symlink_to("/" + "x" * 80 + NEEDLE.text)
    return {"etc/environment", "boot", "etc/sparse", "etc/link"}


def test_what_the_build_knows_is_found_everywhere(raw: Path, tmp_path: Path) -> None:
    image, target = as_qcow2(raw), tmp_path / "new.raw"
    parts = repack.repack(image, target, tmp_path / "work")
    assert leaks.search(target, parts, [NEEDLE]) == []
    with mount.mounted(image, tmp_path / "run", writable=True) as root:
        expected = plant_needles(root)
    parts = repack.repack(image, target, tmp_path / "work")
    at = next(part.start for part in parts if part.label == shape.ROOT_LABEL)
    run.run(["tune2fs", "-M", f"/{NEEDLE.text}", f"{target}?offset={at}"])
    run.run(["mcopy", "-i", f"{target}@@{shape.ESP_AT}M", "-", "::note"], stdin=NEEDLE.text)
    with target.open("r+b") as file:
        file.seek(300)
        file.write(NEEDLE.text.encode())
    expected |= {"the superblock", "the EFI system partition"}
    expected |= {"the partition table or boot sector"}
    assert {hit.place for hit in leaks.search(target, parts, [NEEDLE])} == expected
    with pytest.raises(SealError, match=r"the login of network\.proxy, and 6 more") as caught:
        leaks.expect_none(target, parts, [NEEDLE], tmp_path / "tree")
    assert NEEDLE.text not in f"{caught.value.message}{caught.value.details}"


def test_the_boot_loaders_partition_is_read_on_a_disk_of_any_size(tmp_path: Path) -> None:
    """mkfs.fat chooses a cluster by the size of the whole file."""
    for size_gib in (1, 16, 600):
        image = make_raw(tmp_path / "disk.raw", gpt.partition_table("plain"), size_gib * 1024)
        gpt.make_esp(image, at=shape.ESP_AT * MIB, size=shape.ESP_MIB * MIB)
        run.run(["mdir", "-i", f"{image}@@{shape.ESP_AT}M", "::"])


def test_a_deleted_secret_stops_the_seal(lived_in: Path, tmp_path: Path) -> None:
    with pytest.raises(SealError, match="runs of free blocks are not zero"):
        sealing.expect_no_residue(lived_in, tmp_path / "work")


def test_a_repacked_disk_passes(lived_in: Path, tmp_path: Path) -> None:
    repack.repack(lived_in, tmp_path / "new.raw", tmp_path / "work")
    sealing.expect_no_residue(as_qcow2(tmp_path / "new.raw"), tmp_path / "work")


def test_a_disk_that_was_not_unmounted_is_refused(raw: Path, tmp_path: Path) -> None:
    image = as_qcow2(raw)
    at = (shape.ROOT_AT + (shape.PV_START_MIB if is_lvm(raw) else 0)) * MIB
    run.run(["debugfs", "-w", "-R", "feature needs_recovery", f"{raw}?offset={at}"])
    image = as_qcow2(raw)
    with pytest.raises(SealError, match="its root was not unmounted"):
        repack.repack(image, tmp_path / "new.raw", tmp_path / "work")
    assert not (tmp_path / "new.raw").exists()


def is_lvm(raw: Path) -> bool:
    with raw.open("rb") as file:
        file.seek(shape.ROOT_AT * MIB + 512)
        return file.read(8) == b"LABELONE"


def test_a_copy_that_differs_is_refused(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, whole = as_qcow2(raw), repack.copy_root

    def spoil(source: repack.Source, target: Path) -> None:
        whole(source, target)
        at = source.root_part.start
        run.run(["debugfs", "-w", "-R", "rm etc/empty", f"{target}?offset={at}"])

    monkeypatch.setattr(repack, "copy_root", spoil)
    with pytest.raises(SealError, match="1 files are not as they were, the first is etc/empty"):
        repack.repack(image, tmp_path / "new.raw", tmp_path / "work")
    assert not (tmp_path / "new.raw").exists()
