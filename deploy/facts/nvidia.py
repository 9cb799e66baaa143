"""NVIDIA's units on a host, and packages that are new there."""

from shlex import quote

from pyinfra.api import FactBase

from deploy.facts import clock


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
        """Print the clocks, systemd's own start, which a container has, too, and dpkg's lists."""
        fields = "UserspaceTimestamp,UserspaceTimestampMonotonic"
        return (
            "test -e /run/reboot-required && exit 0;"
            f" {clock.NOW}; systemctl show --timestamp=us+utc --property={fields};"
            f" for name in {' '.join(map(quote, names))}; do"
            ' stat -c "%.6Z $name"'
            " /var/lib/dpkg/info/$name.list /var/lib/dpkg/info/$name:*.list 2>/dev/null; done; true"
        )

    @staticmethod
    def default() -> list[str]:
        """Return none."""
        return []

    def process(self, output: list[str]) -> list[str]:
        """Compare; an empty answer is of a host that is to restart anyway."""
        if not output:
            return []
        now, *lines = output
        values = dict(line.split("=", 1) for line in lines if "=" in line)
        start = clock.parse_start(
            values["UserspaceTimestamp"], values["UserspaceTimestampMonotonic"]
        )
        rows = [line.split(" ", 1) for line in lines if "=" not in line]
        moment = clock.parse_now(now)
        return [
            name for changed, name in rows if clock.changed_since(float(changed), start, moment)
        ]
