"""Which kind of machine, and machines that outlive the command that started them."""

import os
import shutil
import sys
from dataclasses import dataclass
from typing import Literal

from cube.machines import Kind, Machine, MachineRequest, Machines
from cube.machines.nspawn import container
from cube.machines.nspawn.container import Containers
from cube.machines.qemu import accelerator, vm
from cube.machines.qemu.vm import VirtualMachines
from cube.machines.record import MachineRecord
from cube.runtime.errors import HostError, MachineError

Wanted = Literal["auto", "vm", "container"]

#: What a container is made with.
CONTAINER_TOOLS = (
    "systemd-nspawn", "slirp4netns", "qemu-storage-daemon", "unshare", "nsenter", "losetup",
    "sfdisk", "blkid", "ip",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A kind of machine, and why."""

    kind: Kind
    machines: Machines
    reason: str


def choose(wanted: Wanted) -> Choice:
    """Choose the kind of machine; auto takes the fastest that works here.

    Raises:
        HostError: what is wanted cannot work here.
    """
    if wanted == "vm":
        return _vm(f"asked for, with {accelerator.find()}")
    obstacle = container_obstacle()
    if wanted == "container":
        if obstacle:
            raise HostError(
                f"machine = 'container': {obstacle}", hint="run 'cube doctor', or use a vm"
            )
        return _container("asked for")
    found = accelerator.find()
    if found != "tcg":
        return _vm(f"{found} runs guests here")
    if not obstacle:
        return _container("no hardware virtualisation works here, and a container is much faster")
    return _vm(f"with tcg, which is slow: {obstacle}, and no hardware virtualisation works")


def _vm(reason: str) -> Choice:
    return Choice(kind="vm", machines=VirtualMachines(), reason=f"a virtual machine: {reason}")


def _container(reason: str) -> Choice:
    return Choice(kind="container", machines=Containers(), reason=f"a container: {reason}")


def container_obstacle() -> str:
    """Return why a container cannot be booted here; empty when it can."""
    if sys.platform != "linux":
        return f"a container needs Linux, not {sys.platform}"
    if os.geteuid() != 0:
        return "a container needs root (sudo)"
    missing = [tool for tool in CONTAINER_TOOLS if shutil.which(tool) is None]
    return f"a container needs {', '.join(missing)}" if missing else ""


def up(request: MachineRequest, choice: Choice) -> Machine:
    """Boot a machine and leave it up; `down` stops it.

    Args:
        request: a detached one.
        choice: kind of machine.

    Raises:
        MachineError: it did not boot; nothing is left running.
    """
    if not request.detached:
        raise MachineError(f"machine {request.name}: only a detached machine can be left running")
    with choice.machines.start(request) as machine:
        return machine


def down(record: MachineRecord) -> None:
    """Stop a machine that was left up, every write flushed, and release what it holds.

    Raises:
        MachineError: it did not stop by itself; it is gone nevertheless.
    """
    stop = vm.stop_recorded if record.kind == "vm" else container.stop_recorded
    stop(record)
