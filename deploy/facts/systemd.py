"""The state of systemd's units."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from shlex import quote

from pyinfra.api import FactBase

from deploy.facts import clock
from deploy.facts.files import KEPT

#: Source: systemctl(1), is-enabled: states that start a unit at boot or need no symlink.
ENABLED = {"enabled", "enabled-runtime", "static", "generated", "alias", "indirect"}

#: The beginning of a ``Name=value`` line.
NAME = re.compile(r"[A-Za-z]+=")


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


#: Where a restart notes what a unit has read: its invocation and the digest of its files. It is
#: gone with the boot, as the invocation is. Source: systemd.exec(5), INVOCATION_ID.
READ = "/run/cube/read"


def digest(paths: Sequence[str]) -> str:
    """Return a shell word: the digest of the files that are there."""
    return f"$(sha256sum {' '.join(map(quote, paths))} 2>/dev/null | sha256sum | cut -c 1-64)"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a unit has read of its files.

    Args:
        unread: those that it has not read as they are now, or may not have.
        kept: whether versions from before are still kept (see `deploy.operations.trial`).
    """

    unread: tuple[str, ...] = ()
    kept: bool = False


class Readings(FactBase[Reading]):
    """What a running unit has read of a list of files; of one that does not run, nothing counts.

    What our own restart noted counts first; without a note, the clocks do.
    """

    def command(self, unit: str, paths: Sequence[str]) -> str:
        """Print the clocks, the unit's start, what was noted and kept, when each file changed."""
        fields = "ActiveState,ActiveEnterTimestamp,ActiveEnterTimestampMonotonic,InvocationID"
        return (
            f"{clock.NOW}; systemctl show --timestamp=us+utc --property={fields} {quote(unit)};"
            f' echo "Digest={digest(paths)}"; echo "Read=$(cat {READ}/{quote(unit)} 2>/dev/null)";'
            f" stat -L -c '%.6Z %n' {' '.join(map(quote, paths))} 2>/dev/null;"
            f" if test -d {KEPT}; then for file in {' '.join(map(quote, paths))}; do"
            f' kept="{KEPT}$(readlink -f "$file")";'
            ' if [ -e "$kept" ] || [ -e "$kept.none" ]; then echo Kept=yes; fi; done; fi'
        )

    @staticmethod
    def default() -> Reading:
        """Return that nothing is unread."""
        return Reading()

    def process(self, output: list[str]) -> Reading:
        """Compare; a unit that does not run has nothing to read again."""
        now, *lines = output
        values = dict(line.split("=", 1) for line in lines if NAME.match(line))
        if values["ActiveState"] != "active" or not values["ActiveEnterTimestamp"]:
            return Reading()
        kept = "Kept" in values
        if values["Read"] == f"{values['InvocationID']} {values['Digest']}":
            return Reading(kept=kept)
        start = clock.parse_start(
            values["ActiveEnterTimestamp"], values["ActiveEnterTimestampMonotonic"]
        )
        files = [line.split(" ", 1) for line in lines if not NAME.match(line)]
        moment = clock.parse_now(now)
        unread = tuple(
            path for changed, path in files if clock.changed_since(float(changed), start, moment)
        )
        return Reading(unread=unread, kept=kept)
