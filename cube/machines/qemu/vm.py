"""A disk booted as a virtual machine under QEMU, through libvirt."""

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cube.disks import qcow2 as disks
from cube.machines import (
    Endpoint,
    Kind,
    Machine,
    MachineRequest,
    boot,
    cleanup,
    console,
    record,
    seed,
)
from cube.machines.nspawn import network
from cube.machines.qemu import accelerator, firmware, hypervisor, power
from cube.machines.qemu.domain import Disk, Domain, render_domain
from cube.machines.qemu.firmware import Uefi
from cube.machines.qemu.watch import watch
from cube.machines.record import MachineRecord, ProcessId
from cube.runtime import log, run
from cube.runtime.errors import CommandError, HostError, MachineError
from cube.runtime.namespaces import releasing


@dataclass(kw_only=True)
class VirtualMachine:
    """A virtual machine that is up. Made by `VirtualMachines.start`."""

    request: MachineRequest
    domain: Any
    access: Endpoint
    released: contextlib.ExitStack
    name: str
    disk: Path
    kind: Kind = "vm"

    @property
    def endpoint(self) -> Endpoint:
        """Where sshd answers."""
        return self.access

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return power.active(self.domain)

    def promising(self) -> bool:
        """Whether it runs and may still come up.

        Raises:
            MachineError: its console shows that it never will.
        """
        sign = console.hopeless(console.file_of(self.request.run_dir))
        if sign:
            raise MachineError(f"the guest does not boot: {sign}")
        return self.alive

    def wait_until_up(self) -> None:
        """Wait until sshd answers."""
        with log.step(f"Booting {self.name} as a virtual machine"), console.explained(self.request):
            boot.wait(self.access, timeout_s=boot_s(), alive=self.promising)

    def wait_until_off(self, timeout_s: float) -> None:
        """Wait for a guest that powers itself off; release the disk, every write on the medium."""
        with console.explained(self.request):
            power.wait_until_inactive(self.domain, timeout_s)
        self.released.close()
        disks.sync(self.disk)

    def reboot(self) -> None:
        """Restart it and wait for the new boot, and its units."""
        with console.explained(self.request):
            boot.restart(self.access, timeout_s=boot_s(), alive=self.promising)
            boot.settle(self.access)

    def shutdown(self) -> None:
        """Press its power button, wait, and release the disk."""
        power.press_power(self.domain)
        self.wait_until_off(power.STOP_S)

    def console_tail(self) -> str:
        """Return the console's last lines."""
        return console.tail(console.file_of(self.request.run_dir))


def boot_s() -> float:
    """Return how many seconds a boot may take here."""
    return boot.VM_S[accelerator.find()]


def describe(request: MachineRequest, port: int) -> Domain:
    """Put together what a request's domain is made of, and write its seed.

    Raises:
        HostError: QEMU or the firmware is not installed.
    """
    emulator = shutil.which(accelerator.EMULATOR)
    if emulator is None:
        raise HostError(f"{accelerator.EMULATOR}: not found", hint="run 'cube doctor'")
    run_dir = request.run_dir.absolute()
    seed.write_iso(seed.wanted(request), run_dir / "seed.iso")
    files = (request.disk.absolute(), *(file.absolute() for file in request.extra_disks))
    return Domain(
        name=request.name,
        accelerator=accelerator.find(),
        emulator=Path(emulator),
        cpus=request.cpus,
        memory_mib=request.memory_mib,
        disks=tuple(Disk(file=file, format=disks.info(file).format) for file in files),
        seed=run_dir / "seed.iso",
        console=console.file_of(run_dir),
        ssh_port=port,
        uefi=_uefi(request, run_dir),
    )


def _uefi(request: MachineRequest, run_dir: Path) -> Uefi | None:
    """Return the firmware that a request asks for, with variables of its own; None is BIOS."""
    if request.firmware == "bios":
        return None
    return firmware.copy_variables(run_dir, secure_boot=request.firmware == "secure-boot")


class VirtualMachines:
    """Machines under QEMU."""

    @contextlib.contextmanager
    def start(self, request: MachineRequest) -> Iterator[Machine]:
        """Boot a disk, wait for sshd, release everything on the way out."""
        cleanup.make_room(request)
        stack = contextlib.ExitStack()
        with releasing(stack.close):
            with console.explained(request):
                machine = _boot(request, stack)
            if request.wait:
                machine.wait_until_up()
            try:
                yield machine
            finally:
                if request.detached:
                    stack.pop_all()


