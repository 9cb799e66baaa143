"""NVIDIA's units on a host, and packages that are new there."""

from shlex import quote

from pyinfra.api import FactBase


class StartCommand(FactBase[str]):
    """The command that a package's unit starts, from its own file; empty without one."""

    def command(self, unit: str) -> str:
        """Print the value of ExecStart=; /lib comes last, where it is another folder."""
        name = quote(unit)
        return (
            f"for d in /usr/lib /lib; do sed -n 's/^ExecStart=//p' $d/systemd/system/{name}"
            " 2>/dev/null && break; done; true"
        )

    @staticmethod
    def default() -> str:
        """Return no command."""
        return ""

    def process(self, output: list[str]) -> str:
        """Return the first line."""
        return output[0] if output else ""


class InstalledSinceBoot(FactBase[list[str]]):
    """Packages of a list that came after the system started, while no restart is asked for."""

    def command(self, names: tuple[str, ...]) -> str:
        """Compare dpkg's lists with the start of systemd, which a container has of its own."""
        return (
            "test -e /run/reboot-required && exit 0;"
            " boot=$(systemctl show --timestamp=unix --value --property=UserspaceTimestamp);"
            f" for name in {' '.join(map(quote, names))}; do"
            " for list in /var/lib/dpkg/info/$name.list /var/lib/dpkg/info/$name:*.list; do"
            ' if test -e "$list" && test "$(stat -c %Y "$list")" -ge "${boot#@}"; then'
            ' echo "$name"; fi; done; done; true'
        )

    @staticmethod
    def default() -> list[str]:
        """Return none."""
        return []

    def process(self, output: list[str]) -> list[str]:
        """Return the lines."""
        return output
