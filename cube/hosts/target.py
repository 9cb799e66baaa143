"""A box that a word on the command line names, and how it is reached."""

from dataclasses import dataclass
from pathlib import Path

from cube.config import Spec
from cube.config.model import Host
from cube.machines import Endpoint, address, directory
from cube.machines.address import Address
from cube.runtime import redact, run
from cube.runtime.errors import CubeError, HostError

FORMS = "write a name of [hosts.NAME] in cube.toml, or user@address[:port]"


@dataclass(frozen=True, kw_only=True)
class Box:
    """A live machine that layers are applied to.

    Args:
        name: what the user calls it.
        endpoint: where its sshd answers, and a key that may be let in.
        building: it is a machine of the pipeline: what is build-only reaches it.
        sockets: folder where ssh keeps one connection open for all commands; None: one each.
    """

    name: str
    endpoint: Endpoint
    building: bool = False
    sockets: Path | None = None


def find(spec: Spec, word: str) -> list[Box]:
    """Return the ways to log in to what a word names, best first; they differ in their key.

    Args:
        spec: names hosts and the build folder.
        word: a name of ``[hosts.NAME]``, ``user@address[:port]``, ``ssh://user@address:port``,
            or a machine that ``cube up`` left up.

    Raises:
        CubeError: nothing is called so, or the address is malformed.
        HostError: there is no key to log in with, or only a way that is not supported.
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
        return locate(from_table(word, found))
    return [Box(name=word, endpoint=found.endpoint, building=True)]


def is_address(word: str) -> bool:
    """Tell an address given ad hoc from a name or a pattern."""
    return "@" in word or "://" in word


def from_table(name: str, host: Host) -> Address:
    """Return the address in a ``[hosts.NAME]`` table of cube.toml."""
    return Address(name=name, host=host.address, port=host.port, user=host.user, key=host.key)


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


def locate(found: Address) -> list[Box]:
    """Fill in what OpenSSH's configuration knows of an address.

    Raises:
        HostError: there is no key file, or the box is behind another host.
    """
    settings = parse_settings(run.run(settings_args(found)).stdout)
    detour = [
        name for name in ("proxyjump", "proxycommand") if settings.get(name, ["none"]) != ["none"]
    ]
    if detour:
        raise HostError(
            f"{found.name}: your SSH configuration reaches it by {detour[0]}, cube does not",
            hint="forward a port (ssh -L 2222:BOX:22 GATE) and name user@localhost:2222",
        )
    keys = [found.key] if found.key else existing(settings.get("identityfile", []))
    if not keys:
        raise HostError(
            f"{found.name}: there is no key to log in with",
            hint='make one (ssh-keygen -t ed25519), or name one: key = "FILE" in [hosts.NAME], or'
            " ssh://user@address?ssh_identity_file=FILE",
        )
    known = existing_first(settings.get("userknownhostsfile", []))
    return [
        Box(
            name=found.name,
            endpoint=Endpoint(
                host=settings["hostname"][0],
                port=int(settings["port"][0]),
                user=settings["user"][0],
                key_file=key,
                known_hosts=found.known_hosts or known,
            ),
        )
        for key in keys
    ]


def settings_args(found: Address) -> list[str]:
    """Build the command that prints OpenSSH's settings for an address. Source: ssh(1), -G."""
    port = ["-p", str(found.port)] if found.port else []
    user = ["-l", found.user] if found.user else []
    return ["ssh", "-G", *port, *user, "--", found.host]


def parse_settings(text: str) -> dict[str, list[str]]:
    """Read ``name value ...`` lines; a name may come several times."""
    settings: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        # The path of a key may have blanks; only other settings are lists of words.
        settings.setdefault(name, []).extend([value] if name == "identityfile" else value.split())
    return settings


def existing(names: list[str]) -> list[Path]:
    """Return the files of a list that are there."""
    paths = [Path(name).expanduser() for name in names]
    return [path for path in paths if path.is_file()]


def existing_first(names: list[str]) -> Path:
    """Return the first file of a list that is there, else the one that would be made."""
    return (existing(names) or [Path(name).expanduser() for name in names])[0]
