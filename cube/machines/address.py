"""Where a host is reached: read from text, and written as text."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from cube.machines import Endpoint

#: Options that an address may carry.
OPTIONS = {"ssh_identity_file", "known_hosts"}


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
    """

    name: str
    host: str
    port: int = 0
    user: str = ""
    key: Path | None = None
    known_hosts: Path | None = None

    def __str__(self) -> str:
        """Return ``user@host:port``, an IPv6 address in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        login = f"{self.user}@" if self.user else ""
        return f"{login}{host}:{self.port}" if self.port else f"{login}{host}"

    @property
    def url(self) -> str:
        """Return ``ssh://user@host:port?ssh_identity_file=FILE&known_hosts=FILE``."""
        files = {"ssh_identity_file": self.key, "known_hosts": self.known_hosts}
        query = urlencode({name: str(path) for name, path in files.items() if path})
        return f"ssh://{self}{'?' if query else ''}{query}"


def of(endpoint: Endpoint, *, name: str = "") -> Address:
    """Return the address of a machine that is up."""
    return Address(
        name=name or endpoint.host,
        host=endpoint.host,
        port=endpoint.port,
        user=endpoint.user,
        key=endpoint.key_file,
        known_hosts=endpoint.known_hosts,
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
    shown = parts.netloc if port else parts.netloc.removesuffix(":")
    return Address(name=shown, host=parts.hostname, port=port, **login(parts.username, options))


def login(user: str | None, options: dict[str, str]) -> dict[str, Any]:
    """Return how an address logs in."""
    return {
        "user": user or "",
        "key": file_of(options.get("ssh_identity_file")),
        "known_hosts": file_of(options.get("known_hosts")),
    }


def file_of(text: str | None) -> Path | None:
    """Return the path that an option names, if there is one."""
    return Path(text).expanduser().absolute() if text else None
