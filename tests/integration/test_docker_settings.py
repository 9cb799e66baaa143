"""Which settings may stand together: the daemon of the distribution starts with them, or does not.

Only its program is unpacked, below a folder; it runs in namespaces of its own.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploy.facts.docker import Surroundings
from deploy.operations.docker_settings import faults, merge
from tests.unit.deploy.operations.test_docker_settings import NONE, ROLE, SWARM, TOGETHER, flags

SCRIPT = Path(__file__).with_name("docker_start.sh")
PACKAGES = ("containerd", "docker.io", "runc")
#: Seconds for a daemon that starts twice on a busy machine.
LIMIT_S = 300
#: How a unit gives a setting by a flag.
FLAGS = {
    "default-address-pools": "--default-address-pool=base=10.9.0.0/16,size=24",
    "hosts": "",  # the script gives it always
    "live-restore": "--live-restore",
    "log-driver": "--log-driver=journald",
    "log-opts": "--log-opt=tag=x",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("docker")
    command = ["apt-get", "-o", "APT::Sandbox::User=root", "download", *PACKAGES]
    subprocess.run(command, cwd=made, check=True, capture_output=True)
    for file in made.glob("*.deb"):
        subprocess.run(["dpkg-deb", "--extract", file, made / "root"], check=True)
    return made


def steps(folder: Path, *lines: str) -> list[str]:
    """Run steps of the script; return all lines that they print."""
    namespaces = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]
    command = [*namespaces, "sh", str(SCRIPT), str(folder), *lines]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def start(folder: Path, settings: dict[str, Any], around: Surroundings = NONE) -> list[str]:
    """Start the daemon with settings; return "starts" or why not."""
    file = folder / "daemon.json"
    file.write_text(json.dumps(settings))
    words = [FLAGS[name] for name in sorted(around.flags)]
    return steps(folder, " ".join(["start", str(file), *words]))


#: A swarm has a test of its own, and the file system of this machine may not be ZFS.
STARTS = [row for row in TOGETHER if not row[3].swarm and "storage-driver" not in row[1]]


@pytest.mark.parametrize(("there", "before", "around", "result"), [row[1:] for row in STARTS],
                         ids=[row[0] for row in STARTS])  # fmt: skip
def test_the_daemon_starts_with_what_is_merged(
    folder: Path,
    there: dict[str, Any],
    before: dict[str, Any],
    around: Surroundings,
    result: dict[str, Any],
) -> None:
    merged, _ = merge(there, ROLE, before=before, around=around)
    assert merged == result
    assert start(folder, merged, around) == ["starts"]


@pytest.mark.parametrize(
    ("settings", "around", "why"),
    [
        ({**ROLE, "log-driver": "journald"}, NONE, "unknown log opt"),
        ({"hosts": ["unix:///run/x.sock"]}, flags("hosts"), "hosts: (from flag"),
        (ROLE, flags("live-restore"), "live-restore: (from flag"),
        (ROLE, flags("log-driver"), "log-driver: (from flag"),
        (ROLE, flags("log-opts"), "log-opts: (from flag"),
        (ROLE, flags("default-address-pools"), "default-address-pools: (from flag"),
    ],
)
def test_the_daemon_does_not_start_with_what_is_kept_apart(
    folder: Path, settings: dict[str, Any], around: Surroundings, why: str
) -> None:
    (line,) = start(folder, settings, around)
    assert why in line


def test_a_swarm_starts_without_live_restore_only(folder: Path) -> None:
    empty, ours, fitting = (folder / name for name in ("empty.json", "ours.json", "fit.json"))
    empty.write_text("{}")
    ours.write_text(json.dumps(ROLE))
    merged, _ = merge(ROLE, ROLE, before=ROLE, around=SWARM)
    fitting.write_text(json.dumps(merged))
    assert faults(ROLE, SWARM) != []
    lines = steps(
        folder,
        f"start {empty}",
        "docker swarm init --advertise-addr 127.0.0.1",
        f"test -s {folder}/data/d/swarm/docker-state.json",
        f"start {ours}",
        f"start {fitting}",
    )
    assert lines[0] == "starts"
    assert "--live-restore daemon configuration is incompatible with swarm mode" in lines[-2]
    assert lines[-1] == "starts"
