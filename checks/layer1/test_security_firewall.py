"""The firewall, tried from outside: SSH is let in and nothing else is."""

import re

import pytest
from testinfra.host import Host

from checks.layer1.network_peer import KERNEL_IPV6, NETS, Stranger, connect
from checks.layer1.owner_rules import restricted


@pytest.fixture(scope="module")
def status(host: Host) -> str:
    """What ufw says of itself."""
    text: str = host.check_output("ufw status verbose")
    return text


def test_ufw_is_active(status: str) -> None:
    assert "Status: active" in status


def test_ufw_denies_what_comes_in(status: str) -> None:
    assert re.search(r"^Default: (deny|reject) \(incoming\)", status, re.MULTILINE)


def test_ufw_lets_out_what_goes_out(status: str) -> None:
    assert "allow (outgoing)" in status


def test_ufw_starts_at_boot(host: Host) -> None:
    assert host.check_output("systemctl is-enabled ufw") == "enabled"


@pytest.mark.parametrize("program", ["iptables", "ip6tables"])
def test_kernel_drops_what_no_rule_lets_in(host: Host, program: str) -> None:
    if program == "ip6tables" and not host.file(KERNEL_IPV6).exists:
        pytest.skip("deferred: the kernel has no IPv6")
    assert "-P INPUT DROP" in host.check_output(f"{program} -S INPUT")


def test_nothing_removes_the_rules_of_all_firewalls(host: Host) -> None:
    # Its unit flushes at its start and at its stop. Source: nftables.service, /etc/nftables.conf.
    assert host.run("systemctl is-enabled nftables.service").stdout.strip() == "masked"
    before = host.check_output("nft list ruleset")
    host.run("systemctl start nftables.service")
    assert host.check_output("nft list ruleset").count("chain") == before.count("chain") > 0


@pytest.fixture(scope="module")
def restrictions(host: Host, ssh_port: int) -> list[str]:
    """The owner's rules for the port of SSH that are not for everybody."""
    rules = host.check_output("cat /etc/ufw/user.rules /etc/ufw/user6.rules")
    return restricted(rules, ssh_port)


@pytest.mark.parametrize("net", NETS)
def test_ssh_is_reached_from_the(
    stranger: Stranger, ssh_port: int, restrictions: list[str], net: str, *, ipv6: bool
) -> None:
    if restrictions:
        pytest.skip(f"deferred: the owner lets in only whom {restrictions[0]!r} does")
    if net == "ipv6" and not ipv6:
        pytest.skip("deferred: the firewall is set to let no IPv6 through")
    assert stranger.reaches(NETS[net].box, ssh_port)


@pytest.mark.parametrize("net", NETS)
def test_another_port_is_not_reached_from_the(stranger: Stranger, listener: int, net: str) -> None:
    assert not stranger.reaches(NETS[net].box, listener)


def test_another_port_is_reached_from_the_box_itself(host: Host, listener: int) -> None:
    # Or "not reached" above would prove nothing.
    assert connect(host, "127.0.0.1", listener).rc == 0


def test_outgoing_connections_work(host: Host, outside: int) -> None:
    assert connect(host, NETS["internet"].stranger, outside).rc == 0
