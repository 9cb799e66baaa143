"""A disk booted in systemd-nspawn: the whole of the image's user space at native speed.

The kernel is this machine's, so kernel modules, sysctl values outside the network and the
boot loader are not exercised; docs/how-it-works.md lists what that means for checks. Everything
runs in a `cube.runtime.namespaces.Cell`, so all of it ends with the process that started it.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cube.disks import fuse_export, mount
from cube.disks import qcow2 as disks
from cube.machines import (
    BUILD_USER,
    Endpoint,
    Kind,
    Machine,
    MachineRequest,
    boot,
    cleanup,
    console,
    record,
)
from cube.machines.nspawn import cgroup, network
from cube.machines.nspawn.access import let_in
from cube.machines.record import MachineRecord
from cube.runtime import log, run
from cube.runtime.errors import MachineError
from cube.runtime.namespaces import Cell, open_cell, releasing, wait_for_end

#: Seconds for an orderly stop. Source: DefaultTimeoutStopSec= is 90 s.
STOP_S = 120.0
#: Seconds for killed processes to be gone.
KILL_S = 20.0
#: A tmpfs over this folder of the cell: nspawn's own state and our sockets.
SCRATCH = Path("/run/systemd")
#: Beyond what nspawn grants: dockerd, ufw and fail2ban set up the container's own network.
CAPABILITIES = "CAP_NET_ADMIN,CAP_BPF,CAP_PERFMON"
#: Beyond what nspawn lets through: container runtimes use keyrings and BPF. Source: runc(8).
SYSTEM_CALLS = "add_key keyctl bpf"
#: cgroup v2 inside, whatever is outside; /proc/sys/net is writable, which is the container's own.
#: Source: systemd's docs/ENVIRONMENT.md.
ENVIRONMENT = ("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1", "SYSTEMD_NSPAWN_API_VFS_WRITABLE=network")
#: nspawn's exit code when the guest asks for a reboot. Source: systemd-nspawn, shutdown of an
#: unregistered container: EXIT_FORCE_RESTART.
RESTART = 133
#: Runs the rest in a fresh control group, and again when the guest wants to reboot. A group that
#: the guest's systemd has used takes no process any more. Source: cgroups(7), "no internal
#: processes" rule.
BOOT_LOOP = (
    'group="$1"; shift; while :; do '
    'find "$group" -depth -type d -exec rmdir {} \\; 2> /dev/null; mkdir -p "$group"; '
    """sh -c 'echo 0 > "$0/cgroup.procs" && exec "$@"' "$group" "$@"; """
    f'code=$?; [ "$code" = {RESTART} ] || exit "$code"; done'
)


def nspawn_args(name: str, root: Path, device: str) -> list[str]:
    """Build the command that boots a root folder.

    Args:
        name: machine name, until the image sets its own.
        root: the mounted root.
        device: block device of the root, shown inside so that grub-probe and blkid work.

    No --suppress-sync: it refuses O_SYNC (Source: systemd-nspawn(1)), with which runc opens its
    log, and then no Docker container runs.
    """
    return [
        "systemd-nspawn",
        "--quiet",
        "--boot",
        "--keep-unit",
        "--register=no",
        f"--directory={root}",
        f"--machine={name}",
        "--network-namespace-path=/proc/1/ns/net",
        f"--capability={CAPABILITIES}",
        f"--system-call-filter={SYSTEM_CALLS}",
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
        "--console=read-only",
        f"--bind={device}",
        "--bind=/dev/fuse",
        "--bind=/dev/net/tun",
        "cloud-init=disabled",
    ]


def boot_args(group: Path, argv: list[str]) -> list[str]:
    """Build the command that boots a container in a control group, and again as it reboots."""
    return [
        "env",
        *ENVIRONMENT,
        "sh",
        "-c",
        BOOT_LOOP,
        "sh",
        str(group),
        *argv,
    ]


@dataclass(kw_only=True)
class Container:
    """A container that is up. Made by `Containers.start`."""

    request: MachineRequest
    cell: Cell
    process: run.Process
    access: Endpoint
    released: contextlib.ExitStack
    name: str
    disk: Path
    kind: Kind = "container"

    @property
    def endpoint(self) -> Endpoint:
        """Where sshd answers."""
        return self.access

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process.returncode is None

    def wait_until_up(self) -> None:
        """Wait until sshd answers."""
        with log.step(f"Booting {self.name} in a container"), console.explained(self.request):
            boot.wait(self.access, timeout_s=boot.CONTAINER_S, alive=lambda: self.alive)

    def wait_until_off(self, timeout_s: float) -> None:
        """Wait for a guest that powers itself off; release the disk, every write on the medium."""
        with console.explained(self.request):
            wait_for_end(self.process, timeout_s, "the container")
        self.released.close()
        disks.sync(self.disk)

    def reboot(self) -> None:
        """Restart it and wait for the new boot, and its units."""
        with console.explained(self.request):
            boot.restart(self.access, timeout_s=boot.CONTAINER_S, alive=lambda: self.alive)
            boot.settle(self.access)

    def shutdown(self) -> None:
        """Stop it cleanly and release the disk, every write on the medium."""
        halt(self.cell)
        self.wait_until_off(STOP_S)

    def console_tail(self) -> str:
        """Return the console's last lines."""
        return console.tail(console.file_of(self.request.run_dir))


