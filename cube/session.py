"""`cube up`, `ssh` and `down`: a throw-away copy of a disk, booted to look around in."""

from collections.abc import Sequence
from pathlib import Path

from cube import disk, log, run, ssh
from cube.chain.link import DISK
from cube.chain.store import Store
from cube.errors import CubeError
from cube.machines import MachineRequest, leftovers, record
from cube.machines.choose import Wanted, choose
from cube.machines.choose import down as stop
from cube.machines.choose import up as start
from cube.machines.record import MachineRecord
from cube.spec import Spec
from cube.workspace import Workspace

#: The machine's name; a build's own machine is called otherwise, so both may be up.
NAME = "up"
FAILED = "failed"
IMAGE = "image"


def up(spec: Spec, *, at: str, kind: Wanted) -> None:
    """Boot a copy of a disk and leave it running.

    Args:
        spec: names the build folder.
        at: a link of the chain, `failed` or `image`; empty takes the head.
        kind: of the machine; the sealed image is always booted as a vm.

    Raises:
        CubeError: a machine is up already, or there is no such disk.
        MachineError: it did not boot.
    """
    work = Workspace.of(spec)
    for cleared in leftovers.clear(work.machines):
        log.info(f"cleared what an earlier run left: {cleared}")
    source = find_disk(work, at)
    for left in record.left_up(work.machines):
        raise CubeError(f"{left.name} is up already", hint="cube ssh, or cube down first")
    folder = work.machines / NAME
    folder.mkdir(parents=True, exist_ok=True)
    copy, key = work.machines / f"{NAME}.qcow2", folder.with_suffix(".key")
    disk.create_overlay(copy, source)
    ssh.make_key(key)
    machine = start(
        MachineRequest(
            name=NAME, disk=copy, run_dir=folder, key_file=key, detached=True,
            cpus=spec.build.cpus, memory_mib=spec.build.memory, libvirt_uri=spec.build.libvirt_uri,
        ),
        choose("vm" if at == IMAGE else kind),
    )  # fmt: skip
    what = source.parent.name if source.name == DISK else source.name
    log.info(f"{what} is up as a {machine.kind}; what you change in it is thrown away")
    log.info("log in: cube ssh    stop it: cube down")
    log.info(f"or: {run.quote(ssh.ssh_args(machine.endpoint))}")


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
