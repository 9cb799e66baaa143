"""Layer 4 by uv against pip, three installs at once: seconds, bytes from the network, disk.

Run as root in the project's folder, with a build that has layer 1 (`make image` leaves one):

    python bench/frameworks.py build --disk 60
    python bench/frameworks.py build --disk 20 --profile tests/integration/profiles/cpu

Both install the same locks of the same profile on the same machine, one after the other; what uv
made is removed before pip begins. uv goes first: a proxy that keeps downloads would help pip. Its
seconds are those of layer 4 as a whole, with pyinfra's start. It prints one JSON object.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cube import config
from cube.chain.store.links import Store
from cube.config import Spec
from cube.machines import Machine, MachineRequest, ssh
from cube.machines.nspawn.container import Containers
from cube.provision import pyinfra_run
from cube.stack import profile
from tests.integration.growth import create_roomy

GIB = 1024**3
#: Seconds for the slower one.
LIMIT_S = 3600
#: The first specification's way, made safe: an environment each, or they overwrite each other.
PIP = """
set -e
mkdir -p /opt/pip
for name in NAMES; do cp /opt/cube/venvs/$name/requirements.txt /opt/pip-$name.txt; done
rm -rf /opt/cube/venvs
fstrim / || true
install() {
    python3 -m venv /opt/pip/$1
    PIP_CERT=/etc/ssl/certs/ca-certificates.crt /opt/pip/$1/bin/pip install --quiet \
        --disable-pip-version-check --no-cache-dir --require-hashes --no-deps --only-binary :all: \
        OPTIONS --requirement /opt/pip-$1.txt
}
pids=
for name in NAMES; do install $name & pids="$pids $!"; done
for pid in $pids; do wait $pid; done
"""


def main() -> int:
    """Measure both, and print what was measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("build", type=Path, help="folder of a build of debian-13")
    parser.add_argument("--disk", type=int, default=60, help="GiB of the machine's disk")
    parser.add_argument("--profile", default="cube", help="shipped one, or a folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cube-bench-") as name:
        print(json.dumps(measure(options, Path(name).absolute()), indent=2))  # noqa: T201
    return 0


def measure(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Boot a machine on layer 1 and let both work on it."""
    chosen = (
        options.profile
        if options.profile in profile.names()
        else str(Path(options.profile).absolute())
    )
    wanted = write_spec(folder, chosen)
    base = Store(folder=options.build.absolute() / "debian-13/chain").named("layer1").disk
    create_roomy(folder / "disk.qcow2", base, options.disk * GIB)
    ssh.make_key(folder / "key")
    request = MachineRequest(
        name="bench", disk=folder / "disk.qcow2", run_dir=folder / "run", key_file=folder / "key"
    )
    names = wanted.stack.frameworks
    with Containers().start(request) as machine:
        uv = timed(machine, lambda: pyinfra_run.apply(4, machine, spec=wanted))
        together = disk_mib(machine, "/opt/cube/venvs")
        alone = {name: disk_mib(machine, f"/opt/cube/venvs/{name}") for name in names}
        pip = timed(machine, lambda: install_by_pip(machine, wanted))
        return {
            "profile": options.profile,
            "frameworks": list(names),
            "uv": {**uv, "disk_mib": together, "each_alone_mib": alone},
            "pip": {**pip, "disk_mib": disk_mib(machine, "/opt/pip")},
        }


def write_spec(folder: Path, chosen: str) -> Spec:
    """Write and read a specification with every framework of a profile."""
    names = ", ".join(f'"{name}"' for name in profile.load(chosen).frameworks)
    file = folder / "cube.toml"
    file.write_text(
        f'[build]\ndir = "build"\n[gpu]\nmode = "assume"\n'
        f'[stack]\nprofile = "{chosen}"\nframeworks = [{names}]\n'
    )
    return config.load(file)


def install_by_pip(machine: Machine, wanted: Spec) -> None:
    """Install the same locks by one pip each, all at once."""
    execute(machine, pip_script(wanted.stack.frameworks, wanted.network.pypi_index))


def pip_script(names: Sequence[str], index: str) -> str:
    """Return the shell script that installs the locks of what layer 4 has made."""
    script = PIP.replace("OPTIONS", f"--index-url {index}" if index else "")
    return script.replace("NAMES", " ".join(names))


def timed(machine: Machine, work: Callable[[], object]) -> dict[str, float]:
    """Return how long work takes, what comes from the network meanwhile, and the load after it."""
    before, started = received_mib(machine), time.monotonic()
    work()
    seconds = round(time.monotonic() - started)
    load = round(os.getloadavg()[0], 1)
    return {"seconds": seconds, "network_mib": received_mib(machine) - before, "load": load}


def received_mib(machine: Machine) -> int:
    """Return what all network cards have received since the boot."""
    counters = "cat /sys/class/net/en*/statistics/rx_bytes"
    return sum(map(int, execute(machine, counters).split())) // 2**20


def disk_mib(machine: Machine, folder: str) -> int:
    """Return what a folder takes; a file with several names in it counts once."""
    return int(execute(machine, f"du -sm {folder}").split()[0])


def execute(machine: Machine, script: str) -> str:
    """Run a script as root."""
    command = f"sudo sh -c {ssh.quote(script)}"
    return ssh.execute(machine.endpoint, command, timeout_s=LIMIT_S).stdout


if __name__ == "__main__":
    sys.exit(main())
