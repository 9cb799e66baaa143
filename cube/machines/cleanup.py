"""What machines left behind whose owner died: found by their records, and cleared."""

import contextlib
import os
import shutil
import signal
import time
from pathlib import Path

from cube.machines import MachineRequest, console, record
from cube.machines.nspawn import cgroup
from cube.machines.record import MachineRecord, ProcessId
from cube.runtime.errors import MachineError

#: Seconds for a killed process to be gone.
GONE_S = 20.0


def clear(machines_dir: Path) -> list[str]:
    """Clear what dead owners left.

    Args:
        machines_dir: folder with one folder a machine.

    Returns:
        One sentence for each machine that was cleared.
    """
    sentences = []
    for file in sorted(machines_dir.glob(f"*/{record.FILE_NAME}")):
        try:
            found = record.read(file)
        except MachineError as error:
            file.unlink()
            sentences.append(f"{error.message}; removed")
            continue
        if not found.up:
            sentences.append(f"machine {found.name}: {'; '.join(release(found))}")
    return sentences


def make_room(request: MachineRequest) -> None:
    """Make a machine's folder, free of an earlier machine of that name.

    Raises:
        MachineError: that machine is up.
    """
    request.run_dir.mkdir(parents=True, exist_ok=True)
    file = request.run_dir / record.FILE_NAME
    if file.exists():
        found = record.read(file)
        if found.up:
            raise MachineError(
                f"machine {found.name} is up already, started by process {found.owner.pid}",
                hint="stop it first: cube down",
            )
        release(found)
    console.file_of(request.run_dir).unlink(missing_ok=True)


def release(found: MachineRecord) -> list[str]:
    """End a machine's processes and remove what it holds.

    Returns:
        What was there, in phrases.
    """
    owner = "was left up and has ended" if found.detached else f"its owner, {found.owner.pid}, died"
    phrases = [owner]
    if found.life.alive and found.life != found.owner:
        kill(found.life)
        phrases.append(f"process {found.life.pid} ended")
    if found.cgroup and cgroup.remove(found.cgroup):
        phrases.append(f"control group {found.cgroup} removed")
    for folder in found.folders:
        if folder.exists():
            shutil.rmtree(folder, ignore_errors=True)
            phrases.append(f"{folder} removed")
    (found.run_dir / record.FILE_NAME).unlink(missing_ok=True)
    return phrases


def kill(process: ProcessId) -> None:
    """Kill a process and wait until it is gone.

    Raises:
        MachineError: it does not go.
    """
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)
    deadline = time.monotonic() + GONE_S
    while process.alive:
        if time.monotonic() > deadline:
            raise MachineError(f"process {process.pid} cannot be killed")
        time.sleep(0.02)
