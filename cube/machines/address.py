"""Where a host is reached: read from text, and written as text."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlencode, urlsplit

from cube.config.model import Host
from cube.machines import Endpoint

#: Options that an address may carry.
OPTIONS = {"ssh_identity_file", "known_hosts", "config", "become", "terminal", "secret", "sockets"}
#: What some of them may say.
CHOICES = {"config": ("none",), "become": ("sudo", "su"), "terminal": ("yes", "no")}
#: Of a machine whose address names none, where OpenSSH's configuration does not count.
PORT = 22


@dataclass(frozen=True, kw_only=True)
class Address:
    """A host and how to log in; what is 0, "" or None is left to OpenSSH's configuration.

    Args:
        name: what people call it.
        host: name or IP address, or an alias of OpenSSH's configuration.
        port: of sshd.
        user: login.
        key: private key.
        known_hosts: file of its host keys.
        config: whether OpenSSH's configuration counts.
        become: how to become root: ``sudo`` or ``su``.
        terminal: sudo wants a terminal.
        secret: socket of whoever knows the password.
        sockets: folder where ssh keeps one connection open for all commands.
    """

    name: str
    host: str
    port: int = 0
    user: str = ""
    key: Path | None = None
    known_hosts: Path | None = None
    config: bool = True
    become: Literal["sudo", "su"] = "sudo"
    terminal: bool = False
    secret: Path | None = None
    sockets: Path | None = None

    def __str__(self) -> str:
        """Return ``user@host:port``, an IPv6 address in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        login = f"{self.user}@" if self.user else ""
        return f"{login}{host}:{self.port}" if self.port else f"{login}{host}"

    @property
    def url(self) -> str:
        """Return ``ssh://user@host:port?ssh_identity_file=FILE&known_hosts=FILE&...``."""
        options = {
            "ssh_identity_file": self.key,
            "known_hosts": self.known_hosts,
            "config": "" if self.config else "none",
            "become": self.become.removeprefix("sudo"),
            "terminal": "yes" if self.terminal else "",
            "secret": self.secret,
            "sockets": self.sockets,
        }
        query = urlencode({name: str(value) for name, value in options.items() if value})
        return f"ssh://{self}{'?' if query else ''}{query}"


def of(endpoint: Endpoint, *, name: str = "") -> Address:
    """Return the address of a machine that is up, for another program of this session."""
    host = endpoint.alias or endpoint.host
    return Address(
        name=name or host,
        host=host,
        port=endpoint.port,
        user=endpoint.user,
        key=endpoint.key_file,
        known_hosts=endpoint.known_hosts,
        config=bool(endpoint.alias),
        become=endpoint.become,
        terminal=endpoint.terminal,
        secret=endpoint.secret,
        sockets=endpoint.sockets,
    )


def lasting(endpoint: Endpoint) -> Address:
    """Return the address of a machine for a person: without what ends with this session."""
    return replace(of(endpoint), secret=None, sockets=None)


def from_table(name: str, host: Host) -> Address:
    """Return the address in a ``[hosts.NAME]`` table of cube.toml."""
    return Address(
        name=name,
        host=host.address,
        port=host.port or 0,
        user=host.user,
        key=host.key,
        become=host.become,
    )


def plain_endpoint(found: Address) -> Endpoint:
    """Return where an address is reached without OpenSSH's configuration."""
    return Endpoint(
        host=found.host,
        port=found.port or PORT,
        user=found.user,
        key_file=found.key,
        known_hosts=found.known_hosts,
        become=found.become,
        terminal=found.terminal,
        secret=found.secret,
        sockets=found.sockets,
    )


def parse(text: str) -> Address:
    """Read ``[ssh://][user@]host[:port][?ssh_identity_file=FILE&known_hosts=FILE]``.

    Raises:
        ValueError: it is none; the reason has no part of a password.
    """
    try:
        parts = urlsplit(text if "://" in text else f"ssh://{text}")
        port = parts.port or 0
    except ValueError:
        raise ValueError("no address") from None
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    if unknown := sorted(options.keys() - OPTIONS):
        raise ValueError(f"unknown option {unknown[0]}")
    if parts.scheme != "ssh" or not parts.hostname or parts.path not in {"", "/"}:
        raise ValueError("no host, or more than one")
    if parts.password:
        raise ValueError("a password in it")
    for option, allowed in CHOICES.items():
        if options.get(option, allowed[0]) not in allowed:
            raise ValueError(f"{option} must be {' or '.join(allowed)}")
    shown = parts.netloc if port else parts.netloc.removesuffix(":")
    return Address(name=shown, host=parts.hostname, port=port, **login(parts.username, options))


def login(user: str | None, options: dict[str, str]) -> dict[str, Any]:
    """Return how an address logs in."""
    return {
        "user": user or "",
        "key": file_of(options.get("ssh_identity_file")),
        "known_hosts": file_of(options.get("known_hosts")),
        "config": options.get("config") != "none",
        "become": options.get("become", "sudo"),
        "terminal": options.get("terminal") == "yes",
        "secret": file_of(options.get("secret")),
        "sockets": file_of(options.get("sockets")),
    }


def file_of(text: str | None) -> Path | None:
    """Return the path that an option names, if there is one."""
    return Path(text).expanduser().absolute() if text else None
