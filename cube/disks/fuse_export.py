"""A qcow2 disk shown as a raw file, by a `qemu-storage-daemon` through FUSE."""

import json
from dataclasses import dataclass
from pathlib import Path

from cube.runtime import run
from cube.runtime.errors import MachineError
from cube.runtime.namespaces import Cell, wait_for_end, wait_until

#: The storage daemon's process name.
#: Source: proc_pid_comm(5): a name is cut to 15 characters.
DAEMON_NAME = "qemu-storage-da"
#: Seconds for the storage daemon to open a chain and to export it.
EXPORT_S = 30.0
#: Seconds to write back what is cached, on a slow disk.
FLUSH_S = 600.0


def daemon_args(disk: Path, target: Path, *, writable: bool) -> list[str]:
    """Build the command that shows a qcow2 disk as a raw file.

    Flushes are not passed on while it runs (``no-flush``): the disk is synced when it is
    released. Source: qemu-storage-daemon(1).
    """
    file = {
        "driver": "file",
        "node-name": "file",
        "filename": str(disk.absolute()),
        "discard": "unmap",
        "cache": {"no-flush": writable},
        "read-only": not writable,
    }
    node = {
        "driver": "qcow2",
        "node-name": "disk",
        "file": "file",
        "discard": "unmap",
        "read-only": not writable,
    }
    export = {
        "type": "fuse",
        "id": "export",
        "node-name": "disk",
        "mountpoint": str(target.absolute()),
        "writable": writable,
    }
    return [
        "qemu-storage-daemon",
        "--blockdev",
        json.dumps(file),
        "--blockdev",
        json.dumps(node),
        "--export",
        json.dumps(export),
    ]


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
            f"{disk}: the disk cannot be opened",
            hint="is another machine using it?",
            details=made.said(),
        )
    return made
