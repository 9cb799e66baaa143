"""A disk on new file systems: what was deleted on the old ones is not copied.

Freed blocks, the journal, folder entries of deleted files, the superblock's notes and LVM's
history of its metadata all hold what a build has done. Zeroing each of these is a list that is
never complete, so the root and the EFI system partition are made anew with the same identity
(UUIDs, labels), and the files are copied onto them. Only what a guest can read is in the result.
"""

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cube.disks import ext4, fuse_export, gpt, loop, lvm, mount, shape
from cube.disks import qcow2 as disks
from cube.disks.partition import LVM_MEMBER, Region, choose_root, regions
from cube.disks.shape import MIB
from cube.runtime import run
from cube.runtime.errors import SealError
from cube.runtime.namespaces import Cell, open_cell, releasing

#: What sfdisk's table leaves alone: the boot sector's code. Source: grub's boot.h, 440 bytes.
BOOT_CODE = 440
#: Boot code begins with a jump: no image format does, so nothing takes the raw file for another.
JUMP = b"\xeb"

#: systemd-boot's seed of randomness: cleaning cannot reach it on a kernel without vfat.
#: Source: systemd-boot-random-seed.service(8).
ESP_SEED = "loader/random-seed"


@dataclass(frozen=True, kw_only=True)
class Source:
    """The disk that is repacked, shown as a raw file in a cell with its root mounted read-only."""

    cell: Cell
    raw: Path
    root: Path
    parts: list[Region]

    @property
    def root_part(self) -> Region:
        """The root."""
        return choose_root(self.parts, self.raw)

    def part(self, fs_type: str) -> Region | None:
        """Return the partition with this content, if there is one."""
        return next((part for part in self.parts if part.type == fs_type), None)


def repack(disk: Path, target: Path, work: Path) -> list[Region]:
    """Write a disk's files onto new file systems; return what is where, on either disk.

    Args:
        disk: a disk in the shape of `cube.disks.shape`, of a machine that is off.
        target: raw file to write, sparse; it is as large as the disk is to a guest.
        work: folder for what mounting needs.

    Raises:
        SealError: the disk has another shape or was not unmounted, or a file differs.
        CommandError: a program failed, as on a full disk; nothing is left at `target`.
    """
    try:
        with opened(disk, work) as source:
            lay_out(source, target, disks.virtual_bytes(disk), work)
            copy_esp(source, target, work)
            copy_root(source, target)
            compare(source, target, work)
            return source.parts
    except BaseException:
        target.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def opened(disk: Path, work: Path) -> Iterator[Source]:
    """Show a disk, its root mounted without anything that is mounted below it.

    Raises:
        SealError: its root was not unmounted.
    """
    work.mkdir(parents=True, exist_ok=True)
    cell = open_cell(work / "cell.log")
    with contextlib.closing(cell):
        shown = fuse_export.export(cell, disk, work, writable=False)
        with releasing(shown.close):
            found = regions(cell, shown.raw)
            part, root = choose_root(found, disk), work.absolute() / "root"
            system = ext4.read(cell.path(shown.raw), part.start)
            if not system.clean:
                raise SealError(
                    f"{disk}: its root was not unmounted",
                    hint="the machine was killed during cleaning; build again",
                )
            root.mkdir(exist_ok=True)
            with mount.attached(cell, shown.raw, part, writable=False) as device:
                cell.execute(mount.mount_args(device, root, part.type, writable=False))
            with releasing(lambda: mount.unmount_tree(cell, root)):
                yield Source(cell=cell, raw=shown.raw, root=root, parts=found)


def lay_out(source: Source, target: Path, size: int, work: Path) -> None:
    """Make the target with the same partitions, boot code and logical volume."""
    with target.open("wb") as file:
        file.truncate(size)
    raw = source.cell.path(source.raw)
    table = source.cell.execute(["sfdisk", "--dump", source.raw]).stdout
    run.run(["sfdisk", "--quiet", target], stdin=table)
    with raw.open("rb") as old, target.open("r+b") as new:
        if old.read(1) != JUMP:
            raise SealError(f"{source.raw}: sector 0 holds no boot code", hint="build it again")
        for offset, length in ((0, BOOT_CODE), (shape.BIOS_AT * MIB, shape.BIOS_MIB * MIB)):
            old.seek(offset)
            new.seek(offset)
            new.write(old.read(length))
    member = source.part(LVM_MEMBER)
    if member is None:
        return
    argv = loop.attach_args(source.raw, offset=member.start, size=member.size, writable=False)
    device = source.cell.execute(argv).stdout.strip()
    try:
        execute = source.cell.execute
        saved = lvm.backup(lambda words: execute(words).stdout, device, work / "group")
    finally:
        source.cell.execute(["losetup", "--detach", device])
    with loop.attached(target, offset=member.start, size=member.size) as place:
        lvm.restore(saved, place)


