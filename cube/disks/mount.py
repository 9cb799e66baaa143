"""The file systems of a qcow2 disk, mounted on this machine without a VM.

A `qemu-storage-daemon` shows the disk as a raw file through FUSE; loop devices at the
partitions' offsets carry the mounts. All of it lives in a
`cube.runtime.namespaces.Cell`: nothing is seen outside, and nothing is left when its owner dies.
Needs root.

The loop devices carry an offset, because a kernel with ``loop.max_part=0`` knows no
partitions of loop devices.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cube.disks import fstab, loop
from cube.disks.fuse_export import FLUSH_S, export
from cube.disks.partition import Region, choose_root, regions
from cube.runtime import log
from cube.runtime.errors import CommandError, MachineError
from cube.runtime.namespaces import Cell, open_cell, releasing


@dataclass(frozen=True, kw_only=True)
class Mounted:
    """A disk whose file systems are mounted in a cell.

    Args:
        root: the root folder, as the cell sees it.
        device: block device of the root.
    """

    root: Path
    device: str


def mount_args(device: str, target: Path, fs_type: str, *, writable: bool) -> list[str]:
    """Build a mount command; read-only never replays a journal.

    Source: ext4(5) `noload`, xfs(5) `norecovery`; a plain ``ro`` writes a dirty journal back.
    """
    skip_journal = {"ext4": ",noload", "ext3": ",noload", "xfs": ",norecovery"}
    options = "rw" if writable else "ro" + skip_journal.get(fs_type, "")
    return ["mount", "-t", fs_type, "-o", options, device, str(target)]


@contextlib.contextmanager
def attached(cell: Cell, raw: Path, part: Region, *, writable: bool) -> Iterator[str]:
    """Give a part of the disk a loop device, marked to clear itself after its last user.

    Source: losetup(8), --detach: since Linux 3.7 it is lazy, and a device that is in use is
    cleared when it is closed for the last time.
    """
    argv = loop.attach_args(raw, offset=part.start, size=part.size, writable=writable)
    device = cell.execute(argv).stdout.strip()
    try:
        yield device
    finally:
        cell.execute(["losetup", "--detach", device])


def mount_tree(cell: Cell, raw: Path, root: Path, *, writable: bool) -> Mounted:
    """Mount the root of a raw disk, and what its fstab wants at /boot and below.

    Raises:
        MachineError: no root file system is found, or one cannot be mounted.
    """
    found = regions(cell, raw)
    chosen = choose_root(found, raw)
    root.mkdir(exist_ok=True)
    with attached(cell, raw, chosen, writable=writable) as device:
        _mount(cell, device, root, chosen.type, writable=writable)
    _mount_boot(cell, raw, root, found, writable=writable)
    return Mounted(root=root, device=device)


def _mount(cell: Cell, device: str, target: Path, fs_type: str, *, writable: bool) -> None:
    try:
        cell.execute(mount_args(device, target, fs_type, writable=writable))
    except CommandError as error:
        raise MachineError(
            f"{device}: {fs_type} could not be mounted", details=error.output
        ) from error


def _mount_boot(cell: Cell, raw: Path, root: Path, found: list[Region], *, writable: bool) -> None:
    """Mount /boot, where kernels are written, and the EFI partition if this kernel knows vfat."""
    for entry in fstab.read(cell, root / "etc/fstab"):
        if not entry.target.is_relative_to("/boot"):
            continue
        part = fstab.find(entry, found)
        if part is None:
            log.debug(f"goes on without {entry.target}: {entry.source} is not on the disk")
            continue
        with attached(cell, raw, part, writable=writable) as device:
            try:
                _mount(
                    cell, device, root / entry.target.relative_to("/"), part.type, writable=writable
                )
            except MachineError as error:
                if part.type != "vfat":
                    raise
                log.debug(f"goes on without {entry.target}: {error.message}: {error.details}")


def unmount_tree(cell: Cell, root: Path) -> None:
    """Unmount everything, written back; its loop devices clear themselves."""
    cell.execute(["umount", "--recursive", root], timeout_s=FLUSH_S)


@contextlib.contextmanager
def mounted(disk: Path, run_dir: Path, *, writable: bool = False) -> Iterator[Path]:
    """Mount a disk's file systems; read-only is certain to write nothing.

    Args:
        disk: qcow2 file that no machine uses.
        run_dir: folder for the daemon's log and the mount points.
        writable: False opens the file itself read-only, and replays no journal.

    Yields:
        The root folder. It goes through a link of the kernel's: never call `resolve` on it.

    Raises:
        MachineError: the disk cannot be opened, or holds no root.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    cell = open_cell(run_dir / "cell.log")
    with contextlib.closing(cell):
        shown = export(cell, disk, run_dir, writable=writable)
        with releasing(shown.close):
            tree = mount_tree(cell, shown.raw, run_dir.absolute() / "root", writable=writable)
            with releasing(lambda: unmount_tree(cell, tree.root)):
                yield cell.path(tree.root)
