"""health-check-layer1.sh over a simulated machine: healthy, then with one fault at a time."""

import socket
import threading
from collections.abc import Iterator

import pytest

from .conftest import Box, failed, statuses

SYSTEMCTL = """case "$1 $2" in
  "list-units --state=failed") printf '%s' "$FAILED_UNITS" ;;
  "is-enabled apt-daily-upgrade.timer") echo "${UPGRADE_TIMER:-enabled}" ;;
  "is-enabled nftables.service") echo "${NFTABLES:-masked}"; exit 1 ;;
esac"""
DOCKER = "[[ -z ${NO_DOCKER:-} ]] || { echo no daemon; exit 1; }; echo 27"
SSHD = "echo permitrootlogin no; echo passwordauthentication no; echo listenaddress 0.0.0.0"
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
    box.fake_script("sshd", f"{SSHD}:{port}")
    box.fake("ufw", UFW)
    box.fake("fail2ban-client", "Status for the jail: sshd\n   |- Currently banned: 0")
    box.fake("apt-config", "Unattended-Upgrade='1'")
    box.fake("apt-get", "0 upgraded, 0 newly installed, 0 to remove")
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
    "sshd answers": {"sshd": f"{SSHD}:1"},
    "firewall active": {"ufw": "echo 'Status: inactive'"},
    "fail2ban guards sshd": {"fail2ban-client": "echo 'no such jail'; exit 255"},
    "old kernels": {"apt-get": "echo 'E: broken'; exit 100"},
    "firewall is kept": {"systemctl": "echo enabled"},
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
    healthy.fake_script("sshd", f"echo listenaddress 0.0.0.0:{port}; {lines}")
    assert failed(healthy.judge("health-check-layer1.sh")[1]) == [f"sshd {option}"]


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ("echo port 22; echo listenaddress 0.0.0.0:{port}", "OK"),
        ("echo port {port}; echo listenaddress 127.0.0.1:1", "FAIL"),
        ("echo listenaddress [::]:{port}; echo listenaddress 0.0.0.0:{port}", "OK"),
        ("echo listenaddress 0.0.0.0:{port}; echo listenaddress 127.0.0.1:1", "FAIL"),
    ],
)
def test_sshd_is_asked_where_it_listens(healthy: Box, port: int, answer: str, status: str) -> None:
    strict = "echo permitrootlogin no; echo passwordauthentication no;"
    healthy.fake_script("sshd", strict + answer.format(port=port))
    assert statuses(healthy.judge("health-check-layer1.sh")[1])["sshd answers"] == status


def test_a_socket_of_systemd_says_where_sshd_listens(healthy: Box, port: int) -> None:
    healthy.fake_script("sshd", f"{SSHD}:1")
    socket_ = (
        f'case "$1 $2 $3" in "is-active ssh.socket "*) echo active ;;'
        f' "show --property=Listen ssh.socket") echo "Listen=[::]:{port} (Stream)";'
        f' echo "Listen=0.0.0.0:{port} (Stream)" ;; esac\n'
    )
    healthy.fake_script("systemctl", socket_ + SYSTEMCTL)
    assert statuses(healthy.judge("health-check-layer1.sh")[1])["sshd answers"] == "OK"


def test_a_firewall_that_lets_in_is_found(healthy: Box) -> None:
    healthy.fake("ufw", UFW.replace("deny (incoming)", "allow (incoming)"))
    assert failed(healthy.judge("health-check-layer1.sh")[1]) == ["firewall active"]


@pytest.mark.parametrize("state", ["enabled", "enabled-runtime"])
def test_what_flushes_the_firewall_is_found(healthy: Box, state: str) -> None:
    _, data = healthy.judge("health-check-layer1.sh", NFTABLES=state)
    assert failed(data) == ["firewall is kept"]


@pytest.mark.parametrize("state", ["masked", "disabled", ""])
def test_what_cannot_start_flushes_nothing(healthy: Box, state: str) -> None:
    assert healthy.judge("health-check-layer1.sh", NFTABLES=state)[0] == 0


@pytest.mark.parametrize(
    ("packages", "told"),
    [("linux-image-amd64\nlibc6\nlibc6\n", "libc6 linux-image-amd64"), (None, "an update")],
)
def test_a_restart_that_is_due_is_told_and_is_no_fault(
    healthy: Box, packages: str | None, told: str
) -> None:
    healthy.write("run/reboot-required", "*** System restart required ***\n")
    if packages:
        healthy.write("run/reboot-required.pkgs", packages)
    code, data = healthy.judge("health-check-layer1.sh")
    (row,) = [one for one in data["checks"] if one["name"] == "no restart is due"]
    assert (code, row["status"]) == (0, "SKIP")
    assert row["detail"] == f"one is, for {told}: sudo systemctl reboot"


def test_kernels_that_can_go_are_named(healthy: Box) -> None:
    plan = "Remv linux-image-6.12.1+deb13-amd64 [6.12.1-1]\nRemv libx [1]\n"
    healthy.fake("apt-get", plan)
    code, data = healthy.judge("health-check-layer1.sh")
    (row,) = [one for one in data["checks"] if one["name"] == "old kernels"]
    assert (code, row["status"]) == (0, "SKIP")
    assert row["detail"] == "sudo apt-get autoremove removes linux-image-6.12.1+deb13-amd64"


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