def copy_esp(source: Source, target: Path, work: Path) -> None:
    """Copy the files of the EFI system partition onto a new file system of the same name."""
    esp = source.part("vfat")
    if esp is None:
        raise SealError(f"{source.raw}: no EFI system partition", hint="the base makes one")
    folder = work / "esp"
    run.run(["rm", "-rf", folder])
    folder.mkdir()
    old, new = (f"{file}@@{esp.start}" for file in (source.cell.path(source.raw), target))
    run.run(["mcopy", "-s", "-m", "-n", "-i", old, "::*", folder])
    (folder / ESP_SEED).unlink(missing_ok=True)
    serial = esp.tags["ID_FS_UUID"].replace("-", "")
    gpt.make_esp(target, at=esp.start, size=esp.size, serial=serial)
    for entry in sorted(folder.iterdir()):
        run.run(["mcopy", "-s", "-m", "-i", new, entry, "::"])


def copy_root(source: Source, target: Path) -> None:
    """Copy the root's files onto a new file system with the same UUID and label."""
    part = source.root_part
    argv = gpt.root_args(
        source.root, target, at=part.start, size=part.size, uuid=part.tags["ID_FS_UUID"]
    )
    source.cell.execute(argv, timeout_s=disks.WHOLE_IMAGE_S)


@contextlib.contextmanager
def shown(cell: Cell, raw: Path, part: Region, folder: Path) -> Iterator[Path]:
    """Mount the root of a raw disk read-only, in a cell.

    Args:
        cell: the cell.
        raw: the disk.
        part: where its root is.
        folder: mount point.
    """
    root = folder.absolute()
    root.mkdir(parents=True, exist_ok=True)
    with mount.attached(cell, raw, part, writable=False) as device:
        cell.execute(mount.mount_args(device, root, part.type, writable=False))
    with releasing(lambda: mount.unmount_tree(cell, root)):
        yield cell.path(root)


@contextlib.contextmanager
def copied(raw: Path, parts: list[Region], work: Path) -> Iterator[Path]:
    """Show the files of a repacked disk, read-only.

    Args:
        raw: the disk that `repack` wrote.
        parts: what `repack` returned.
        work: folder for what mounting needs.
    """
    part = choose_root(parts, raw)
    with (
        contextlib.closing(open_cell(work / "cell.log")) as cell,
        shown(cell, raw, part, work / "copy") as root,
    ):
        yield root


def compare(source: Source, target: Path, work: Path) -> None:
    """Prove that every file of the root is on the target as it was.

    Raises:
        SealError: one differs; the first of them are named.
    """
    with shown(source.cell, target, source.root_part, work / "copy") as copy:
        found = differences(source.cell.path(source.root), copy)
    if found:
        raise SealError(
            f"{target}: {len(found)} files are not as they were, the first is {found[0]}",
            hint="check this machine's memory and disk, then build again",
            details="\n".join(found[:20]),
        )


def differences(one: Path, other: Path) -> list[str]:
    """Name the entries of two trees that differ in kind, rights, owner, time or content."""
    names = sorted(walk(one)), sorted(walk(other))
    missing = sorted(set(names[0]) ^ set(names[1]))
    both = [name for name in names[0] if name not in set(missing)]
    return missing + [name for name in both if described(one / name) != described(other / name)]


def walk(root: Path) -> Iterator[str]:
    """Yield the name of every entry below a folder, links not followed."""
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            yield os.path.relpath(f"{folder}/{name}", root)


def described(path: Path) -> tuple[object, ...]:
    """Return what must be the same in a copy; a folder's size depends on its file system."""
    found = path.lstat()
    kind = stat.S_IFMT(found.st_mode)
    attributes = {
        name: os.getxattr(path, name, follow_symlinks=False)
        for name in os.listxattr(path, follow_symlinks=False)
    }
    content: object = None
    if kind == stat.S_IFREG:
        with path.open("rb") as file:
            content = (found.st_size, found.st_nlink, hashlib.file_digest(file, "blake2b").digest())
    elif kind == stat.S_IFLNK:
        content = path.readlink()
    elif kind in (stat.S_IFCHR, stat.S_IFBLK):
        content = found.st_rdev
    owner = (found.st_uid, found.st_gid)
    return found.st_mode, *owner, int(found.st_mtime), attributes, content
