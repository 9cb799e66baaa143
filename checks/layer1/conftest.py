"""What the checks of layer 1 share: somebody who looks at the box from outside."""

from collections.abc import Iterator

import pytest
from testinfra.host import Host

from checks.layer1.network_peer import CLOSE_WIRE, OPEN_WIRE, SPACE, Stranger, serve


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
def ssh_port(host: Host) -> int:
    """The port of sshd."""
    return int(host.check_output("sshd -T | sed -n 's/^port //p'").split()[0])
