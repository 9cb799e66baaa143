"""Every way in that OpenSSH's configuration gives: our commands, pyinfra and the checks take it.

The configuration is that of a person, in ~/.ssh: it is mounted there for each command alone.
"""

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cube.disks import qcow2
from cube.machines import ssh
from cube.runtime import run
from cube.runtime.errors import MachineError
from tests.integration.conftest import PROJECT
from tests.integration.desk import BIN, Desk, Done, standing_on

#: A software authenticator of OpenSSH's own tests. Source: Debian's package openssh-tests.
AUTHENTICATOR = "usr/lib/openssh/regress/misc/sk-dummy/sk-dummy.so"
#: A network behind the box, with a host that only the box reaches.
INNER = "fd00:5::2"
NETWORK = f"""
set -e
ip netns add inner
ip link add outside type veth peer name inside netns inner
ip -6 address add fd00:5::1/64 dev outside nodad
ip link set outside up
ip -n inner -6 address add {INNER}/64 dev inside nodad
ip -n inner link set inside up
ip -n inner link set lo up
systemd-run --quiet --unit=inner ip netns exec inner /usr/sbin/sshd -D
"""
CONFIG = """\
Include {folder}/more/*.conf
Host gate fido certified agent stranger
    HostName {host}
    Port {port}
Match host {inner} exec "test -e {folder}/open"
    ProxyJump gate
    IdentityFile {folder}/id_plain
Host gate
    IdentityFile {folder}/id_%n
Host fido
    SecurityKeyProvider {folder}/sk.so
    IdentityFile {folder}/id_nobody
    IdentityFile {folder}/id_fido
Host certified
    IdentityFile {folder}/id_certified
    CertificateFile {folder}/id_certified-cert.pub
Host stranger
    IdentityFile {folder}/id_nobody
Host *
    User {user}
    UserKnownHostsFile {folder}/known_hosts
    StrictHostKeyChecking accept-new
"""
INCLUDED = """\
Host inner
    HostName {inner}
Host agent
    IdentityAgent {folder}/agent
"""


@dataclass(frozen=True)
class Ways:
    """A box, and a person's ~/.ssh with a name for each way to it."""

    desk: Desk
    folder: Path

    def plan(self, name: str) -> Done:
        """Have our own commands and pyinfra look at a host."""
        argv = ["cube", "apply", f"ssh://{name}", "--layers", "1", "--plan", "--json"]
        done = self.run(*argv, "--spec", str(self.desk.spec.file))
        told = [json.loads(line) for line in done.stdout.splitlines()]
        return Done(done.returncode, told, done.stderr)

    def check(self, name: str) -> "subprocess.CompletedProcess[str]":
        """Have some checks look at a host."""
        return self.run("pytest", "-q", "checks/layer1/test_users.py", f"--hosts=ssh://{name}")

    def run(self, program: str, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a program of ours as this person."""
        home = Path("~/.ssh").expanduser()
        mounted = f'mount --bind {self.folder} {home} && exec "$@"'
        env = {key: value for key, value in os.environ.items() if key != "SSH_AUTH_SOCK"}
        return subprocess.run(
            ["unshare", "--mount", "sh", "-c", mounted, "sh", str(BIN / program), *words],
            capture_output=True,
            text=True,
            check=False,
            cwd=PROJECT,
            env={**env, "CUBE_SPEC": str(self.desk.spec.file)},
            timeout=600,
        )


@pytest.fixture(scope="module")
def ways(
    layer1_disk: Path, key_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ways]:
    folder = tmp_path_factory.mktemp("ways")
    overlay = folder / "disk.qcow2"
    qcow2.create_overlay(overlay, layer1_disk)
    with standing_on(overlay, key_file, folder) as desk, keys_of(folder) as home:
        user = desk.machine.endpoint.user
        known = [f"id_{name}.pub" for name in ("plain", "gate", "fido", "agent")]
        lines = "".join((home / name).read_text() for name in known if (home / name).exists())
        desk.sh(f"cat >>~{user}/.ssh/authorized_keys <<'END'\n{lines}END\n{NETWORK}")
        desk.sh(
            f"echo '{(home / 'authority.pub').read_text().strip()}' >/etc/ssh/authority.pub;"
            " echo 'TrustedUserCAKeys /etc/ssh/authority.pub' >/etc/ssh/sshd_config.d/10-ca.conf;"
            " systemctl restart ssh.service"
        )
        write_config(desk, home)
        Path("~/.ssh").expanduser().mkdir(mode=0o700, exist_ok=True)
        yield Ways(desk, home)


def write_config(desk: Desk, home: Path) -> None:
    access = desk.machine.endpoint
    words = {"folder": home, "inner": INNER, "host": access.host, "port": access.port}
    (home / "more").mkdir()
    (home / "more/one.conf").write_text(INCLUDED.format(**words))
    (home / "config").write_text(CONFIG.format(**words, user=access.user))
    (home / "open").touch()


@contextlib.contextmanager
def keys_of(folder: Path) -> Iterator[Path]:
    """Make a person's keys, each for one way; the agent alone has its private key."""
    home = folder / "home"
    home.mkdir(mode=0o700)
    for name in ("plain", "gate", "agent", "certified", "nobody"):
        ssh.make_key(home / f"id_{name}")
    ssh.make_key(home / "authority")
    user = "cube-build"
    sign = ["ssh-keygen", "-q", "-s", str(home / "authority"), "-I", "desk", "-n", user]
    run.run([*sign, home / "id_certified.pub"])
    make_security_key(home)
    socket = home / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL) as agent:
        try:
            wait_for(socket)
            run.run(["ssh-add", "-q", home / "id_agent"], env={"SSH_AUTH_SOCK": str(socket)})
            (home / "id_agent").unlink()
            yield home
        finally:
            agent.terminate()


