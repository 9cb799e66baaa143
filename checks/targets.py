"""Which machines are judged, and how OpenSSH reaches them: pure data and text."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from cube.config.model import Host
from cube.machines import address
from cube.machines.address import Address
from cube.runtime.redact import masked

#: Seconds an idle connection stays open between two commands of one session.
PERSIST_S = 60
#: Seconds to wait for sshd; a guest without KVM takes a few to answer under load.
CONNECT_S = 30
#: Of an address without one.
SSH_PORT = 22


class TargetError(ValueError):
    """The machines to judge cannot be told from what was asked."""


def from_host(name: str, host: Host) -> Address:
    """Return the target for a ``[hosts.NAME]`` table of cube.toml."""
    return Address(name=name, host=host.address, port=host.port, user=host.user, key=host.key)


def from_url(url: str) -> Address:
    """Return the target for ``ssh://[user@]host[:port][?ssh_identity_file=F&known_hosts=F]``.

    Raises:
        TargetError: the address is not of that form.
    """
    try:
        found = address.parse(url)
    except ValueError as error:
        form = "ssh://user@host:port?ssh_identity_file=FILE"
        raise TargetError(f"{masked(url)}: {error}: write {form}") from error
    # An alias for ssh and testinfra, which would take a colon for the beginning of a port.
    alias = found.host.replace(":", ".")
    return replace(found, name=f"{alias}-{found.port}" if found.port else alias)


def split(asked: str) -> list[str]:
    """Return the words of ``--hosts``."""
    return [word.strip() for word in asked.split(",") if word.strip()]


def asks_for_names(asked: str) -> bool:
    """Tell whether ``--hosts`` needs the inventory."""
    words = split(asked)
    return not words or any("://" not in word for word in words)


def select(asked: str, known: Mapping[str, Address]) -> list[Address | str]:
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


def _select_one(word: str, known: Mapping[str, Address]) -> Address | str:
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


def render_ssh_config(targets: Iterable[Address], folder: Path) -> str:
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


def _host_lines(target: Address) -> list[str]:
    host = target.host.replace("%", "%%")  # the scope of an IPv6 address is no token
    port = target.port or SSH_PORT
    lines = [f"Host {target.name}", f"    HostName {host}", f"    Port {port}"]
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
