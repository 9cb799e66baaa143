"""The file systems of a qcow2 disk, mounted on this machine without a VM.

A `qemu-storage-daemon` shows the disk as a raw file through FUSE; loop devices at the
partitions' offsets carry the mounts. All of it lives in a `cube.cell.Cell`: nothing is seen
outside, and nothing is left when its owner dies. Needs root.

The loop devices carry an offset, because a kernel with ``loop.max_part=0`` knows no
partitions of loop devices.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cube import log, lvm, run
from cube.cell import Cell, open_cell, releasing, wait_for_end, wait_until
from cube.errors import CommandError, MachineError

#: The root file system's label on images that we make.
ROOT_LABEL = "cube-root"
#: File systems that a root may have.
ROOT_TYPES = ("ext4", "xfs")
#: The storage daemon's process name.
DAEMON_NAME = "qemu-storage-da"
#: Seconds for the storage daemon to open a chain and to export it.
EXPORT_S = 30.0
#: Seconds to write back what is cached, on a slow disk.
FLUSH_S = 600.0


@dataclass(frozen=True, kw_only=True)
class Partition:
    """A part of the disk, and what blkid(8) finds on it.

    Args:
        start: offset in bytes.
        size: length in bytes.
        uuid: the partition's own identity (PARTUUID).
        tags: TYPE, LABEL, UUID ... of its content.
    """

    start: int
    size: int
    uuid: str
    tags: dict[str, str]

    @property
    def type(self) -> str:
        """File system or other content; empty when nothing is known on it."""
        return self.tags.get("TYPE", "")

    def matches(self, source: str) -> bool:
        """Whether an fstab(5) source such as ``LABEL=cube-root`` means this partition."""
        key, _, value = source.partition("=")
        known = {**self.tags, "PARTUUID": self.uuid}
        return bool(value) and known.get(key, "").lower() == value.strip('"').lower()


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


def daemon_args(disk: Path, target: Path, *, writable: bool) -> list[str]:
    """Build the command that shows a qcow2 disk as a raw file.

    Flushes are not passed on while it runs (``no-flush``): the disk is synced when it is
    released. Source: qemu-storage-daemon(1).
    """
    file = {
        "driver": "file", "node-name": "file", "filename": str(disk.absolute()),
        "discard": "unmap", "cache": {"no-flush": writable}, "read-only": not writable,
    }  # fmt: skip
    node = {
        "driver": "qcow2", "node-name": "disk", "file": "file",
        "discard": "unmap", "read-only": not writable,
    }  # fmt: skip
    export = {
        "type": "fuse", "id": "export", "node-name": "disk",
        "mountpoint": str(target.absolute()), "writable": writable,
    }  # fmt: skip
    return [
        "qemu-storage-daemon", "--blockdev", json.dumps(file), "--blockdev", json.dumps(node),
        "--export", json.dumps(export),
    ]  # fmt: skip


def mount_args(device: str, target: Path, fs_type: str, *, writable: bool) -> list[str]:
    """Build a mount command; read-only never replays a journal.

    Source: ext4(5) `noload`, xfs(5) `norecovery`; a plain ``ro`` writes a dirty journal back.
    """
    skip_journal = {"ext4": ",noload", "ext3": ",noload", "xfs": ",norecovery"}
    options = "rw" if writable else "ro" + skip_journal.get(fs_type, "")
    return ["mount", "-t", fs_type, "-o", options, device, str(target)]


@dataclass(frozen=True, kw_only=True)
class Export:
    """A disk that is shown as a raw file inside a cell.

    Args:
        cell: the cell.
        disk: the qcow2 file.
        raw: the raw file, as the cell sees it.
        daemon: the process that serves it.
        log_file: what it says.
    """

    cell: Cell
    disk: Path
    raw: Path
    daemon: run.Process
    log_file: Path

    def close(self) -> None:
        """Write everything to the file and let go of it.

        Source: proc_pid_comm(5): a process name is cut to 15 characters.

        Raises:
            MachineError: the daemon failed.
        """
        self.cell.execute(["pkill", "--exact", DAEMON_NAME], accept=(0, 1))
        wait_for_end(self.daemon, FLUSH_S, f"{self.disk}: the storage daemon")
        if self.daemon.returncode != 0:
            raise MachineError(f"{self.disk}: was not closed cleanly", details=self.said())

    def said(self) -> str:
        """Return the last lines of its log."""
        return run.tail(self.log_file.read_text(errors="replace"))


def export(cell: Cell, disk: Path, run_dir: Path, *, writable: bool) -> Export:
    """Show a disk as a raw file inside a cell; the caller closes it.

    Raises:
        MachineError: the disk or its chain cannot be opened.
    """
    raw, log_file = run_dir.absolute() / "disk.raw", run_dir / "storage.log"
    raw.write_bytes(b"")
    daemon = cell.launch(daemon_args(disk, raw, writable=writable), output=log_file)
    made = Export(cell=cell, disk=disk, raw=raw, daemon=daemon, log_file=log_file)
    if not wait_until(lambda: cell.path(raw).stat().st_size > 0, daemon, EXPORT_S):
        raise MachineError(
            f"{disk}: the disk could not be opened",
            hint="is another machine using it?",
            details=made.said(),
        )
    return made


def parse_partitions(text: str) -> list[tuple[int, int, str]]:
    """Read `sfdisk --json`: offset in bytes, length in bytes and UUID of each partition."""
    table = json.loads(text)["partitiontable"]
    sector = int(table.get("sectorsize", 512))
    return [
        (part["start"] * sector, part["size"] * sector, part.get("uuid", ""))
        for part in table.get("partitions", [])
    ]


def parse_tags(text: str) -> dict[str, str]:
    """Read `blkid -o export`: one KEY=value a line."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def partitions(cell: Cell, raw: Path) -> list[Partition]:
    """Return what is on a raw disk.

    Raises:
        MachineError: it has no partition table.
    """
    try:
        table = parse_partitions(cell.execute(["sfdisk", "--json", raw]).stdout)
    except CommandError as error:
        raise MachineError(
            f"{raw}: no partition table", hint="the disk holds no image", details=error.output
        ) from error
    return [
        Partition(start=start, size=size, uuid=uuid, tags=_probe(cell, raw, start, size))
        for start, size, uuid in table
    ]


def _probe(cell: Cell, device: Path, start: int, size: int) -> dict[str, str]:
    """Return blkid's tags. Source: blkid(8): exit code 2 means that nothing is recognised."""
    span = ["--offset", str(start), "--size", str(size)]
    argv = ["blkid", "-p", "-o", "export", *span, str(device)]
    return parse_tags(cell.execute(argv, accept=(0, 2)).stdout)


def choose_root(found: list[Partition]) -> Partition | None:
    """Return the partition with the root: the one labelled so, else the last that can be."""
    candidates = [part for part in found if part.type in ROOT_TYPES]
    labelled = [part for part in candidates if part.tags.get("LABEL") == ROOT_LABEL]
    return next(reversed(labelled or candidates), None)


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


def parse_fstab(text: str) -> list[tuple[str, str]]:
    """Read fstab(5): source and folder of each entry, parents first."""
    lines = [line.split() for line in text.splitlines() if not line.lstrip().startswith("#")]
    entries = [(words[0], words[1]) for words in lines if len(words) > 1]
    return sorted(entries, key=lambda entry: entry[1])


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
