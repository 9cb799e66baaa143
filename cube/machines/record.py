"""What a machine that is up holds, on disk, so that others find it and the next run clears it.

Pure data: read by inventory.py and the checks as well as by the pipeline.
"""

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cube.machines import Endpoint, Kind, read_endpoint
from cube.runtime import documents, run
from cube.runtime.errors import MachineError

#: The record's name in a machine's folder.
FILE_NAME = "machine.json"


@dataclass(frozen=True, kw_only=True)
class ProcessId:
    """A process that cannot be mistaken for a later one with the same number.

    Args:
        pid: its number.
        started: when it began, as the kernel tells it; empty when it was gone already.
    """

    pid: int
    started: str

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        return bool(self.started) and start_time(self.pid) == self.started


def start_time(pid: int) -> str:
    """Return when a process began: host boot and clock ticks since; empty when it is gone.

    Source: proc_pid_stat(5): field 3 is the state (Z and X are dead), field 22 the start time;
    the fields after the name, which may hold spaces, are counted from its closing bracket.
    """
    if not Path("/proc/self/stat").exists():  # macOS
        return run.run(["ps", "-o", "lstart=", "-p", str(pid)], accept=(0, 1)).stdout.strip()
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    if fields[0] in "ZX":
        return ""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}:{fields[19]}"


def identify(pid: int) -> ProcessId:
    """Return the identity of a running process."""
    return ProcessId(pid=pid, started=start_time(pid))


@dataclass(frozen=True, kw_only=True)
class MachineRecord:
    """A machine that is up, or was when its owner died.

    Args:
        name: unique among the machines of a build folder.
        kind: vm or container.
        disk: the qcow2 file it writes to.
        run_dir: its folder.
        endpoint: where sshd answers.
        owner: the process that started it.
        detached: it stays up when its owner ends.
        life: the process with which the whole machine lives and dies.
        cgroup: cgroup folder to remove; empty when there is none.
        libvirt_uri: connection on which a vm is found.
        folders: scratch folders outside `run_dir`.
    """

    name: str
    kind: Kind
    disk: Path
    run_dir: Path
    endpoint: Endpoint
    owner: ProcessId
    detached: bool
    life: ProcessId
    cgroup: str = ""
    libvirt_uri: str = ""
    folders: tuple[Path, ...] = field(default=())

    @property
    def up(self) -> bool:
        """Whether it runs, and runs for somebody."""
        return self.life.alive and (self.detached or self.owner.alive)


def write(record: MachineRecord) -> Path:
    """Write a machine's record into its folder, whole or not at all."""
    target = record.run_dir / FILE_NAME
    draft = target.with_name(f".{FILE_NAME}.{os.getpid()}")
    draft.write_text(json.dumps(dataclasses.asdict(record), indent=2, default=str) + "\n")
    draft.replace(target)
    return target


def read(file: Path) -> MachineRecord:
    """Read a machine's record.

    Raises:
        MachineError: the file is not a record.
    """
    try:
        return _parse(documents.parse(file.read_text()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MachineError(
            f"{file}: not a machine record ({error})", hint="remove the folder of this machine"
        ) from error


def _parse(data: dict[str, Any]) -> MachineRecord:
    return MachineRecord(
        endpoint=read_endpoint(data.pop("endpoint")),
        disk=Path(data.pop("disk")),
        run_dir=Path(data.pop("run_dir")),
        owner=ProcessId(**data.pop("owner")),
        life=ProcessId(**data.pop("life")),
        folders=tuple(Path(folder) for folder in data.pop("folders")),
        **data,
    )


def recorded(machines_dir: Path) -> list[MachineRecord]:
    """Return the record of every machine of a build folder, up or not, by name."""
    return [read(file) for file in sorted(machines_dir.glob(f"*/{FILE_NAME}"))]


def running(machines_dir: Path) -> list[MachineRecord]:
    """Return the machines of a build folder that are up, by name."""
    return [record for record in recorded(machines_dir) if record.up]


def left_up(machines_dir: Path) -> list[MachineRecord]:
    """Return the machines that were left up for people, by name; a running build's are its own."""
    return [record for record in running(machines_dir) if record.detached]
