"""Boxes that somebody set up by hand, before our layers come: a plan, an application, no drift.

Each exhibit is a machine of its own from the bare OS. Its owner's choices must be told by the
plan, outlive the application, and keep the owner's way in open.
"""

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from cube import config
from cube.disks import qcow2
from cube.machines import Machine, MachineRequest, ssh
from cube.machines.nspawn.container import Containers
from cube.runtime.errors import PlanError
from tests.integration.conftest import write_spec
from tests.integration.desk import BIN, Desk, Done

pytestmark = pytest.mark.exhaustive

#: Every file of the owner's configuration with its content; what a dry run may not touch.
ETC = "cd /etc && find . -type f -exec sha256sum {} + | sort -k 2"
#: A file system of shell tools, and a container of it that runs for ever.
CONTAINER = """
mkdir -p /tmp/image/bin
cp /bin/busybox /tmp/image/bin/
ln -s busybox /tmp/image/bin/sleep
tar -C /tmp/image -c . | docker import - bare:1 >/dev/null
docker run --detach --name web bare:1 sleep 100000 >/dev/null
"""


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """A box of somebody's.

    Args:
        setup: what its owner did, as root.
        found: words of the plan's lines about it.
        kept: a command whose output, empty or not, is the owner's and the same afterwards.
        refused: the word of the refusal that its plan has.
        settle: what its owner does about that refusal.
    """

    setup: str
    found: tuple[str, ...]
    kept: str
    refused: str = ""
    settle: str = "true"


EXHIBITS = {
    "engine": Exhibit(
        setup=f"""
apt-get install -q -y --no-install-recommends docker.io docker-cli busybox-static
printf '{{"log-driver": "journald", "live-restore": false}}' >/etc/docker/daemon.json
systemctl restart docker
{CONTAINER}""",
        found=("container engine: ", "1 container running (a restart of Docker ends them): web"),
        kept="docker info --format '{{.LoggingDriver}} {{.LiveRestoreEnabled}}'",
        refused="stop-containers",
        settle="docker rm --force web",
    ),
    "firewall": Exhibit(
        setup="""
apt-get install -q -y --no-install-recommends ufw
sed -i s/IPV6=yes/IPV6=no/ /etc/default/ufw
ufw allow proto tcp from 0.0.0.0/1 to any port 22
ufw allow proto tcp from 128.0.0.0/1 to any port 22
ufw allow from 192.0.2.0/24 to any port 9100 proto tcp
ufw --force enable
""",
        found=("firewall: ufw, 3 rules",),
        kept="ufw status | grep -E '^(22|9100)'; grep ^IPV6 /etc/default/ufw",
    ),
    "sshd": Exhibit(
        setup="""
mkdir -p /etc/ssh/keys
cd /etc/ssh/sshd_config.d
printf 'ListenAddress 0.0.0.0:%s\\n' 22 2222 >99-owner.conf
echo 'AuthorizedKeysFile /etc/ssh/keys/%u .ssh/authorized_keys' >>99-owner.conf
systemctl restart ssh
""",
        found=("sshd: port ",),
        kept="cat /etc/ssh/sshd_config.d/99-owner.conf; ls /etc/ssh/keys",
    ),
    "german": Exhibit(
        setup="""
apt-get install -q -y --no-install-recommends locales ufw
echo 'de_DE.UTF-8 UTF-8' >>/etc/locale.gen
locale-gen
printf 'LANG=de_DE.UTF-8\\nLC_ALL=de_DE.UTF-8\\n' >>/etc/environment
echo 'export LC_ALL=de_DE.UTF-8' >>/root/.profile
ufw allow 22/tcp
ufw --force enable
""",
        found=("firewall: ufw, 2 rules",),  # one of IPv4, one of IPv6
        kept="cat /etc/environment",
    ),
    "chatty": Exhibit(
        setup="""
for home in /root /home/*; do
    printf 'echo welcome\\nprintf "layers 1\\\\n{}\\\\n"\\n' | tee -a $home/.profile >$home/.tmp
    { cat $home/.tmp $home/.bashrc; } >$home/.new
    mv $home/.new $home/.bashrc
    rm $home/.tmp
done
mkdir -p /tmp/tool/DEBIAN
printf '%s\\n' 'Package: owners-tool' 'Version: 1' 'Architecture: all' 'Conflicts: tmux' \\
    'Maintainer: The owner <owner@example.org>' 'Description: nothing' >/tmp/tool/DEBIAN/control
dpkg-deb --build /tmp/tool >/dev/null
dpkg --install /tmp/tool.deb >/dev/null
""",
        found=("firewall: none", "apt would remove 1 package that nobody named: owners-tool"),
        kept="cat /root/.bashrc",
        refused="remove-packages",
        settle="dpkg --purge owners-tool",
    ),
    "packages": Exhibit(
        setup="""
apt-get install -q -y --no-install-recommends nano chrony
apt-mark hold nano
""",
        found=("held packages: nano",),
        kept="apt-mark showhold; systemctl is-active chrony; dpkg -l systemd-timesyncd || true",
    ),
}


