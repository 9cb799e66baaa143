"""The file systems of a qcow2 disk, mounted on this machine without a VM.

A `qemu-storage-daemon` shows the disk as a raw file through FUSE; loop devices at the
partitions' offsets carry the mounts. All of it lives in a `cube.cell.Cell`: nothing is seen
outside, and nothing is left when its owner dies. Needs root.

The loop devices carry an offset, because a kernel with ``loop.max_part=0`` knows no
partitions of loop devices.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cube import log, lvm
from cube.cell import Cell, open_cell, releasing
from cube.errors import CommandError, MachineError
from cube.export import FLUSH_S, export
from cube.partition import Partition, choose_root, parse_fstab, partitions


@dataclass(frozen=True, kw_only=True)
class Mounted:
    """A disk whose file systems are mounted in a cell.

    Args:
        root: the root folder, as the cell sees it.
        device: block device of the root.
        volume_group: LVM volume group that was activated; empty when there is none.
    """

    root: Path
    device: str
    volume_group: str


def mount_args(device: str, target: Path, fs_type: str, *, writable: bool) -> list[str]:
    """Build a mount command; read-only never replays a journal.

    Source: ext4(5) `noload`, xfs(5) `norecovery`; a plain ``ro`` writes a dirty journal back.
    """
    skip_journal = {"ext4": ",noload", "ext3": ",noload", "xfs": ",norecovery"}
    options = "rw" if writable else "ro" + skip_journal.get(fs_type, "")
    return ["mount", "-t", fs_type, "-o", options, device, str(target)]


@contextlib.contextmanager
def attached(cell: Cell, raw: Path, part: Partition, *, writable: bool) -> Iterator[str]:
    """Give a partition a loop device, marked to clear itself after its last user.

    Source: losetup(8), --detach: since Linux 3.7 it is lazy, and a device that is in use is
    cleared when it is closed for the last time.
    """
    argv = [
        "losetup", "--find", "--show", "--offset", str(part.start), "--sizelimit", str(part.size),
        *([] if writable else ["--read-only"]), str(raw),
    ]  # fmt: skip
    device = cell.execute(argv).stdout.strip()
    try:
        yield device
    finally:
        cell.execute(["losetup", "--detach", device])


def mount_tree(cell: Cell, raw: Path, root: Path, *, writable: bool) -> Mounted:
    """Mount the root of a raw disk, and what its fstab wants below /boot.

    Raises:
        MachineError: no root file system is found, or it cannot be mounted.
    """
    found = partitions(cell, raw)
    volumes = [part for part in found if part.type == "LVM2_member"]
    part = None if volumes else choose_root(found)
    if part is None and not volumes:
        kinds = ", ".join(part.type or "unknown" for part in found) or "no partition"
        raise MachineError(f"{raw}: no root file system among: {kinds}")
    root.mkdir(exist_ok=True)
    chosen = part or volumes[-1]
    with attached(cell, raw, chosen, writable=writable) as loop:
        group = "" if part else lvm.activate(cell, loop)
        device = loop if part else lvm.root_device(cell, group, loop)
        _mount(cell, device, root, writable=writable)
    _mount_boot(cell, raw, root, found, writable=writable)
    return Mounted(root=root, device=device, volume_group=group)


def _mount(cell: Cell, device: str, target: Path, *, writable: bool) -> None:
    fs_type = cell.execute(["blkid", "-p", "-o", "value", "-s", "TYPE", device]).stdout.strip()
    try:
        cell.execute(mount_args(device, target, fs_type, writable=writable))
    except CommandError as error:
        raise MachineError(
            f"{device}: {fs_type} could not be mounted", details=error.output
        ) from error


def _mount_boot(
    cell: Cell, raw: Path, root: Path, found: list[Partition], *, writable: bool
) -> None:
    """Mount /boot, where kernels are written, and the EFI partition if this kernel knows vfat."""
    for source, folder in parse_fstab(cell.path(root / "etc/fstab").read_text()):
        part = next((part for part in found if part.matches(source)), None)
        if part is None or not folder.startswith("/boot"):
            continue
        with attached(cell, raw, part, writable=writable) as device:
            try:
                _mount(cell, device, root / folder.lstrip("/"), writable=writable)
            except MachineError as error:
                if part.type != "vfat":
                    raise
                log.debug(f"goes on without {folder}: {error.message}: {error.details}")


def unmount_tree(cell: Cell, root: Path, volume_group: str) -> None:
    """Unmount everything, written back; its loop devices clear themselves."""
    cell.execute(["umount", "--recursive", root], timeout_s=FLUSH_S)
    if volume_group:
        lvm.deactivate(cell, volume_group)


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
            with releasing(lambda: unmount_tree(cell, tree.root, tree.volume_group)):
                yield cell.path(tree.root)
