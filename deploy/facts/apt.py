"""What apt has."""

from dataclasses import dataclass

from pyinfra.api import FactBase

from deploy.facts import clock

#: Written by our own refresh and by apt's timer.
#: Source: apt.systemd.daily of the package apt, update-success-stamp.
STAMP = "/var/lib/apt/periodic/update-success-stamp"
#: Begins the command that finds files of sources. Source: sources.list(5).
SOURCES = "find /etc/apt '(' -name '*.sources' -o -name '*.list' ')'"


@dataclass(frozen=True, kw_only=True)
class Lists:
    """Package lists: their age in seconds, and whether they fit apt's sources."""

    age_s: int
    usable: bool


@dataclass(frozen=True, kw_only=True)
class Package:
    """An installed package: its version, and whether it is held."""

    version: str
    held: bool = False


class PackageLists(FactBase[Lists]):
    """How fresh the package lists are."""

    def command(self) -> str:
        """Print the clocks, a list file, and when the stamp and each source were written."""
        return (
            f"{clock.NOW}; stat -c 'stamp %.6Y' {STAMP} 2>/dev/null;"
            " find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' -printf 'list\\n' -quit;"
            f" {SOURCES} -printf 'source %T@\\n' 2>/dev/null; true"
        )

    @staticmethod
    def default() -> Lists:
        """Return lists that are missing."""
        return Lists(age_s=2**31, usable=False)

    def process(self, output: list[str]) -> Lists:
        """Read the lines; a stamp of the future was made before the clock was set back."""
        now, *lines = output
        moment = clock.parse_now(now)
        times = [line.split() for line in lines if line != "list"]
        stamp = max((float(time) for word, time in times if word == "stamp"), default=0.0)
        sources = [float(time) for word, time in times if word == "source"]
        unfit = clock.is_older(stamp, sources, moment)
        return Lists(
            age_s=int(moment.wall_s - stamp), usable="list" in lines and stamp > 0 and not unfit
        )


class Installed(FactBase[set[str]]):
    """Names of the packages that are fully installed."""

    def command(self) -> str:
        """List them; the status letters say whether a package is whole."""
        return "dpkg-query --show --showformat '${db:Status-Abbrev} ${Package}\\n'"

    @staticmethod
    def default() -> set[str]:
        """Return none."""
        return set()

    def process(self, output: list[str]) -> set[str]:
        """Keep what is installed ("ii", or "hi" when it is held)."""
        return {line.split()[1] for line in output if line[1:2] == "i"}


#: How dpkg-query shows a package's state and name. Source: dpkg-query(1), db:Status-Status.
STATES = "${db:Status-Status} ${binary:Package}\\n"


#: States in which dpkg has something left to do. Source: dpkg(1), "Package states".
UNSETTLED = ("unpacked", "half-configured", "triggers-awaited", "triggers-pending")


class Unsettled(FactBase[list[str]]):
    """What dpkg has yet to finish: names of packages, or the unit that is at it."""

    def command(self, unit: str) -> str:
        """List every package's state, and the unit's while it runs.

        Args:
            unit: that may run dpkg beside us; it shows a trigger at work as half-configured.
        """
        runs = f"if systemctl is-active --quiet {unit}; then echo half-configured {unit}; fi"
        return f"{runs}; dpkg-query --show --showformat '{STATES}'"

    @staticmethod
    def default() -> list[str]:
        """Return none."""
        return []

    def process(self, output: list[str]) -> list[str]:
        """Keep what is not settled."""
        return [line.split()[1] for line in output if line.startswith(UNSETTLED)]


class Packages(FactBase[dict[str, Package]]):
    """Every package that is fully installed, by name."""

    def command(self) -> str:
        """List them; the first letter says what is wanted, "h" is held."""
        return "dpkg-query --show --showformat '${db:Status-Abbrev} ${Package} ${Version}\\n'"

    @staticmethod
    def default() -> dict[str, Package]:
        """Return none."""
        return {}

    def process(self, output: list[str]) -> dict[str, Package]:
        """Keep what is whole ("ii", "hi")."""
        rows = [line.split() for line in output if line[1:2] == "i"]
        return {
            name: Package(version=version, held=state[0] == "h") for state, name, version in rows
        }


#: apt plans for a second; what it plans depends on these files. The last plan is kept below /run.
PLAN = r"""
files=$(stat -c '%n %y %s' \
    /var/lib/dpkg/status /var/lib/apt/lists/* /etc/apt/* /etc/apt/*/* 2>/dev/null)
plan=/run/cube/upgrade/$(printf '%s' "$files" | sha256sum | cut -c 1-64)
if ! cat "$plan" 2>/dev/null; then
    new=$(apt-get --simulate --quiet full-upgrade) || exit
    printf '%s\n' "$new"
    { rm -rf /run/cube/upgrade && mkdir -p /run/cube/upgrade &&
        printf '%s\n' "$new" >"$plan.new" && mv "$plan.new" "$plan"; } 2>/dev/null || true
fi
"""


class Upgradable(FactBase[list[str]]):
    """What a full upgrade would do, one line a package."""

    def command(self) -> str:
        """Let apt plan it, unless it has planned for the very same lists and packages."""
        return PLAN

    @staticmethod
    def default() -> list[str]:
        """Return nothing."""
        return []

    def process(self, output: list[str]) -> list[str]:
        """Keep the plan's own lines."""
        return [line for line in output if line.startswith(("Inst ", "Remv ", "Conf "))]


class FileExists(FactBase[bool]):
    """Whether there is a file of this name."""

    def command(self, path: str) -> str:
        """Print a word when there is."""
        return f"test -e {path} && echo yes || true"

    @staticmethod
    def default() -> bool:
        """Return that there is none."""
        return False

    def process(self, output: list[str]) -> bool:
        """Any word means yes."""
        return bool(output)
