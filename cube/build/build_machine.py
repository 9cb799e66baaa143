"""The machine that a build works in: booted on a disk of the chain, and left up when asked to."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cube.config import Spec
from cube.config.workspace import Workspace
from cube.machines import Machine, MachineRequest, record
from cube.machines.choose import choose
from cube.machines.choose import down as stop_machine
from cube.runtime import log
from cube.runtime.errors import BusyError, CubeError

#: The name of the machine that a build works in.
MACHINE = "build"
LOOK = "look into its disk: cube up --at failed, cube ssh"
KEPT = "the machine is still up: cube ssh, then cube down"


@dataclass(frozen=True, kw_only=True)
class Workbench:
    """Where disks of the chain are booted; `keep` leaves a machine up in which a step failed."""

    spec: Spec
    work: Workspace
    keep: bool

    def require_down(self) -> None:
        """Refuse to take disk and key from a machine that an earlier build left up.

        Raises:
            BusyError: it is up.
        """
        if self.left_up():
            raise BusyError(
                f"{self.work.root}: the machine of an earlier build is still up",
                hint="cube ssh to look into it, then cube down",
            )

    def left_up(self) -> bool:
        """Tell whether it is up for people; one that did not boot, or has powered off, is not."""
        return any(machine.name == MACHINE for machine in record.left_up(self.work.machines))

    @contextlib.contextmanager
    def boot(self, disk: Path) -> Iterator[Machine]:
        """Boot a disk of the chain; when a step fails in it, say how to look into it."""
        choice = choose(self.spec.build.machine)
        log.debug(f"machine: {choice.reason}")
        request = MachineRequest(
            name=MACHINE,
            disk=disk,
            run_dir=self.work.machines / MACHINE,
            key_file=self.work.build_key,
            cpus=self.spec.build.cpus,
            memory_mib=self.spec.build.memory,
            libvirt_uri=self.spec.build.libvirt_uri,
            detached=self.keep,
        )
        try:
            with choice.machines.start(request) as machine:
                yield machine
        except CubeError as error:
            look = KEPT if self.left_up() else LOOK
            error.hint = "; ".join(filter(None, [error.hint, look]))
            raise
        except BaseException:
            self.stop_kept()
            raise
        self.stop_kept()

    def stop_kept(self) -> None:
        """Stop a machine that `keep` would have left up, now that nothing has failed in it."""
        for machine in record.running(self.work.machines):
            if machine.name == MACHINE and machine.detached:
                stop_machine(machine)