def halt(cell: Cell) -> None:
    """Ask the container's systemd to halt. Source: systemd-nspawn(1), --kill-signal=."""
    cell.execute(["pkill", "--oldest", "--exact", "systemd-nspawn"], accept=(0, 1))


def stop_recorded(found: MachineRecord) -> None:
    """Stop a container that another process left up, the disk written back.

    Raises:
        MachineError: it did not stop in time, or its disk did not close; it is ended anyway.
    """
    cell, root = Cell(found.life.pid), found.run_dir / "root"
    with contextlib.ExitStack() as stack:
        stack.callback(cleanup.release, found)
        halt(cell)
        _wait_until_gone(cell, "systemd-nspawn", STOP_S)
        mount.unmount_tree(cell, root)
        cell.execute(["pkill", "--exact", fuse_export.DAEMON_NAME])
        _wait_until_gone(cell, fuse_export.DAEMON_NAME, fuse_export.FLUSH_S)
        disks.sync(found.disk)


def _wait_until_gone(cell: Cell, program: str, timeout_s: float) -> None:
    """Wait until no process of the cell runs a program. Source: pgrep(1): 1 is "none matched"."""
    deadline = time.monotonic() + timeout_s
    while cell.execute(["pgrep", "--exact", program], accept=(0, 1)).returncode == 0:
        if time.monotonic() > deadline:
            raise MachineError(f"{program} did not stop within {timeout_s:.0f} s")
        time.sleep(0.1)


class Containers:
    """Machines under systemd-nspawn."""

    @contextlib.contextmanager
    def start(self, request: MachineRequest) -> Iterator[Machine]:
        """Boot a disk in a container, wait for sshd, release everything on the way out."""
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


def _boot(request: MachineRequest, stack: contextlib.ExitStack) -> Container:
    """Build up what a container needs; each part's release is put on the stack at once."""
    run_dir, unique = request.run_dir.absolute(), f"cube-{request.name}-{os.getpid()}"
    stack.callback(cgroup.remove, unique)
    cell = open_cell(
        run_dir / "cell.log", outlive=request.detached, prefix=cgroup.delegated_args(unique)
    )
    stack.callback(cell.close)
    shown = fuse_export.export(cell, request.disk, run_dir, writable=True)
    stack.callback(shown.close)
    tree = mount.mount_tree(cell, shown.raw, run_dir / "root", writable=True)
    stack.callback(mount.unmount_tree, cell, tree.root)
    let_in(cell.path(tree.root), request.key_file.with_name(request.key_file.name + ".pub"))
    cell.execute(["mkdir", "--parents", SCRATCH])
    cell.execute(["mount", "-t", "tmpfs", "tmpfs", SCRATCH])
    group = cgroup.prepare(cell, unique)
    access = Endpoint(
        host="127.0.0.1",
        port=network.connect(cell, SCRATCH, run_dir / "network.log"),
        user=BUILD_USER,
        key_file=request.key_file,
        known_hosts=run_dir / "known_hosts",
    )
    (run_dir / "known_hosts").unlink(missing_ok=True)
    stack.callback(_note(request, cell, access).unlink, missing_ok=True)
    argv = boot_args(group, nspawn_args(request.name, tree.root, tree.device))
    process = cell.launch(argv, output=console.file_of(request.run_dir))
    stack.callback(_kill, cell, process, group)
    return Container(
        request=request,
        cell=cell,
        process=process,
        access=access,
        released=stack,
        name=request.name,
        disk=request.disk,
    )


def _note(request: MachineRequest, cell: Cell, access: Endpoint) -> Path:
    """Write the machine's record."""
    return record.write(
        MachineRecord(
            name=request.name,
            kind="container",
            disk=request.disk.absolute(),
            run_dir=request.run_dir.absolute(),
            endpoint=access,
            owner=record.identify(os.getpid()),
            detached=request.detached,
            life=record.identify(cell.pid),
            cgroup=f"cube-{request.name}-{os.getpid()}",
        )
    )


def _kill(cell: Cell, process: run.Process, group: Path) -> None:
    """End the container at once, and wait until its last process is gone.

    nspawn's end alone is not its guest's. Source: cgroups(7), cgroup.kill, since Linux 5.14.
    """
    process.stop(grace_s=0)
    inside = cell.path(group)
    deadline = time.monotonic() + KILL_S
    with contextlib.suppress(OSError):
        (inside / "cgroup.kill").write_text("1")
        while "populated 1" in (inside / "cgroup.events").read_text():
            if time.monotonic() > deadline:
                log.warning(f"{group.name}: processes are left {KILL_S:.0f} s after their SIGKILL")
                return
            time.sleep(0.02)
