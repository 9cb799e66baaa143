"""What the checks of layer 1 share: somebody who looks at the box from outside."""

from collections.abc import Iterator

import pytest
from testinfra.host import Host

from checks.layer1.network_peer import CLOSE_WIRE, OPEN_WIRE, SPACE, Stranger, serve
from checks.layer1.ssh_listeners import ASK, Listener, parse


@pytest.fixture(scope="module")
def stranger(host: Host) -> Iterator[Stranger]:
    """Somebody on another machine, who is gone when the checks of the file are done."""
    made = host.run(f"{CLOSE_WIRE}; {OPEN_WIRE}")
    try:
        assert made.rc == 0, f"no network name space can be made: {made.stderr}"
        yield Stranger(host)
    finally:
        host.run(CLOSE_WIRE)


@pytest.fixture(scope="module")
def listener(host: Host) -> Iterator[int]:
    """Port of a server on the box, on all its addresses, that no firewall rule lets through."""
    yield from serve(host, 28080)


@pytest.fixture(scope="module")
def outside(host: Host, stranger: Stranger) -> Iterator[int]:  # noqa: ARG001 (the place)
    """Port of a server on the stranger's machine."""
    yield from serve(host, 28081, f"ip netns exec {SPACE} ")


@pytest.fixture(scope="module")
def ssh_listener(host: Host) -> Listener:
    """Where sshd listens, on all addresses if there is such a place."""
    found = parse(host.check_output(ASK))
    assert found, "sshd listens nowhere"
    return found[0]


@pytest.fixture(scope="module")
def ssh_port(ssh_listener: Listener) -> int:
    """The port of sshd, as somebody on another machine sees it."""
    if not ssh_listener.everywhere:
        pytest.skip(f"deferred: sshd listens on {ssh_listener.address} only")
    return ssh_listener.port


@pytest.fixture(scope="module")
def ipv6(host: Host) -> bool:
    """Whether the firewall lets IPv6 through. Source: ufw-init-functions, ufw_start."""
    asked = "grep -qiE '^IPV6=\"?yes\"?' /etc/default/ufw && ip6tables --wait 10 -S INPUT"
    return bool(host.run(asked).rc == 0)
