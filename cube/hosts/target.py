"""A box that a word on the command line names, and how it is reached."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cube.config import Spec
from cube.config.model import Host
from cube.config.workspace import Workspace
from cube.machines import Endpoint, record
from cube.runtime import redact, run
from cube.runtime.errors import CubeError, HostError

FORMS = "write a name of [hosts.NAME] in cube.toml, or user@address[:port]"
#: Options that an address may carry, as those of ``pytest checks/ --hosts=ssh://...``.
OPTIONS = {"ssh_identity_file", "known_hosts"}


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


@dataclass(frozen=True, kw_only=True)
class Address:
    """What is known of a box before OpenSSH's configuration is asked; 0 and "" mean unknown."""

    name: str
    address: str
    port: int = 0
    user: str = ""
    key: Path | None = None
    known_hosts: Path | None = None


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
    if word in spec.hosts:
        return locate(from_table(word, spec.hosts[word]))
    if "@" in word or "://" in word:
        return locate(parse(word))
    up = record.left_up(Workspace.of(spec).machines)
    for machine in up:
        if machine.name == word:
            return [Box(name=word, endpoint=machine.endpoint, building=True)]
    names = ", ".join([*spec.hosts, *(machine.name for machine in up)]) or "none"
    raise CubeError(f"no host is called {word} (known: {names})", hint=FORMS)


def from_table(name: str, host: Host) -> Address:
    """Return the address in a ``[hosts.NAME]`` table of cube.toml."""
    return Address(
        name=name, address=host.address, port=host.port, user=host.user, key=host.key
    )  # fmt: skip


def parse(word: str) -> Address:
    """Read an address given ad hoc.

    Raises:
        CubeError: it is none.
    """
    redact.remember(word)
    url = word if "://" in word else f"ssh://{word}"
    try:
        parts = urlsplit(url)
        port = parts.port or 0
    except ValueError as error:
        # Not in its words: they may quote a part of a password.
        raise CubeError(f"{word}: not an address of a box", hint=FORMS) from error
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    strange = parts.scheme != "ssh" or not parts.hostname or parts.path not in {"", "/"}
    if strange or parts.password or options.keys() - OPTIONS:
        raise CubeError(f"{word}: not an address of a box, or more than one", hint=FORMS)
    shown = parts.netloc if port else parts.netloc.removesuffix(":")
    return Address(
        name=shown, address=str(parts.hostname), port=port, user=parts.username or "",
        key=file_of(options.get("ssh_identity_file")),
        known_hosts=file_of(options.get("known_hosts")),
    )  # fmt: skip


def file_of(text: str | None) -> Path | None:
    """Return the path that an option names, if there is one."""
    return Path(text).expanduser().absolute() if text else None


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
        Box(name=found.name, endpoint=Endpoint(
            host=settings["hostname"][0], port=int(settings["port"][0]),
            user=settings["user"][0], key_file=key, known_hosts=found.known_hosts or known,
        ))
        for key in keys
    ]  # fmt: skip


def settings_args(found: Address) -> list[str]:
    """Build the command that prints OpenSSH's settings for an address. Source: ssh(1), -G."""
    port = ["-p", str(found.port)] if found.port else []
    user = ["-l", found.user] if found.user else []
    return ["ssh", "-G", *port, *user, "--", found.address]


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
