"""A change that locks out whoever made it takes itself back, also under pyinfra's own command."""

import dataclasses
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cube.disks import qcow2
from cube.machines import Endpoint, ssh
from cube.runtime.errors import MachineError
from tests.integration.conftest import PROJECT
from tests.integration.desk import BIN, Desk, standing_on

pytestmark = pytest.mark.exhaustive

SSHD = "/etc/ssh/sshd_config.d/00-cube.conf"
#: Seconds for the role, which installs nothing that is not there.
RUN_S = 600
#: Seconds until the settings come back that nobody has confirmed.
ARMED_S = 60


@pytest.fixture(scope="module")
def desk(
    layer1_disk: Path, key_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Desk]:
    """A box with layer 1."""
    folder = tmp_path_factory.mktemp("lockout")
    overlay = folder / "disk.qcow2"
    qcow2.create_overlay(overlay, layer1_disk)
    with standing_on(overlay, key_file, folder) as one:
        yield one


@dataclass(frozen=True)
class Run:
    """A run of pyinfra that ended."""

    code: int
    output: str
    events: list[dict[str, object]]

    @property
    def changed(self) -> list[object]:
        return [one["name"] for one in self.events if one["event"] == "end" and one["changed"]]

    @property
    def cause(self) -> str:
        return next((str(one["cause"]) for one in self.events if one["event"] == "exit"), "")


Secure = Callable[[Endpoint], Run]


@pytest.fixture
def secure(desk: Desk, tmp_path: Path) -> Secure:
    """Apply the role `security` as one does to a live host."""

    def run(endpoint: Endpoint) -> Run:
        access = dataclasses.asdict(endpoint)
        access["port"] = endpoint.port
        machine, events = tmp_path / "machine.json", tmp_path / "events"
        described = [{"name": "desk", "endpoint": access, "building": False}]
        machine.write_text(json.dumps(described, default=str))
        events.write_text("")
        env = {
            **os.environ,
            "CUBE_MACHINE": str(machine),
            "CUBE_SPEC": str(desk.spec.file),
            "CUBE_EVENTS": str(events),
        }
        argv = [str(BIN / "pyinfra"), "-y", "inventory.py", "deploy/layer1.py"]
        argv += ["--data", 'layer1_roles=["security"]']
        done = subprocess.run(
            argv, env=env, capture_output=True, text=True, check=False, cwd=PROJECT, timeout=RUN_S
        )
        told = [json.loads(line) for line in events.read_text().splitlines()]
        return Run(done.returncode, done.stdout + done.stderr, told)

    return run


def root_of(desk: Desk) -> Endpoint:
    """Let root in by our key, and by sshd's own settings, as many a rented machine is."""
    user = desk.machine.endpoint.user
    desk.sh(
        f"install -d -m 700 /root/.ssh && cp ~{user}/.ssh/authorized_keys /root/.ssh/ &&"
        f" rm -f {SSHD} && systemctl restart ssh.service"
    )
    return dataclasses.replace(desk.machine.endpoint, user="root")


def armed(desk: Desk) -> str:
    return desk.sh("systemctl is-active cube-lockout.timer || true; ls /run/cube/lockout || true")


def test_a_change_that_a_new_login_confirms_stays(desk: Desk, secure: Secure) -> None:
    desk.sh(f"rm -f {SSHD} && ufw --force disable && systemctl restart ssh.service")
    first = secure(desk.machine.endpoint)
    assert first.code == 0, first.output
    assert "Keep sshd's settings if a new login gets in" in first.changed
    assert "Keep the firewall if a new login gets in" in first.changed
    assert armed(desk) == "inactive\n"
    second = secure(desk.machine.endpoint)
    assert (second.code, second.changed) == (0, []), second.output


def test_sshd_lets_root_in_again_whom_the_change_locked_out(desk: Desk, secure: Secure) -> None:
    root = root_of(desk)
    before = desk.sh("find /etc/ssh/sshd_config* -type f | xargs sha256sum")
    done = secure(root)
    assert done.code != 0
    assert "no new login got in" in done.cause
    assert done.cause.endswith("the settings of before are back, and a login gets in again")
    assert done.cause in done.output.replace("\n", " ") or "no new login got in" in done.output
    assert ssh.execute(root, "id -un").stdout == "root\n"
    assert desk.sh("find /etc/ssh/sshd_config* -type f | xargs sha256sum") == before


def test_a_firewall_that_would_shut_us_out_is_off_again(desk: Desk, secure: Secure) -> None:
    desk.sh(
        "ufw --force reset && ufw allow from 192.0.2.0/24 to any port 22 proto tcp"
        " && systemctl restart ssh.service"
    )
    done = secure(desk.machine.endpoint)
    assert done.code != 0
    assert "no new login got in" in done.cause
    assert desk.sh("ufw status") == "Status: inactive\n"
    assert "192.0.2.0/24" in desk.sh("ufw show added")  # the owner's rule stays, no other came
    assert "22/tcp" not in desk.sh("ufw show added")
    assert "cube-docker" not in desk.sh("iptables -S")


def lets_in(endpoint: Endpoint) -> bool:
    try:
        ssh.execute(endpoint, "true", attempts=1)
    except MachineError:
        return False
    return True


def test_the_box_helps_itself_when_nobody_is_there_any_more(desk: Desk) -> None:
    root = root_of(desk)
    program = (PROJECT / "deploy/files/security/cube-lockout").read_text()
    desk.sh(
        "mkdir -p /run/cube/lockout && cat >/run/cube/lockout/program <<'END'\n" + program + "END\n"
        f"sh /run/cube/lockout/program arm {ARMED_S}"
    )
    desk.sh(f"echo 'PermitRootLogin no' >{SSHD} && systemctl restart ssh.service")
    with pytest.raises(MachineError, match="Authentication"):
        ssh.execute(root, "true")
    # Not by the connection that it cuts off.
    shut = "ufw default deny incoming && ufw --force reset && ufw --force enable"
    desk.sh(f"systemd-run --quiet --no-block sh -c 'sleep 1; {shut}'")
    eventually(lambda: not lets_in(desk.machine.endpoint), ARMED_S)
    eventually(lambda: lets_in(root), 3 * ARMED_S)


def eventually(come: Callable[[], bool], limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while not come():
        assert time.monotonic() < deadline
        time.sleep(1)
