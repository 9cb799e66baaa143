"""Which hosts have a name: those of cube.toml, and machines that were left up."""

from cube.config import OS_NAMES, Spec
from cube.config.model import Host
from cube.config.workspace import Workspace
from cube.machines import record
from cube.machines.record import MachineRecord


def known(spec: Spec) -> dict[str, Host | MachineRecord]:
    """Return every host that has a name, by name.

    A name in cube.toml goes before a machine that is called the same, and a machine of the image
    that cube.toml names before one of another image. Machines of a running build are its own.

    Raises:
        MachineError: the record of a machine cannot be read.
    """
    folders = [Workspace.of(spec).machines]
    folders += [Workspace(root=spec.build.dir / os, name=os).machines for os in OS_NAMES]
    found: dict[str, Host | MachineRecord] = dict(spec.hosts)
    for folder in folders:
        for machine in record.left_up(folder):
            found.setdefault(machine.name, machine)
    return found


def listed(spec: Spec) -> str:
    """Return all names for a message."""
    return ", ".join(known(spec)) or "none"
