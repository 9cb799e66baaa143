"""The machines that can be judged by name."""

from cube.config import Spec
from cube.config.model import Host
from cube.machines import address, directory
from cube.machines.address import Address


def known_targets(spec: Spec) -> dict[str, Address]:
    """Return every machine that has a name, by name; see `cube.machines.directory.known`."""
    return {
        name: address.from_table(name, one)
        if isinstance(one, Host)
        else address.of(one.endpoint, name=name)
        for name, one in directory.known(spec).items()
    }
