"""`cube up`, `ssh` and `down`: a throw-away copy of a disk, booted to look around in."""

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from cube.chain.store.link import DISK
from cube.chain.store.links import Store
from cube.config import Spec
from cube.config.workspace import Workspace
from cube.disks import qcow2
from cube.machines import Firmware, Machine, MachineRequest, cleanup, record, ssh
from cube.machines.choose import Choice, Wanted, choose
from cube.machines.choose import down as stop
from cube.machines.choose import up as start
from cube.machines.record import MachineRecord
from cube.runtime import log, run
from cube.runtime.errors import CubeError

#: The machine's name; a build's own machine is called otherwise, so both may be up.
NAME = "up"
#: How machines begin that only a command uses, which adds its own process number.
TRIAL = "trial-"
FAILED = "failed"
IMAGE = "image"


def up(spec: Spec, *, at: str, kind: Wanted, firmware: Firmware | Literal[""] = "") -> None:
    """Boot a copy of a disk and leave it running.

    Args:
        spec: names the build folder.
        at: a link of the chain, `failed` or `image`; empty takes the head.
        kind: of the machine; the sealed image is always booted as a vm.
        firmware: of a vm; empty is BIOS.

    Raises:
        CubeError: a machine is up already, there is no such disk, or a container is to have a
            firmware.
        HostError: there is no such firmware here.
        MachineError: it did not boot.
    """
    if firmware and kind == "container" and at != IMAGE:
        raise CubeError(
            f"a container does not boot by firmware: --firmware {firmware} needs a vm",
            hint="--machine vm, or leave --firmware out",
        )
    work = Workspace.of(spec)
    clear(work)
    source = find_disk(work, at)
    for left in record.left_up(work.machines):
        raise CubeError(f"{left.name} is up already", hint="cube ssh, or cube down first")
    folder = work.machines / NAME
    folder.mkdir(parents=True, exist_ok=True)
    copy, key = work.machines / f"{NAME}.qcow2", folder.with_suffix(".key")
    with Store(folder=work.chain).reading():  # until its record says which links it uses
        wanted = request(spec, source, name=NAME, copy=copy, run_dir=folder, key=key)
        wanted = replace(wanted, detached=True, firmware=firmware or "bios")
        machine = start(wanted, choose("vm" if at == IMAGE or firmware else kind))
    what = source.parent.name if source.name == DISK else source.name
    log.info(f"{what} is up as a {machine.kind}; what you change in it is thrown away")
    log.info("log in: cube ssh    stop it: cube down")
    log.info(f"or: {run.quote(ssh.ssh_args(machine.endpoint))}")


def request(
    spec: Spec, source: Path, *, name: str, copy: Path, run_dir: Path, key: Path
) -> MachineRequest:
    """Make a copy of a disk, and a key that is let in; return the machine to boot on it.

    Raises:
        MachineError: there is no such disk.
    """
    qcow2.create_overlay(copy, source)
    ssh.make_key(key)
    return MachineRequest(
        name=name,
        disk=copy,
        run_dir=run_dir,
        key_file=key,
        cpus=spec.build.cpus,
        memory_mib=spec.build.memory,
        libvirt_uri=spec.build.libvirt_uri,
    )


@contextlib.contextmanager
def trial(spec: Spec, source: Path, choice: Choice) -> Iterator[Machine]:
    """Boot a copy of a disk; when the block is left, machine and copy are gone.

    After a SIGKILL the machine ends with us, and whoever calls `clear` next removes the copy.

    Args:
        spec: names the build folder, and the size of the machine.
        source: the disk.
        choice: kind of machine.

    Raises:
        MachineError: it did not boot.
    """
    name = f"{TRIAL}{os.getpid()}"
    folder = Workspace.of(spec).machines / name
    folder.mkdir(parents=True, exist_ok=True)
    try:
        wanted = request(
            spec, source, name=name, copy=folder / DISK, run_dir=folder, key=folder / "key"
        )
        with choice.machines.start(replace(wanted, wait=False)) as machine:
            # Whoever clears up after a SIGKILL finds in the record what to remove.
            found = record.read(folder / record.FILE_NAME)
            record.write(replace(found, folders=(*found.folders, folder)))
            machine.wait_until_up()
            yield machine
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def clear(work: Workspace) -> None:
    """Remove what commands left that were killed, and say so."""
    for cleared in cleanup.clear(work.machines):
        log.info(f"removed leftovers of an earlier run: {cleared}")
    for folder in work.machines.glob(f"{TRIAL}*"):
        owner = folder.name.removeprefix(TRIAL)
        if owner.isdigit() and not record.start_time(int(owner)):
            shutil.rmtree(folder)  # killed before the machine had its record


def find_disk(work: Workspace, at: str) -> Path:
    """Return the disk that a word means.

    Raises:
        CubeError: there is none.
    """
    store = Store(folder=work.chain)
    if at == IMAGE:
        return require(work.artifact, "build it first: cube build")
    if at == FAILED:
        return require(store.unfinished, "no step has failed since the last build")
    return store.named(at).disk


def require(path: Path, hint: str) -> Path:
    """Return a path that exists.

    Raises:
        CubeError: it does not.
    """
    if not path.exists():
        raise CubeError(f"there is no {path}", hint=hint)
    return path


def running(spec: Spec) -> MachineRecord:
    """Return the machine that was left up, or else the one that a build works in.

    Raises:
        CubeError: none is.
    """
    folder = Workspace.of(spec).machines
    found = record.left_up(folder) or record.running(folder)
    if not found:
        raise no_machine(spec)
    return found[-1]


def no_machine(spec: Spec) -> CubeError:
    """Build the error for a machine that is not there."""
    return CubeError(f"no machine of {spec.image.os} is up", hint="cube up")


def ssh_command(spec: Spec, words: Sequence[str]) -> list[str]:
    """Return the ssh client's command line for the machine that is up.

    Raises:
        CubeError: none is.
    """
    return [*ssh.ssh_args(running(spec).endpoint), *words]


def down(spec: Spec) -> None:
    """Stop every machine of the image that was left running, and throw its copy away.

    Raises:
        CubeError: none is up.
    """
    work = Workspace.of(spec)
    machines = record.left_up(work.machines)
    if not machines:
        raise no_machine(spec)
    for machine in machines:
        with log.step(f"Stopping {machine.name}"):
            stop(machine)
    for copy in work.machines.glob(f"{NAME}.*"):
        copy.unlink()
