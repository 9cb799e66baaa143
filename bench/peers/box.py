"""Boxes: a fresh overlay of the bare OS for each tool, in a container, reached by SSH."""

import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from cube.disks import qcow2
from cube.machines import Endpoint, Machine, MachineRequest, ssh
from cube.machines.nspawn.container import Containers
from cube.machines.nspawn.network import free_port
from cube.runtime import log, run
from cube.runtime.errors import CubeError
from cube.runtime.namespaces import wait_until

HERE = Path(__file__).resolve().parent
STATE = HERE / "box_state.py"
#: This machine's loopback, as a container sees it. Source: slirp4netns(1).
HOST_ADDRESS = "10.0.2.2"
#: Where the wheels lie on the box.
WHEELS = "/var/tmp/bench-wheels"  # noqa: S108 (on the box)
#: Seconds for a helper to listen.
LISTEN_S = 20.0
#: Seconds for wheels to be loaded, and put on a box.
LOAD_S = 600
PREPARE = f"""
set -e
echo 'Acquire::http::Proxy "http://{HOST_ADDRESS}:PORT";' > /etc/apt/apt.conf.d/01bench-cache
printf '[global]\\nno-index = true\\nfind-links = file://{WHEELS}\\n' > /etc/pip.conf
mkdir -p {WHEELS}
tar -C {WHEELS} -x
"""


@dataclass
class Box:
    """A box that is up, and the ways to it."""

    name: str
    machine: Machine
    folder: Path
    endpoints: dict[int, Endpoint] = field(default_factory=dict)

    def state(self, wanted: dict[str, list[str]]) -> dict[str, Any]:
        """Read its state by the script that takes no tool's word."""
        done = ssh.execute(self.machine.endpoint, state_command(wanted), stdin=STATE.read_text())
        found: dict[str, Any] = json.loads(done.stdout)
        return found


def state_command(wanted: dict[str, list[str]]) -> str:
    """Return the command that reads a state on a box; the script is its input."""
    return f"sudo python3 - {ssh.quote(json.dumps(wanted))}"


@contextlib.contextmanager
def helper(argv: run.Argv, port: int, log_file: Path) -> Iterator[None]:
    """Run a program of this folder that listens on loopback.

    Raises:
        CubeError: it does not listen.
    """
    process = run.launch([sys.executable, *argv], output=log_file, tethered=True)
    try:
        if not wait_until(lambda: listens(port), process, LISTEN_S):
            told = run.tail(log_file.read_text(errors="replace"))
            raise CubeError(f"{Path(argv[0]).name} does not listen on port {port}", details=told)
        yield
    finally:
        process.stop(grace_s=0)


def listens(port: int) -> bool:
    """Say whether somebody listens on a port of loopback; nobody is connected to."""
    return bool(run.run(["ss", "-Hltn", f"sport = :{port}"]).stdout.strip())


@contextlib.contextmanager
def cached(folder: Path) -> Iterator[int]:
    """Run the cache of packages; yield its port."""
    port = free_port()
    with helper(
        [HERE / "cache.py", str(port), str(folder / "packages")], port, folder / "cache.log"
    ):
        yield port


@contextlib.contextmanager
def farther(box: Box, delays_ms: list[int]) -> Iterator[None]:
    """Let a box be reached with longer round trips too."""
    with contextlib.ExitStack() as stack:
        near = box.machine.endpoint
        for delay in delays_ms:
            port = near.port
            if delay:
                port = free_port()
                argv = [str(HERE / "relay.py"), str(port), str(near.port), str(delay)]
                stack.enter_context(helper(argv, port, box.folder / f"relay-{delay}.log"))
            known = box.folder / f"known_hosts-{delay}"
            box.endpoints[delay] = replace(near, port=port, known_hosts=known)
        yield


def wheels(folder: Path, requirements: Path) -> Path:
    """Return the wheels of a lock, loaded once and whole: the folder has the lock's name.

    Raises:
        CommandError: they cannot be loaded.
    """
    target = folder / f"wheels-{sha256(requirements.read_bytes()).hexdigest()[:12]}"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=folder) as parent:
            made = Path(parent) / "wheels"
            argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            argv += ["--require-hashes", "--only-binary", ":all:", "--dest", str(made)]
            run.run([*argv, "--requirement", requirements], timeout_s=LOAD_S)
            made.rename(target)
    return target


@contextlib.contextmanager
def started(name: str, base: Path, folder: Path, cache: tuple[int, Path]) -> Iterator[Box]:
    """Boot a fresh overlay; lead it to the cache of packages.

    Args:
        name: of the box.
        base: the bare OS.
        folder: made anew, for its disk, which goes with the box.
        cache: its port, and the folder of wheels.
    """
    folder.mkdir()
    overlay, key = folder / "disk.qcow2", folder / "key"
    qcow2.create_overlay(overlay, base, size_bytes=0)
    ssh.make_key(key)
    request = MachineRequest(name=name, disk=overlay, run_dir=folder / "run", key_file=key)
    try:
        with Containers().start(request) as machine:
            prepare(machine, *cache)
            yield Box(name=name, machine=machine, folder=folder)
    finally:
        overlay.unlink()  # gigabytes; twenty boxes come one after the other


def prepare(machine: Machine, port: int, folder: Path) -> None:
    """Lead a box to the cache."""
    with log.step(f"Leading {machine.name} to the cache of packages"):
        access = machine.endpoint
        script = ssh.quote(PREPARE.replace("PORT", str(port)))
        remote = run.quote(ssh.ssh_args(access))
        command = (
            f"tar -C {ssh.quote(str(folder))} -c . | {remote} {ssh.quote(f'sudo sh -c {script}')}"
        )
        run.run(["sh", "-c", command], timeout_s=LOAD_S)
