"""The state of systemd's units."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from shlex import quote

from pyinfra.api import FactBase

#: Source: systemctl(1), is-enabled: states that start a unit at boot or need no symlink.
ENABLED = {"enabled", "enabled-runtime", "static", "generated", "alias", "indirect"}


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A unit: whether it exists, starts at boot, is masked and runs (or cannot run here)."""

    loaded: bool = False
    enabled: bool = False
    masked: bool = False
    running: bool = False


class Units(FactBase[dict[str, Unit]]):
    """Several units by name."""

    def command(self, names: Sequence[str]) -> str:
        """Ask for all at once; blocks are separated by empty lines."""
        self.names = tuple(names)
        fields = "Id,LoadState,UnitFileState,ActiveState,ConditionResult,ConditionTimestamp"
        return f"systemctl show --property={fields} {' '.join(map(quote, names))}"

    def process(self, output: list[str]) -> dict[str, Unit]:
        """Read the blocks in the order of the names (`Id` differs for an alias)."""
        blocks = "\n".join(output).strip().split("\n\n")
        units = [parse_unit(block) for block in blocks]
        return dict(zip(self.names, units, strict=False)) | {
            name: Unit() for name in self.names[len(units) :]
        }

    @staticmethod
    def default() -> dict[str, Unit]:
        """Return units that do not exist, whatever their name."""
        return Absent()


class Absent(dict[str, Unit]):
    """The answer of a host that says nothing: no unit exists."""

    def __missing__(self, name: str) -> Unit:
        return Unit()


def parse_unit(block: str) -> Unit:
    """Read ``Key=value`` lines.

    A unit whose start was tried and whose Condition failed will not run on this machine: it
    counts as running, or each application would try again.
    """
    values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
    forbidden = values.get("ConditionResult") == "no" and bool(values.get("ConditionTimestamp"))
    return Unit(
        loaded=values.get("LoadState") == "loaded",
        enabled=values.get("UnitFileState") in ENABLED,
        masked=values.get("LoadState") == "masked",
        running=values.get("ActiveState") in {"active", "activating", "reloading"} or forbidden,
    )


class ConfigNewer(FactBase[list[str]]):
    """The files of a list that are newer than the start of a running unit."""

    def command(self, unit: str, paths: Sequence[str]) -> str:
        """Print the unit's start and each file's time of change, both in seconds."""
        files = " ".join(map(quote, paths))
        return (
            "systemctl show --timestamp=us+utc --value --property=ActiveEnterTimestamp"
            f" {quote(unit)} && systemctl is-active {quote(unit)};"
            f" stat -c '%.6Y %n' {files} 2>/dev/null; true"
        )

    @staticmethod
    def default() -> list[str]:
        """Return no file."""
        return []

    def process(self, output: list[str]) -> list[str]:
        """Compare; a unit that does not run has nothing to read again."""
        start, active, *files = output
        if active != "active" or not start:
            return []
        since = parse_timestamp(start)
        newer = [line.split(" ", 1) for line in files]
        return [path for changed, path in newer if float(changed) > since]


def parse_timestamp(text: str) -> float:
    """Turn "Mon 2026-11-23 20:29:53.123456 UTC" into seconds since the epoch."""
    stamp = datetime.strptime(text, "%a %Y-%m-%d %H:%M:%S.%f UTC")  # noqa: DTZ007
    return stamp.replace(tzinfo=UTC).timestamp()