def wait_for(socket: Path) -> None:
    run.run(["timeout", "10", "sh", "-c", f"until test -S {socket}; do sleep 0.1; done"])


def make_security_key(home: Path) -> None:
    """Make a key of a FIDO authenticator, where Debian's package of one can be had."""
    get = ["apt-get", "download", "openssh-tests"]
    if subprocess.run(get, cwd=home, capture_output=True, check=False).returncode:
        return
    (package,) = home.glob("*.deb")
    run.run(["dpkg-deb", "--extract", package, home / "package"])
    shutil.move(home / "package" / AUTHENTICATOR, home / "sk.so")
    make = ["ssh-keygen", "-q", "-t", "ed25519-sk", "-w", str(home / "sk.so"), "-N", "", "-f"]
    run.run([*make, home / "id_fido"])


@pytest.mark.parametrize(
    ("name", "key", "kind"),
    [
        ("inner", "id_plain", "ED25519"),
        ("fido", "id_fido", "ED25519-SK"),
        ("certified", "id_certified", "ED25519-CERT"),
        ("agent", "id_agent", "ED25519"),
    ],
)
def test_a_way_of_openssh_is_the_way_of_all_our_programs(
    name: str, key: str, kind: str, ways: Ways
) -> None:
    if name == "fido" and not (ways.folder / "id_fido").exists():
        pytest.skip("Debian's package openssh-tests, with the software authenticator, is not there")
    done = ways.plan(name)
    assert done.code == 0, f"{done.told[-1:]}\n{done.messages[-4000:]}"
    checked = ways.check(name)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    digest = run.run(["ssh-keygen", "-l", "-f", ways.folder / f"{key}.pub"]).stdout.split()[1]
    let_in = ways.desk.sh("journalctl --quiet --unit ssh --unit inner --grep 'Accepted publickey'")
    assert f": {kind} {digest}" in let_in


def test_who_is_not_let_in_is_told_so(ways: Ways) -> None:
    done = ways.plan("stranger")
    assert done.code == MachineError.exit_code, done.messages
    assert "Permission denied" in f"{done.told}{done.messages}"
    (ways.folder / "open").unlink()
    try:
        assert ways.plan("inner").code == MachineError.exit_code
    finally:
        (ways.folder / "open").touch()
