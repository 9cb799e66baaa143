"""Which machines are judged, and how OpenSSH reaches them: pure data and text."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cube.config.model import Host
from cube.machines import Endpoint
from cube.runtime.redact import masked

#: Seconds an idle connection stays open between two commands of one session.
PERSIST_S = 60
#: Seconds to wait for sshd; a guest without KVM takes a few to answer under load.
CONNECT_S = 30


class TargetError(ValueError):
    """The machines to judge cannot be told from what was asked."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A machine to judge over SSH.

    Args:
        name: what people call it; ssh's alias and the checks' id.
        address: host name or IP address.
        port: sshd's port.
        user: login; empty leaves it to the user's own SSH configuration.
        key: private key; None leaves it to the agent and the user's configuration.
        known_hosts: file of its host keys; None takes the user's.
    """

    name: str
    address: str
    port: int = 22
    user: str = ""
    key: Path | None = None
    known_hosts: Path | None = None


def from_host(name: str, host: Host) -> Target:
    """Return the target for a ``[hosts.NAME]`` table of cube.toml."""
    return Target(name=name, address=host.address, port=host.port, user=host.user, key=host.key)


def from_endpoint(name: str, endpoint: Endpoint) -> Target:
    """Return the target for a machine of the pipeline that is up."""
    return Target(
        name=name,
        address=endpoint.host,
        port=endpoint.port,
        user=endpoint.user,
        key=endpoint.key_file,
        known_hosts=endpoint.known_hosts,
    )


def from_url(url: str) -> Target:
    """Return the target for ``ssh://[user@]host[:port][?ssh_identity_file=F&known_hosts=F]``.

    Raises:
        TargetError: the address is not of that form.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        # Not in its words: they may quote a part of a password.
        raise TargetError(f"{masked(url)}: no address: write ssh://user@host:port") from error
    query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    unknown = sorted(query.keys() - {"ssh_identity_file", "known_hosts"})
    if not parts.hostname or unknown or parts.password:
        what = f"unknown option {unknown[0]}" if unknown else "no host, or a password in it"
        raise TargetError(
            f"{masked(url)}: {what}: write ssh://user@host:port?ssh_identity_file=FILE"
        )
    # An alias for ssh and testinfra, which would take a colon for the beginning of a port.
    alias = parts.hostname.replace(":", ".")
    return Target(
        name=f"{alias}-{port}" if port else alias,
        address=parts.hostname,
        port=port or 22,
        user=parts.username or "",
        key=_path(query.get("ssh_identity_file")),
        known_hosts=_path(query.get("known_hosts")),
    )


def _path(text: str | None) -> Path | None:
    return Path(text).expanduser().absolute() if text else None


def split(asked: str) -> list[str]:
    """Return the words of ``--hosts``."""
    return [word.strip() for word in asked.split(",") if word.strip()]


def asks_for_names(asked: str) -> bool:
    """Tell whether ``--hosts`` needs the inventory."""
    words = split(asked)
    return not words or any("://" not in word for word in words)


def select(asked: str, known: Mapping[str, Target]) -> list[Target | str]:
    """Turn ``--hosts`` into targets.

    Args:
        asked: names and addresses, separated by commas; empty asks for every known machine.
        known: the inventory, by name.

    Returns:
        Targets; an address of another testinfra connection (``docker://x``) stays a string.

    Raises:
        TargetError: a name is unknown, an address is malformed, or there is no machine at all.
    """
    words = split(asked)
    if not words and not known:
        raise TargetError(
            "there is no machine to judge: add [hosts.NAME] to cube.toml, boot one with 'cube up',"
            " or name one with --hosts=ssh://user@host:port"
        )
    return [_select_one(word, known) for word in words] if words else list(known.values())


def _select_one(word: str, known: Mapping[str, Target]) -> Target | str:
    if word.startswith("ssh://"):
        return from_url(word)
    if "://" in word:
        return word
    if word not in known:
        names = ", ".join(sorted(known)) or "none"
        raise TargetError(
            f"no machine is called {word} (known: {names}): add [hosts.{word}] to cube.toml, boot"
            " one with 'cube up', or write ssh://user@host:port"
        )
    return known[word]


def render_ssh_config(targets: Iterable[Target], folder: Path) -> str:
    """Return an ssh_config(5) for the targets, with shared connections kept in `folder`.

    `folder` must have a short path: a Unix socket's is at most 107 bytes long
    (Source: unix(7), sun_path).
    """
    shared = [
        "Host *",
        "    BatchMode yes",
        "    LogLevel ERROR",
        "    ControlMaster auto",
        f"    ControlPath {folder}/%C",
        f"    ControlPersist {PERSIST_S}",
        f"    ConnectTimeout {CONNECT_S}",
        "    ServerAliveInterval 15",
        "    ServerAliveCountMax 4",
    ]
    return "\n".join([*(line for target in targets for line in _host_lines(target)), *shared, ""])


def as_word(path: Path) -> str:
    """Write a path as one word of ssh_config(5), where % begins a token.

    Source: OpenSSH, misc.c, argv_split: a backslash escapes quotes and itself.
    """
    escaped = str(path).replace("%", "%%")
    for char in "\\\"'":
        escaped = escaped.replace(char, f"\\{char}")
    return f'"{escaped}"'


def _host_lines(target: Target) -> list[str]:
    address = target.address.replace("%", "%%")  # the scope of an IPv6 address is no token
    lines = [f"Host {target.name}", f"    HostName {address}", f"    Port {target.port}"]
    if target.user:
        lines.append(f"    User {target.user}")
    if target.key:
        lines += [f"    IdentityFile {as_word(target.key)}", "    IdentitiesOnly yes"]
    if target.known_hosts:
        lines += [
            f"    UserKnownHostsFile {as_word(target.known_hosts)}",
            "    StrictHostKeyChecking accept-new",
        ]
    else:
        lines.append("    Include ~/.ssh/config")
    return lines
