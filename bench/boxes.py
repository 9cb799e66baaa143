"""Boxes that layer 1 is applied to: a fresh overlay of the bare OS in a container, by SSH."""

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench import equality
from bench.timing import PROJECT
from bench.tools import Site
from cube.disks import qcow2
from cube.machines import Endpoint, Machine, MachineRequest, ssh
from cube.machines.nspawn.container import Containers
from cube.machines.nspawn.network import free_port
from cube.runtime import run
from cube.runtime.errors import CubeError
from cube.runtime.namespaces import wait_until
from cube.supply.package_cache import PackageCache
from cube.supply.wheel_cache import WheelCache

RELAY = str(PROJECT / "bench/relay.py")
#: Seconds for the relay to listen.
LISTEN_S = 20.0
#: For `Sources`.
PREPARE = """
echo 'Acquire::http::Proxy "{0.packages.guest_url}";' > /etc/apt/apt.conf.d/01bench-cache
cat > /etc/pip.conf <<END
[global]
index-url = {0.wheels.index}
trusted-host = 10.0.2.2
END
"""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where every box gets packages and wheels from: the same for all, and kept on this machine."""

    packages: PackageCache
    wheels: WheelCache


@dataclass(frozen=True, kw_only=True)
class Box:
    """A box that is up; a site with it alone for each round trip in milliseconds."""

    machine: Machine
    sites: Mapping[int, Site]

    def state(self) -> str:
        """Read its whole state."""
        script = equality.script(trees=True)
        return ssh.execute(self.machine.endpoint, "sudo bash -s", stdin=script).stdout


@contextlib.contextmanager
def started(site: Site, base: Path, given: Sources, delays: Sequence[int] = ()) -> Iterator[Box]:
    """Boot a box on the bare OS, reached on loopback and at longer round trips (ms).

    It has the name of the site's folder, which is a new one.
    """
    folder, name = site.folder, site.folder.name
    folder.mkdir()
    overlay, key = folder / "disk.qcow2", folder / "key"
    qcow2.create_overlay(overlay, base)
    ssh.make_key(key)
    request = MachineRequest(name=name, disk=overlay, run_dir=folder / "run", key_file=key)
    with contextlib.ExitStack() as stack:
        stack.callback(overlay.unlink)  # gigabytes; twenty boxes come one after the other
        machine = stack.enter_context(Containers().start(request))
        ssh.execute(machine.endpoint, "sudo sh -e", stdin=PREPARE.format(given))
        ways = {
            delay: stack.enter_context(way(machine.endpoint, delay, folder))
            for delay in {0, *delays}
        }
        sites = {delay: replace(site, ways={name: one}) for delay, one in ways.items()}
        yield Box(machine=machine, sites=sites)


@contextlib.contextmanager
def way(near: Endpoint, delay_ms: int, folder: Path) -> Iterator[Endpoint]:
    """Yield a way to a box with a longer round trip, known to no SSH client yet."""
    known = folder / f"known_hosts-{delay_ms}"
    if not delay_ms:
        yield replace(near, known_hosts=known)
        return
    port, output = free_port(), folder / f"relay-{delay_ms}.log"
    argv = [
        sys.executable,
        RELAY,
        str(port),
        str(near.port),
        str(delay_ms),
    ]
    process = run.launch(argv, output=output, tethered=True)
    try:
        listening = ["ss", "-Hltn", f"sport = :{port}"]
        if not wait_until(lambda: run.run(listening).stdout != "", process, LISTEN_S):
            raise CubeError(f"no relay on port {port}", details=run.tail(output.read_text()))
        yield replace(near, port=port, known_hosts=known)
    finally:
        process.stop(grace_s=0)