def _boot(request: MachineRequest, stack: contextlib.ExitStack) -> VirtualMachine:
    """Start the domain; its release is put on the stack at once."""
    uri, state = hypervisor.resolve(request.libvirt_uri)
    connection = hypervisor.connect(uri)
    port = network.free_port()
    known_hosts = request.run_dir.absolute() / "known_hosts"
    known_hosts.unlink(missing_ok=True)
    access = Endpoint(
        host="127.0.0.1",
        port=port,
        user=seed.wanted(request).user,
        key_file=request.key_file.absolute(),
        known_hosts=known_hosts,
    )
    _refuse_taken(connection, request.name)
    # By its name and beforehand: Ctrl-C may come while libvirt is still starting it.
    stack.callback(_destroy_by_name, connection, request.name)
    domain = _create(connection, render_domain(describe(request, port)), request, state)
    life = _process(request.name, state)
    stack.callback(_note(request, access, uri, state, life).unlink, missing_ok=True)
    if state is not None and request.detached:
        hypervisor.keep_state(state)
    elif state is not None:
        watch(life, state, request.run_dir / "watch.log", stack)
    return VirtualMachine(
        request=request,
        domain=domain,
        access=access,
        released=stack,
        name=request.name,
        disk=request.disk,
    )


def _create(connection: Any, xml: str, request: MachineRequest, state: Path | None) -> Any:  # noqa: ANN401
    """Start a transient domain. A daemon ends it with our connection, the embedded driver cannot.

    Raises:
        MachineError: libvirt or QEMU refuses it.
    """
    libvirt = hypervisor.library()
    tied = state is None and not request.detached
    log.debug(xml)
    try:
        return connection.createXML(xml, libvirt.VIR_DOMAIN_START_AUTODESTROY if tied else 0)
    except libvirt.libvirtError as error:
        raise hypervisor.failure(error) from error


def _refuse_taken(connection: Any, name: str) -> None:  # noqa: ANN401 (libvirt has no types)
    """Keep away from a domain of the same name that is not ours.

    Raises:
        MachineError: there is one.
    """
    if name in [domain.name() for domain in connection.listAllDomains()]:
        raise MachineError(
            f"libvirt has a machine called {name} already", hint=f"virsh destroy {name}"
        )


def _destroy_by_name(connection: Any, name: str) -> None:  # noqa: ANN401 (libvirt has no types)
    """End a domain, if there is one of this name."""
    libvirt = hypervisor.library()
    try:
        domain = connection.lookupByName(name)
    except libvirt.libvirtError as error:
        log.debug(f"no domain {name} to end: {error}")
        return
    power.destroy(domain)


def _process(name: str, state: Path | None) -> ProcessId:
    """Return the QEMU process; under a daemon, ours stands for it."""
    if state is None:
        return record.identify(os.getpid())
    return record.identify(int((state / f"run/qemu/{name}.pid").read_text()))


def _note(
    request: MachineRequest, access: Endpoint, uri: str, state: Path | None, life: ProcessId
) -> Path:
    """Write the machine's record."""
    return record.write(
        MachineRecord(
            name=request.name,
            kind="vm",
            disk=request.disk.absolute(),
            run_dir=request.run_dir.absolute(),
            endpoint=access,
            owner=record.identify(os.getpid()),
            detached=request.detached,
            life=life,
            libvirt_uri=uri,
            folders=(state,) if state else (),
        )
    )


def stop_apart(found: MachineRecord) -> None:
    """Stop a virtual machine in a process of its own, which serves its state folder.

    Raises:
        MachineError: it did not power off in time; it is ended anyway.
    """
    file = found.run_dir / record.FILE_NAME
    argv: list[str | Path] = [sys.executable, "-m", "cube.machines.qemu.stop", file]
    try:
        run.run(argv, timeout_s=2 * power.STOP_S)
    except CommandError as error:
        raise MachineError(
            f"machine {found.name}: could not be stopped", details=error.output
        ) from error


def stop_recorded(found: MachineRecord) -> None:
    """Stop a virtual machine that another process left up.

    Raises:
        HostError: its hypervisor cannot be reached.
        MachineError: it did not power off in time; it is ended anyway.
    """
    if hypervisor.bound_elsewhere(found.libvirt_uri):
        stop_apart(found)
        return
    domain = power.find(found)
    with contextlib.ExitStack() as stack:
        stack.callback(cleanup.release, found)
        if domain is not None:
            stack.callback(power.destroy, domain)
            power.press_power(domain)
            power.wait_until_inactive(domain, power.STOP_S)
        disks.sync(found.disk)
