"""fail2ban sees real failed logins and shuts the door on who makes them."""

import time
from collections.abc import Callable, Iterator

import pytest
from testinfra.host import Host

from checks.layer1.wire import BURGLAR, Stranger

#: Seconds in which a ban must follow too many failed logins, and the firewall the ban: fail2ban
#: lists an address before it runs the action that shuts it out.
BAN_S = 20


#: Knock once. A ban cuts an open connection: without a limit ssh would wait for ever.
KNOCK = (
    "timeout 20 ssh -F none -o BatchMode=yes -o ConnectTimeout=5 -o StrictHostKeyChecking=no "
    "-o UserKnownHostsFile=/dev/null -o LogLevel=ERROR "
)


@pytest.fixture(scope="module")
def banned(host: Host, stranger: Stranger, ssh_port: int) -> Iterator[bool]:
    """Knock as nobody until fail2ban bans, and lift the ban afterwards."""
    knock = f"{KNOCK} -b {BURGLAR.stranger} -p {ssh_port} nobody-at-all@{BURGLAR.box} || true"

    def knock_once_more() -> bool:
        stranger.run(knock)
        return is_listed(host)

    try:
        for _ in range(int(host.check_output("fail2ban-client get sshd maxretry"))):
            stranger.run(knock)
        # Of lines that come at once, fail2ban may miss some: a burglar goes on, and so do we.
        yield wait_until(knock_once_more)
    finally:
        host.run("fail2ban-client set sshd unbanip %s", BURGLAR.stranger)


def is_listed(host: Host) -> bool:
    """Tell whether fail2ban says that the burglar is banned."""
    return BURGLAR.stranger in host.check_output("fail2ban-client get sshd banip").split()


def wait_until(condition: Callable[[], bool]) -> bool:
    """Tell whether a condition comes to hold in time."""
    deadline = time.monotonic() + BAN_S
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(1)
    return False


def test_fail2ban_runs(host: Host) -> None:
    assert host.service("fail2ban").is_running


def test_fail2ban_starts_at_boot(host: Host) -> None:
    assert host.service("fail2ban").is_enabled


def test_sshd_jail_reads_the_journal(host: Host) -> None:
    assert "Journal matches" in host.check_output("fail2ban-client status sshd")


def test_failed_logins_lead_to_a_ban(banned: bool) -> None:
    assert banned, f"no ban within {BAN_S} s of too many failed logins"


def test_a_banned_address_cannot_connect(stranger: Stranger, banned: bool, ssh_port: int) -> None:
    assert banned
    assert wait_until(
        lambda: not stranger.reaches(BURGLAR.box, ssh_port, source=BURGLAR.stranger)
    ), f"it still connects {BAN_S} s after the ban"
