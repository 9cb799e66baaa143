"""Which machines are judged, and how OpenSSH reaches them: pure data and text."""

from collections.abc import Mapping
from dataclasses import replace

from cube.machines import address
from cube.machines.address import Address
from cube.runtime.redact import masked

#: Seconds to wait for sshd; a guest without KVM takes a few to answer under load.
CONNECT_S = 60


class TargetError(ValueError):
    """The machines to judge cannot be told from what was asked."""


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
    # A name for testinfra, which would take a colon for the beginning of a port.
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
