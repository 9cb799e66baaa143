"""The machines that can be judged by name."""

from checks.targets import from_host
from cube import address, hosts
from cube.address import Address
from cube.spec import Spec
from cube.spec.model import Host


def known_targets(spec: Spec) -> dict[str, Address]:
    """Return every machine that has a name, by name; see `cube.hosts.known`."""
    return {
        name: from_host(name, one) if isinstance(one, Host) else address.of(one.endpoint, name=name)
        for name, one in hosts.known(spec).items()
    }
