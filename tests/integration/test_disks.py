"""Disks in every layout, made and mounted by offset: no machine, no device mapper."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cube.disks import gpt, loop, lvm, mount, shape
from cube.disks.shape import MIB, Layout
from cube.runtime import run
from cube.runtime.errors import MachineError

#: Size of a root in these tests, in MiB; a multiple of LVM's extents.
ROOT_MIB = 64
#: ... and of a physical volume that holds it.
PV_MIB = ROOT_MIB + shape.PV_START_MIB


def loops(folder: Path) -> list[str]:
    """Return the files of a folder that loop devices of this machine show."""
    found = run.run(["losetup", "--noheadings", "--output", "BACK-FILE"]).stdout
    return sorted(line for line in found.splitlines() if line.startswith(str(folder)))


def make_tree(folder: Path, fstab: str = "LABEL=cube-root / ext4 defaults 0 1\n") -> Path:
    (folder / "etc").mkdir(parents=True)
    (folder / "boot/efi").mkdir(parents=True)
    (folder / "etc/fstab").write_text(fstab)
    (folder / "etc/hostname").write_text("inside\n")
    return folder


def make_raw(image: Path, table: str, size_mib: int) -> Path:
    with image.open("wb") as file:
        file.truncate(size_mib * MIB)
    run.run(["sfdisk", "--quiet", image], stdin=table)
    return image


def make_image(folder: Path, layout: Layout) -> Path:
    """Return a qcow2 disk in the shape of the product, without boot loaders."""
    folder.mkdir(exist_ok=True)
    tree, raw = make_tree(folder / "tree"), folder / "disk.raw"
    make_raw(raw, gpt.partition_table(layout), shape.ROOT_AT + PV_MIB + 1)
    at = shape.ROOT_AT
    if layout == "lvm":
        with loop.attached(raw, offset=at * MIB, size=PV_MIB * MIB) as device:
            lvm.create(device)
        at += shape.PV_START_MIB
    run.run(gpt.root_args(tree, raw, at=at * MIB, size=ROOT_MIB * MIB))
    return as_qcow2(raw)


def as_qcow2(raw: Path) -> Path:
    target = raw.with_suffix(".qcow2")
    run.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, target])
    return target


@pytest.mark.parametrize("layout", ["plain", "lvm"])
def test_a_root_is_written_and_read_back(tmp_path: Path, layout: Layout) -> None:
    image = make_image(tmp_path / "disk", layout)
    with mount.mounted(image, tmp_path / "run", writable=True) as root:
        assert (root / "etc/hostname").read_text() == "inside\n"
        (root / "etc/hostname").write_text("changed\n")
    with mount.mounted(image, tmp_path / "run") as root:
        assert (root / "etc/hostname").read_text() == "changed\n"
        assert os.statvfs(root).f_frsize * os.statvfs(root).f_blocks < ROOT_MIB * MIB
    assert loops(tmp_path) == []


def test_groups_of_one_name_are_mounted_side_by_side(tmp_path: Path) -> None:
    """As nothing is activated, a group that this machine has, too, does not matter."""
    one, other = (make_image(tmp_path / name, "lvm") for name in ("one", "other"))
    with mount.mounted(one, tmp_path / "run1", writable=True) as root:
        (root / "etc/hostname").write_text("one\n")
        with mount.mounted(other, tmp_path / "run2") as second:
            assert (second / "etc/hostname").read_text() == "inside\n"


def test_the_metadata_does_not_name_the_host(tmp_path: Path) -> None:
    image = make_image(tmp_path / "disk", "lvm").with_suffix(".raw")
    with image.open("rb") as file:
        file.seek(shape.ROOT_AT * MIB)
        found = file.read(MIB)
    assert b'creation_host = "cube"' in found
    assert str(tmp_path).encode() not in found


#: An LVM root as others make it: a /boot of its own, a group with a hyphen, several volumes.
FOREIGN = """\
label: gpt
start=1MiB, size=32MiB, type=linux, name="the boot"
start=33MiB, type=lvm, name=pv
"""


def make_volumes(
    raw: Path, commands: Callable[[str], list[list[str]]], *, at: int, mib: int
) -> None:
    with loop.attached(raw, offset=at * MIB, size=mib * MIB) as device:
        run.run(lvm.args("pvcreate", device, str(device)))
        run.run(lvm.args("vgcreate", device, "my-vg", str(device)))
        for command, *rest in commands(str(device)):
            run.run(lvm.args(command, device, *rest))


LEAVE = ("--yes", "--activate", "n", "--zero", "n", "--wipesignatures", "n")


def create(extents: str, name: str) -> list[str]:
    return ["lvcreate", *LEAVE, "--extents", extents, "--name", name, "my-vg"]


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A raw disk with a /boot of its own, and an empty volume group beside it."""
    return make_raw(tmp_path / "foreign.raw", FOREIGN, 34 + PV_MIB)


