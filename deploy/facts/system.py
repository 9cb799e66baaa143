"""What the operating system is, and what it is set to."""

from collections.abc import Sequence
from dataclasses import dataclass
from shlex import quote

from pyinfra.api import FactBase


class OsName(FactBase[str]):
    """The operating system as cube.toml names it: "debian-13"."""

    def command(self) -> str:
        """Ask os-release(5)."""
        return '. /etc/os-release && echo "$ID-$VERSION_ID"'


class Hostnames(FactBase[list[str]]):
    """Names of the host: the stored one, the running one, and what /etc/hosts knows of it."""

    def command(self) -> str:
        """Print the three, an empty line for what is missing."""
        return (
            "cat /etc/hostname 2>/dev/null || echo; cat /proc/sys/kernel/hostname;"
            " sed -n 's/^127\\.0\\.1\\.1[[:space:]]*//p' /etc/hosts"
        )

    @staticmethod
    def default() -> list[str]:
        """Return no name."""
        return []

    def process(self, output: list[str]) -> list[str]:
        """Return the lines."""
        return output


class Locales(FactBase[set[str]]):
    """Locales that were generated, in the form of `locale -a`: "en_US.utf8"."""

    def command(self) -> str:
        """List them."""
        return "locale -a 2>/dev/null || true"

    @staticmethod
    def default() -> set[str]:
        """Return none."""
        return set()

    def process(self, output: list[str]) -> set[str]:
        """Return the lines."""
        return set(output)


class KernelSettings(FactBase[dict[str, str]]):
    """Values of kernel settings that can be set here: a container may only read some."""

    def command(self, names: Sequence[str]) -> str:
        """Print ``name=value`` for each that is writable."""
        return (
            f"for name in {' '.join(map(quote, names))}; do"
            ' file=/proc/sys/$(echo "$name" | tr . /);'
            ' if test -w "$file"; then echo "$name=$(cat "$file" | tr "\\t" " ")"; fi;'
            " done"
        )

    @staticmethod
    def default() -> dict[str, str]:
        """Return nothing: all is read-only."""
        return {}

    def process(self, output: list[str]) -> dict[str, str]:
        """Split the lines."""
        return dict(line.split("=", 1) for line in output)


@dataclass(frozen=True, kw_only=True)
class Account:
    """A user account. `password` is the letter of passwd(1) -S: P, L (locked) or NP (none)."""

    shell: str
    groups: frozenset[str]
    password: str


class AccountState(FactBase[Account | None]):
    """An account; None when there is none."""

    def command(self, user: str) -> str:
        """Print shell, password state and groups."""
        name = quote(user)
        return (
            f"getent passwd {name} | cut -d: -f7; passwd -S {name} 2>/dev/null | cut -d' ' -f2;"
            f" id -nG {name} 2>/dev/null || true"
        )

    def process(self, output: list[str]) -> Account | None:
        """Read the three lines."""
        shell, password, groups = output
        return Account(shell=shell, groups=frozenset(groups.split()), password=password)


class Missing(FactBase[list[str]]):
    """Files of a list that are not there."""

    def command(self, paths: Sequence[str]) -> str:
        """Print their names."""
        names = " ".join(map(quote, paths))
        return f'for file in {names}; do test -e "$file" || echo "$file"; done'

    @staticmethod
    def default() -> list[str]:
        """Return none."""
        return []

    def process(self, output: list[str]) -> list[str]:
        """Return the lines."""
        return output
