"""Whose rules count, and on which ports sshd is reached."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from deploy.facts import firewall as facts
from deploy.facts.firewall import Firewall, Rule, State
from deploy.facts.sshd import ConnectionPort, SshPorts
from deploy.facts.systemd import Reading, Readings
from deploy.operations import firewall
from deploy.runner.sources import ROOT

TUPLE = "rule "


@pytest.mark.parametrize(
    ("tuple_", "port", "counts"),
    [
        ("allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in comment=535348", 22, True),
        ("allow tcp 22 0.0.0.0/0 any 0.0.0.0/0", 22, True),  # as old versions wrote it
        ("limit tcp 22 0.0.0.0/0 any 0.0.0.0/0 in", 22, True),
        ("reject tcp 22 0.0.0.0/0 any 0.0.0.0/0 in", 22, True),
        ("deny any 22 0.0.0.0/0 any 203.0.113.0/24 in", 22, True),
        ("allow_log tcp 22 0.0.0.0/0 any 0.0.0.0/0 in", 22, True),
        ("allow tcp 22 0.0.0.0/0 any 192.0.2.0/24 in", 22, True),
        ("allow tcp 22 192.0.2.10 any 0.0.0.0/0 in", 22, True),
        ("allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 OpenSSH - in", 22, True),
        ("allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 My%20SSH - in_eth0 comment=61", 22, True),
        ("allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in_eth0", 22, True),
        ("allow tcp 22 ::/0 any ::/0 in", 22, True),
        ("allow tcp 22,2222 0.0.0.0/0 any 0.0.0.0/0 in", 2222, True),
        ("allow tcp 20:30 0.0.0.0/0 any 0.0.0.0/0 in", 22, True),
        ("allow tcp 80,2200:2300 0.0.0.0/0 any 0.0.0.0/0 in", 2222, True),
        ("allow tcp 2222 0.0.0.0/0 any 0.0.0.0/0 in", 22, False),
        ("allow udp 22 0.0.0.0/0 any 0.0.0.0/0 in", 22, False),
        ("allow tcp any 0.0.0.0/0 22 0.0.0.0/0 in", 22, False),  # where they come from
        ("allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 out", 22, False),
        ("allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 OpenSSH - out_eth0", 22, False),
        ("route:allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in", 22, False),
    ],
)
def test_any_rule_of_the_owner_on_the_port_counts(tuple_: str, port: int, counts: bool) -> None:
    found = Firewall().process(["Status: inactive", TUPLE + tuple_])
    assert firewall.is_settled(found, port) is counts


ANYWHERE = "allow any any 0.0.0.0/0 any {} in"


@pytest.mark.parametrize(
    ("tuple_", "active", "policy", "counts"),
    [
        ("allow any any 0.0.0.0/0 any 192.0.2.0/24 in", True, "DROP", True),
        ("allow any any 0.0.0.0/0 any 0.0.0.0/0 in_wg0", True, "REJECT", True),
        ("allow any any 0.0.0.0/0 any 192.0.2.0/24 in", False, "DROP", False),
        ("allow any any 0.0.0.0/0 any 192.0.2.0/24 in", True, "ACCEPT", False),
        ("deny any any 0.0.0.0/0 any 203.0.113.7 in", True, "DROP", False),
        ("allow udp any 0.0.0.0/0 any 192.0.2.0/24 in", True, "DROP", False),
    ],
)
def test_a_rule_for_all_ports_counts_where_we_came_in_by_it(
    tuple_: str, active: bool, policy: str, counts: bool
) -> None:
    status = "Status: active" if active else "Status: inactive"
    found = Firewall().process([status, f"policy INPUT {policy}", TUPLE + tuple_])
    assert firewall.is_settled(found, 22) is counts


def test_policies_are_read_from_the_file_that_ufw_reads(tmp_path: Path) -> None:
    settings = tmp_path / "ufw"
    settings.write_text('# INPUT\nDEFAULT_INPUT_POLICY="REJECT"\nDEFAULT_OUTPUT_POLICY=ACCEPT\n')
    script = facts.ASK.replace("/etc/default/ufw", str(settings))
    script = script.replace("LC_ALL=C.UTF-8 ufw status", "echo Status: active")
    rules = tmp_path / "user.rules"
    rules.write_text("*filter\n\n### tuple ### limit tcp 22 0.0.0.0/0 any 0.0.0.0/0 in\n-A x\n")
    script = script.replace("/etc/ufw/user", str(tmp_path / "user"))
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert Firewall().process(done.stdout.splitlines()) == State(
        active=True,
        incoming="REJECT",
        outgoing="ACCEPT",
        rules=(Rule(action="limit", protocol="tcp", ports="22"),),
    )


#: What OpenSSH 9.2's sshd -T prints of these settings, by the settings.
SSHD = {
    "": ["port 22", "listenaddress [::]:22", "listenaddress 0.0.0.0:22"],
    "Port 2222": ["port 2222", "listenaddress [::]:2222", "listenaddress 0.0.0.0:2222"],
    "ListenAddress 0.0.0.0:2222": ["port 22", "listenaddress 0.0.0.0:2222"],
    "Port 22, Port 2200, ListenAddress 192.0.2.1 and [2001:db8::1]:2022": [
        "port 22",
        "port 2200",
        "listenaddress 192.0.2.1:22",
        "listenaddress 192.0.2.1:2200",
        "listenaddress [2001:db8::1]:2022",
    ],
    "AddressFamily inet6, Port 24": ["port 24", "listenaddress [::]:24"],
}


@pytest.mark.parametrize(
    ("lines", "ports"),
    [
        (SSHD[""], [22]),
        (SSHD["Port 2222"], [2222]),
        (SSHD["ListenAddress 0.0.0.0:2222"], [22, 2222]),
        (
            SSHD["Port 22, Port 2200, ListenAddress 192.0.2.1 and [2001:db8::1]:2022"],
            [22, 2022, 2200],
        ),
        (SSHD["AddressFamily inet6, Port 24"], [24]),
        (["listenaddress 0.0.0.0:22 rdomain vrf0"], [22]),
        ([*SSHD[""], "Listen=0.0.0.0:2222 (Stream)", "Listen=[::]:2222 (Stream)"], [22, 2222]),
        (["Listen=/run/ssh.sock (Stream)"], []),
        ([*SSHD[""], "socket 0.0.0.0:2022", "socket [::]:2022", "socket *:2023"], [22, 2022, 2023]),
        ([], []),
    ],
)
def test_sshd_is_reached_on_every_port_that_anything_names(
    lines: list[str], ports: list[int]
) -> None:
    assert SshPorts().process(lines) == ports


@pytest.mark.parametrize(
    ("line", "ports"),
    [
        ("192.0.2.7 51234 192.0.2.10 2222", [2222]),
        ("fe80::1%eth0 51234 fe80::2%eth0 22", [22]),
        ("", []),
    ],
)
def test_the_port_that_we_came_in_by_is_known(line: str, ports: list[int]) -> None:
    assert ConnectionPort().process([line]) == ports
    assert ConnectionPort().process([]) == []


def enabled(
    patch: pytest.MonkeyPatch,
    state: State,
    *,
    ports: Sequence[int] = (22,),
    ours: Sequence[int] = (),
    unread: bool = False,
) -> list[str]:
    """Return what is done on a host in this state."""
    answers: dict[object, object] = {
        Firewall: state,
        SshPorts: list(ports),
        ConnectionPort: list(ours),
        Readings: Reading(unread=("/etc/ufw/after.init",) if unread else ()),
    }

    class Host:
        def get_fact(self, fact: object, **_: object) -> object:
            return answers[fact]

    patch.setattr(firewall, "host", Host())
    return list(firewall.deny_all_but_ssh._inner(files=("/etc/ufw/after.init",)))


OFF = State(incoming="DROP", outgoing="ACCEPT")
ON = State(active=True, incoming="DROP", outgoing="ACCEPT")


@pytest.mark.parametrize(
    ("ports", "ours", "opened"),
    [
        ([22], [], [22]),
        ([22, 2222], [2222], [22, 2222]),
        ([22], [2222], [22, 2222]),  # it was moved and not restarted
        ([2222], [], [2222]),
        ([], [], [22]),
    ],
)
def test_every_port_of_sshd_is_opened(
    monkeypatch: pytest.MonkeyPatch, ports: list[int], ours: list[int], opened: list[int]
) -> None:
    expected = [f"ufw allow {port}/tcp comment SSH" for port in opened]
    done = enabled(monkeypatch, OFF, ports=ports, ours=ours)
    assert done == [*expected, "ufw --force enable"]


LIMIT = (Rule(action="limit", protocol="tcp", ports="22"),)


@pytest.mark.parametrize(
    ("state", "done"),
    [
        (State(active=True, incoming="DROP", outgoing="ACCEPT", rules=LIMIT), []),
        (State(active=True, incoming="REJECT", outgoing="REJECT", rules=LIMIT), []),
        (State(incoming="REJECT", outgoing="ACCEPT", rules=LIMIT), ["ufw --force enable"]),
        (
            State(active=True, incoming="ACCEPT", outgoing="ACCEPT", rules=LIMIT),
            ["ufw default deny incoming"],
        ),
        (
            State(rules=LIMIT),
            ["ufw default deny incoming", "ufw default allow outgoing", "ufw --force enable"],
        ),
    ],
)
def test_what_the_owner_has_set_stays(
    monkeypatch: pytest.MonkeyPatch, state: State, done: list[str]
) -> None:
    assert enabled(monkeypatch, state) == done


def test_a_firewall_that_was_off_reads_its_files_once(monkeypatch: pytest.MonkeyPatch) -> None:
    done = enabled(monkeypatch, OFF, unread=True)
    assert done[-2] == "ufw --force enable"
    assert "systemctl restart ufw.service" in done[-1]
    assert "/run/cube/read/ufw.service" in done[-1]


SCRIPT = ROOT / "files/security/ufw-docker"


@pytest.mark.parametrize(
    ("setting", "kernel", "loaded"),
    [
        ("IPV6=yes", True, ["iptables", "ip6tables"]),
        ('IPV6="YES"', True, ["iptables", "ip6tables"]),
        ("IPV6=no", True, ["iptables"]),
        ("# nothing", True, ["iptables"]),
        ("IPV6=yes", False, ["iptables"]),  # a kernel without IPv6
    ],
)
def test_docker_is_behind_the_firewall_where_ufw_filters(
    tmp_path: Path, setting: str, kernel: bool, loaded: list[str]
) -> None:
    (tmp_path / "ufw").write_text(setting + "\n")
    for name in ("iptables", "ip6tables"):
        check = tmp_path / name
        check.write_text(f"#!/bin/sh\nexit {0 if kernel or name == 'iptables' else 1}\n")
        restore = tmp_path / f"{name}-restore"
        restore.write_text(f"#!/bin/sh\ncat >/dev/null; echo {name} >>{tmp_path}/loaded\n")
        check.chmod(0o755)
        restore.chmod(0o755)
    script = SCRIPT.read_text().replace("/etc/default/ufw", str(tmp_path / "ufw"))
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "IPV6": "yes"}
    argv = ["sh", "-c", script, "after.init", "start"]
    subprocess.run(argv, env=env, check=True, timeout=20)
    assert (tmp_path / "loaded").read_text().split() == loaded
