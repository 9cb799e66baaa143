"""Boxes that layer 1 is applied to: a fresh overlay of the bare OS in a container, by SSH."""

import contextlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from bench import equality, playbook
from bench.measure import PROJECT
from cube.config import Spec
from cube.disks import qcow2
from cube.machines import Endpoint, Machine, MachineRequest, ssh
from cube.machines.nspawn.container import Containers
from cube.machines.nspawn.network import free_port
from cube.runtime import run
from cube.runtime.errors import CubeError
from cube.runtime.namespaces import wait_until
from cube.supply import package_cache
from cube.supply.package_cache import PackageCache

RELAY = PROJECT / "bench/relay.py"
TOOLS = playbook.DEPLOY / "files/python/tools.txt"
#: Where the wheels lie on the box.
WHEELS = "/var/tmp/bench-wheels"  # noqa: S108 (on the box)
#: Seconds for the relay to listen; for wheels to be downloaded, and put on a box.
LISTEN_S, LOAD_S = 20.0, 600
PREPARE = f"""
set -e
echo 'Acquire::http::Proxy "PROXY";' > /etc/apt/apt.conf.d/01bench-cache
printf '[global]\\nno-index = true\\nfind-links = file://{WHEELS}\\n' > /etc/pip.conf
mkdir -p {WHEELS}
tar -C {WHEELS} -x
"""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where every box gets packages and wheels from: the same for all, and none of the network."""

    packages: PackageCache
    wheels: Path


@dataclass
class Box:
    """A box that is up, and the way to it at each round trip in milliseconds."""

    name: str
    machine: Machine
    folder: Path
    ways: dict[int, Endpoint] = field(default_factory=dict)
    packages: str = ""  #: what apt alone is to install

    def state(self) -> str:
        """Read its whole state."""
        script = equality.script(trees=True)
        return ssh.execute(self.machine.endpoint, "sudo bash -s", stdin=script).stdout


@contextlib.contextmanager
def sources(spec: Spec, cache: Path) -> Iterator[Sources]:
    """Run the cache of packages, and have the wheels."""
    with package_cache.own(spec, cache / "packages") as packages:
        yield Sources(packages=packages, wheels=wheels(cache))


def wheels(folder: Path) -> Path:
    """Return the wheels of the tools' lock, downloaded once: the folder is named after the lock."""
    target = folder / f"wheels-{sha256(TOOLS.read_bytes()).hexdigest()[:12]}"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=folder) as parent:
            made = Path(parent) / "wheels"
            argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            argv += ["--require-hashes", "--only-binary", ":all:", "--dest", str(made)]
            run.run([*argv, "--requirement", TOOLS], timeout_s=LOAD_S)
            made.rename(target)
    return target


@contextlib.contextmanager
def started(
    name: str, base: Path, folder: Path, given: Sources, delays: Sequence[int] = (0,)
) -> Iterator[Box]:
    """Boot a box on the bare OS, reached at some round trips (ms); a new folder has its disk."""
    folder.mkdir()
    overlay, key = folder / "disk.qcow2", folder / "key"
    qcow2.create_overlay(overlay, base, size_bytes=0)
    ssh.make_key(key)
    request = MachineRequest(name=name, disk=overlay, run_dir=folder / "run", key_file=key)
    with contextlib.ExitStack() as stack:
        stack.callback(overlay.unlink)  # gigabytes; twenty boxes come one after the other
        machine = stack.enter_context(Containers().start(request))
        prepare(machine, given)
        box = Box(name=name, machine=machine, folder=folder)
        for delay in delays:
            box.ways[delay] = stack.enter_context(way(machine.endpoint, delay, folder))
        yield box


def prepare(machine: Machine, given: Sources) -> None:
    """Have a box's apt and pip ask the sources."""
    script = ssh.quote(PREPARE.replace("PROXY", given.packages.guest_url))
    remote = f"{run.quote(ssh.ssh_args(machine.endpoint))} {ssh.quote(f'sudo sh -c {script}')}"
    command = f"tar -C {ssh.quote(str(given.wheels))} -c . | {remote}"
    run.run(["sh", "-c", command], timeout_s=LOAD_S)


@contextlib.contextmanager
def way(near: Endpoint, delay_ms: int, folder: Path) -> Iterator[Endpoint]:
    """Yield a way to a box with a longer round trip, known to no SSH client yet."""
    known = folder / f"known_hosts-{delay_ms}"
    if not delay_ms:
        yield replace(near, known_hosts=known)
        return
    port, output = free_port(), folder / f"relay-{delay_ms}.log"
    argv = [sys.executable, str(RELAY), str(port), str(near.port), str(delay_ms)]
    process = run.launch(argv, output=output, tethered=True)
    try:
        if not wait_until(lambda: listens(port), process, LISTEN_S):
            raise CubeError(f"no relay on port {port}", details=run.tail(output.read_text()))
        yield replace(near, port=port, known_hosts=known)
    finally:
        process.stop(grace_s=0)


def listens(port: int) -> bool:
    """Tell whether somebody listens on a port of loopback, without a connection."""
    return bool(run.run(["ss", "-Hltn", f"sport = :{port}"]).stdout.strip())
