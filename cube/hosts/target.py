"""A box that a word on the command line names, and how it is reached."""

from dataclasses import dataclass

from cube.config import Spec
from cube.config.model import Host
from cube.machines import Endpoint, address, directory, openssh
from cube.machines.address import Address
from cube.runtime import redact
from cube.runtime.errors import CubeError, HostError

FORMS = "write a name of [hosts.NAME] in cube.toml, or user@address[:port]"


@dataclass(frozen=True, kw_only=True)
class Box:
    """A live machine that layers are applied to.

    Args:
        name: what the user calls it.
        endpoint: where its sshd answers, and a key that may be let in.
        building: it is a machine of the pipeline: what is build-only reaches it.
    """

    name: str
    endpoint: Endpoint
    building: bool = False


def find(spec: Spec, word: str) -> Box:
    """Return what a word names, and how it is reached.

    Args:
        spec: names hosts and the build folder.
        word: a name of ``[hosts.NAME]``, ``user@address[:port]``, ``ssh://user@address:port``,
            or a machine that ``cube up`` left up.

    Raises:
        CubeError: nothing is called so, or the address is malformed.
        HostError: the key file that was named is not there.
    """
    if is_address(word):
        return locate(parse(word))
    found = directory.known(spec).get(word)
    if found is None:
        raise CubeError(
            f"no host is called {word} (known: {directory.listed(spec)})",
            hint=FORMS,
        )
    if isinstance(found, Host):
        return locate(address.from_table(word, found))
    return Box(name=word, endpoint=found.endpoint, building=True)


def is_address(word: str) -> bool:
    """Tell an address given ad hoc from a name or a pattern."""
    return "@" in word or "://" in word


def parse(word: str) -> Address:
    """Read an address given ad hoc.

    Raises:
        CubeError: it is none.
    """
    redact.remember(word)
    try:
        return address.parse(word)
    except ValueError as error:
        raise CubeError(f"{word}: not an address of a host: {error}", hint=FORMS) from error


def locate(found: Address) -> Box:
    """Fill in what OpenSSH's configuration knows of an address.

    Raises:
        HostError: there is no such key file.
    """
    if found.key and not found.key.is_file():
        raise HostError(
            f"{found.name}: there is no key {found.key}",
            hint='name one: key = "FILE" in [hosts.NAME], or'
            " ssh://user@address?ssh_identity_file=FILE; without one, OpenSSH's own keys are tried",
        )
    return Box(name=found.name, endpoint=openssh.resolve(found))
