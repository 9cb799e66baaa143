"""What every benchmark is as a program: it tells plainly, and ends as `cube` does."""

from collections.abc import Callable
from pathlib import Path

from cube import cli

#: Where disks of some gigabytes are made: /tmp is memory on many systems.
#: Source: Filesystem Hierarchy Standard 3.0, 5.15.
LARGE = Path("/var/tmp")  # noqa: S108 (new folders with names that nobody knows before)


def ended(work: Callable[[], None]) -> int:
    """Do the work; return the exit code, an error told as a person reads it."""

    def done() -> int:
        work()
        return 0

    return cli.ended(done, "plain")