@dataclass(frozen=True)
class Museum:
    """All exhibits, each in its own machine, as its owner left it."""

    desks: dict[str, Desk]

    def word(self, name: str) -> str:
        """How a user names an exhibit."""
        return self.desks[name].word

    def cube(self, command: str, *words: str) -> Done:
        """Run a command on all exhibits at once."""
        everybody = [self.word(name) for name in EXHIBITS]
        return next(iter(self.desks.values())).cube(command, *words, at=everybody)


@pytest.fixture(scope="module")
def museum(
    base_disk: Path, key_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Museum]:
    desks: dict[str, Desk] = {}
    with ExitStack() as stack:
        for name, exhibit in EXHIBITS.items():
            folder = tmp_path_factory.mktemp(name)
            overlay = folder / "disk.qcow2"
            qcow2.create_overlay(overlay, base_disk, size_bytes=0)
            request = MachineRequest(
                name=name, disk=overlay, run_dir=folder / "run", key_file=key_file
            )
            loaded = config.load(write_museum_spec(folder))
            machine = stack.enter_context(Containers().start(request))
            set_up(machine, exhibit)
            desks[name] = Desk(machine, loaded)
        yield Museum(desks)


def write_museum_spec(folder: Path) -> Path:
    """Write a cube.toml that gives a host the certificates by which it reaches an index."""
    file = write_spec(folder, folder / "build")
    text = file.read_text()
    assert "\nkeep_ca_certificates = false" in text
    file.write_text(text.replace("\nkeep_ca_certificates = false", "\nkeep_ca_certificates = true"))
    return file


def set_up(machine: Machine, exhibit: Exhibit) -> None:
    script = f"set -e\nexport DEBIAN_FRONTEND=noninteractive\napt-get update -q\n{exhibit.setup}"
    ssh.execute(machine.endpoint, "sudo sh -s", stdin=script, timeout_s=600)


@pytest.fixture(scope="module")
def kept(museum: Museum) -> dict[str, str]:
    """What is the owner's, before anything of ours."""
    return {name: museum.desks[name].sh(one.kept) for name, one in EXHIBITS.items()}


@pytest.mark.parametrize("name", EXHIBITS)
def test_a_plan_tells_what_is_there_and_changes_nothing(
    name: str, museum: Museum, kept: dict[str, str]
) -> None:
    desk, exhibit = museum.desks[name], EXHIBITS[name]
    before = desk.sh(ETC)
    argv = ["apply", museum.word(name), "--layers", "1", "--plan", "--plain"]
    done = subprocess.run(
        [str(BIN / "cube"), *argv, "--spec", str(desk.spec.file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == (PlanError.exit_code if exhibit.refused else 0), done.stderr
    for words in exhibit.found:
        assert words in done.stdout
    assert ("REFUSED" in done.stdout) == bool(exhibit.refused)
    assert f"--allow {exhibit.refused}" in done.stdout or not exhibit.refused
    assert desk.sh(ETC) == before


@pytest.fixture(scope="module")
def applied(museum: Museum, kept: dict[str, str]) -> Done:
    """The first application, once each owner has done what a refusal asked for."""
    for name, exhibit in EXHIBITS.items():
        desk = museum.desks[name]
        if exhibit.refused:
            before = desk.sh(ETC)
            refused = desk.cube("apply", "--layers", "1", "--no-checks", at=museum.word(name))
            assert refused.code == PlanError.exit_code
            assert desk.sh(ETC) == before
        desk.sh(exhibit.settle)
    return museum.cube("apply", "--layers", "1,5", "--no-checks")


def test_the_layers_are_applied_to_all(applied: Done) -> None:
    states = {one["box"]: one.get("error", {}).get("text") for one in applied.of("hosts")["hosts"]}
    assert set(states.values()) == {None}, json.dumps(states, indent=2)
    assert applied.code == 0


@pytest.mark.parametrize("name", EXHIBITS)
def test_what_is_the_owners_stays(
    name: str, museum: Museum, kept: dict[str, str], applied: Done
) -> None:
    assert museum.desks[name].sh(EXHIBITS[name].kept) == kept[name]


def test_a_second_time_nothing_changes(museum: Museum, applied: Done) -> None:
    again = museum.cube("apply", "--layers", "1,5", "--no-checks")
    changed = {
        (one["box"], change)
        for one in again.of("hosts")["hosts"]
        for layer in one["layers"]
        for change in layer["changed"]
    }
    assert changed == set()
    assert again.code == 0


def test_nothing_has_drifted(museum: Museum, applied: Done) -> None:
    done = museum.cube("drift", "--no-checks")
    assert done.code == 0, f"{done.told[-1:]}\n{done.messages[-4000:]}"
