"""health-check-layer1.sh over a simulated machine: healthy, then with one fault at a time."""

import socket
import threading
from collections.abc import Iterator

import pytest

from .conftest import Box, failed, statuses

SYSTEMCTL = """case "$1 $2" in
  "list-units --state=failed") printf '%s' "$FAILED_UNITS" ;;
  "is-enabled apt-daily-upgrade.timer") echo "${UPGRADE_TIMER:-enabled}" ;;
esac"""
DOCKER = "[[ -z ${NO_DOCKER:-} ]] || { echo no daemon; exit 1; }; echo 27"
SSHD = "echo permitrootlogin no; echo passwordauthentication no; echo port"
UFW = "Status: active\nDefault: deny (incoming), allow (outgoing), deny (routed)"


@pytest.fixture
def port() -> Iterator[int]:
    """A server that greets like sshd."""
    server = socket.create_server(("127.0.0.1", 0))

    def greet() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.sendall(b"SSH-2.0-OpenSSH_10.0p2 Debian-7\r\n")

    threading.Thread(target=greet, daemon=True).start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()


@pytest.fixture
def healthy(box: Box, port: int) -> Box:
    """A box on which everything of layer 1 is well."""
    box.install(1)
    box.fake_script("systemctl", SYSTEMCTL)
    box.fake("findmnt", "rw,relatime")
    box.fake_script("mountpoint", "[[ $2 == / || $2 == /boot/efi ]]")
    box.fake_script("df", '[[ $2 == / ]] && echo "41% 7%" || echo "3% -"')
    box.fake("systemd-detect-virt", "none", code=1)
    box.fake("timedatectl", "yes")
    box.fake_script("id", "echo cube sudo docker")
    box.fake("getent", "root:!:20000:0:99999:7:::\ncube:!:20000:0:99999:7:::")
    box.fake_script("sshd", f"{SSHD} {port}")
    box.fake("ufw", UFW)
    box.fake("fail2ban-client", "Status for the jail: sshd\n   |- Currently banned: 0")
    box.fake("apt-config", "Unattended-Upgrade='1'")
    box.fake_script("docker", DOCKER)
    box.fake("uv", "uv 0.9.0")
    return box


def test_a_healthy_machine_passes(healthy: Box) -> None:
    code, data = healthy.judge("health-check-layer1.sh")
    assert failed(data) == []
    assert code == 0
    assert set(statuses(data).values()) == {"OK"}
    assert data["evidence"] == "simulated"
    assert data["counts"] == {"ok": len(data["checks"]), "fail": 0, "skip": 0}


FAULTS = {
    "no failed units": {"systemctl": "echo 'smartd.service loaded failed failed SMART'"},
    "root file system writable": {"findmnt": "echo ro,relatime"},
    "disk /": {"df": "echo '97% 7%'"},
    "clock synchronised": {"timedatectl": "echo no"},
    "admin account": {"id": "echo cube"},
    "no empty password": {"getent": "echo 'eve::20000:0:99999:7:::'"},
    "sshd configuration": {"sshd": "echo 'line 3: Bad configuration option: Prot' >&2; exit 255"},
    "sshd answers": {"sshd": f"{SSHD} 1"},
    "firewall active": {"ufw": "echo 'Status: inactive'"},
    "fail2ban guards sshd": {"fail2ban-client": "echo 'no such jail'; exit 255"},
    "security updates": {"apt-config": "echo \"x='0'\""},
    "docker answers": {"docker": "exit 1"},
    "uv": {"uv": "exit 127"},
}


@pytest.mark.parametrize("name", FAULTS)
def test_one_fault_is_found_and_named(healthy: Box, name: str) -> None:
    for program, script in FAULTS[name].items():
        healthy.fake_script(program, script)
    code, data = healthy.judge("health-check-layer1.sh")
    assert code == 1
    assert name in failed(data)


@pytest.mark.parametrize(
    ("option", "value"), [("passwordauthentication", "yes"), ("permitrootlogin", "yes")]
)
def test_a_lax_sshd_is_found(healthy: Box, port: int, option: str, value: str) -> None:
    settings = {"permitrootlogin": "no", "passwordauthentication": "no", option: value}
    lines = "".join(f"echo {key} {word};" for key, word in settings.items())
    healthy.fake_script("sshd", f"echo port {port}; {lines}")
    assert failed(healthy.judge("health-check-layer1.sh")[1]) == [f"sshd {option}"]


def test_a_firewall_that_lets_in_is_found(healthy: Box) -> None:
    healthy.fake("ufw", UFW.replace("deny (incoming)", "allow (incoming)"))
    assert failed(healthy.judge("health-check-layer1.sh")[1]) == ["firewall active"]


def test_a_masked_upgrade_timer_is_found(healthy: Box) -> None:
    _, data = healthy.judge("health-check-layer1.sh", UPGRADE_TIMER="masked")
    assert failed(data) == ["security updates"]


def test_the_clock_has_time_to_settle_after_a_boot(healthy: Box) -> None:
    healthy.fake("timedatectl", "no")
    healthy.fake("ps", "     60")
    code, data = healthy.judge("health-check-layer1.sh")
    assert code == 0
    assert statuses(data)["clock synchronised"] == "SKIP"


def test_a_container_has_no_clock_of_its_own(healthy: Box) -> None:
    healthy.fake("systemd-detect-virt", "systemd-nspawn")
    healthy.fake("timedatectl", "no")
    _, data = healthy.judge("health-check-layer1.sh")
    assert statuses(data)["clock synchronised"] == "SKIP"


def test_a_role_that_was_left_out_is_skipped(healthy: Box) -> None:
    healthy.install(1, without=("docker",))
    code, data = healthy.judge("health-check-layer1.sh", NO_DOCKER="1")
    assert code == 0
    assert statuses(data)["role docker"] == "SKIP"
    assert "docker answers" not in statuses(data)
