"""fail2ban sees real failed logins and shuts the door on who makes them."""

import time
from collections.abc import Callable, Iterator

import pytest
from testinfra.host import Host

from checks.layer1.network_peer import BURGLARS, Net, Stranger

#: Seconds in which a ban must follow too many failed logins: OpenSSH itself keeps out, for a while,
#: who has failed a few times. Source: sshd_config(5), PerSourcePenalties, since OpenSSH 9.8.
BAN_S = 90
#: Seconds in which the firewall must follow the ban: fail2ban lists an address before it runs the
#: action that shuts it out.
SHUT_S = 20


#: Knock once. A ban cuts an open connection: without a limit ssh would wait for ever.
KNOCK = (
    "timeout 20 ssh -F none -o BatchMode=yes -o ConnectTimeout=5 -o StrictHostKeyChecking=no "
    "-o UserKnownHostsFile=/dev/null -o LogLevel=ERROR "
)


@pytest.fixture(scope="module", params=BURGLARS)
def account(request: pytest.FixtureRequest) -> str:
    """An account that somebody tries to log in to."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def burglar(account: str) -> Net:
    """The wire of who tries."""
    return BURGLARS[account]


@pytest.fixture(scope="module")
def banned(
    host: Host, stranger: Stranger, ssh_port: int, burglar: Net, account: str
) -> Iterator[bool]:
    """Knock until fail2ban bans, and lift the ban afterwards."""
    knock = f"{KNOCK} -b {burglar.stranger} -p {ssh_port} {account}@{burglar.box} || true"

    def knock_once_more() -> bool:
        stranger.run(knock)
        return burglar.stranger in host.check_output("fail2ban-client get sshd banip").split()

    try:
        # Of lines that come at once, fail2ban may miss some: a burglar goes on, and so do we.
        yield wait_until(knock_once_more, BAN_S)
    finally:
        host.run("fail2ban-client set sshd unbanip %s", burglar.stranger)


def wait_until(condition: Callable[[], bool], limit_s: float) -> bool:
    """Tell whether a condition comes to hold in time."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(1)
    return False


def test_fail2ban_runs(host: Host) -> None:
    assert host.service("fail2ban").is_running


def test_fail2ban_starts_at_boot(host: Host) -> None:
    assert host.check_output("systemctl is-enabled fail2ban.service") == "enabled"


def test_sshd_jail_reads_the_journal(host: Host) -> None:
    assert "Journal matches" in host.check_output("fail2ban-client status sshd")


def test_failed_logins_lead_to_a_ban(banned: bool) -> None:
    assert banned, f"no ban within {BAN_S} s of too many failed logins"


def test_a_banned_address_cannot_connect(
    stranger: Stranger, banned: bool, ssh_port: int, burglar: Net
) -> None:
    assert banned
    assert wait_until(
        lambda: not stranger.reaches(burglar.box, ssh_port, source=burglar.stranger), SHUT_S
    ), f"it still connects {SHUT_S} s after the ban"