@pytest.mark.parametrize(
    "source",
    [
        "/dev/disk/by-partlabel/the\\x20boot",
        'PARTLABEL="the\\040boot"',
        "LABEL=kernels",
        "/dev/disk/by-label/kernels",
    ],
)
def test_a_boot_of_its_own_is_mounted(tmp_path: Path, foreign: Path, source: str) -> None:
    make_volumes(
        foreign, lambda _: [create("4", "a-swap"), create("100%FREE", "a-root")], at=33, mib=PV_MIB
    )
    fstab = f"/dev/mapper/my--vg-a--root / ext4 defaults 0 1\n{source} /boot ext4 defaults 0 1\n"
    tree = make_tree(tmp_path / "tree", fstab)
    run.run(gpt.root_args(tree, foreign, at=(33 + 1 + 16) * MIB, size=(ROOT_MIB - 16) * MIB))
    run.run(["mke2fs", "-q", "-F", "-L", "kernels", "-E", f"offset={MIB}", foreign, "32M"])
    image = as_qcow2(foreign)
    with mount.mounted(image, tmp_path / "run", writable=True) as root:
        (root / "boot/vmlinuz").write_text("kernel")
    with mount.mounted(image, tmp_path / "run") as root:
        assert (root / "boot/vmlinuz").read_text() == "kernel"
        assert (root / "boot/lost+found").is_dir(), "/boot is a file system of its own"
    assert loops(tmp_path) == []


def test_a_device_of_fstab_that_is_not_there_is_told(tmp_path: Path, foreign: Path) -> None:
    make_volumes(foreign, lambda _: [create("100%FREE", "root")], at=33, mib=PV_MIB)
    tree = make_tree(tmp_path / "tree", "UUID=1234-abcd /boot ext4 defaults 0 1\n")
    run.run(gpt.root_args(tree, foreign, at=34 * MIB, size=ROOT_MIB * MIB))
    image, before = as_qcow2(foreign), loops(tmp_path)
    with (
        pytest.raises(MachineError, match="UUID=1234-abcd for /boot, which is not on the disk"),
        mount.mounted(image, tmp_path / "run"),
    ):
        pass
    assert loops(tmp_path) == before == []


def test_a_volume_in_pieces_is_refused(tmp_path: Path, foreign: Path) -> None:
    make_volumes(
        foreign,
        lambda _: [
            create("2", "root"),
            create("2", "between"),
            ["lvextend", "--extents", "+2", "my-vg/root"],
        ],
        at=33,
        mib=PV_MIB,
    )
    image = as_qcow2(foreign)
    with (
        pytest.raises(MachineError, match=r"my-vg/root cannot .* it has 2 segments") as caught,
        mount.mounted(image, tmp_path / "run"),
    ):
        pass
    assert "\n" not in caught.value.message
    assert "machine = 'vm'" in caught.value.hint
    assert loops(tmp_path) == []
