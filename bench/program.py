"""What every benchmark is as a program: it tells plainly, and ends as `cube` does."""

import shutil
from collections.abc import Callable
from pathlib import Path

from cube.cli import command_line
from cube.runtime.errors import HostError

GIB = 2**30

#: Where disks of some gigabytes are made: /tmp is memory on many systems.
#: Source: Filesystem Hierarchy Standard 3.0, 5.15.
LARGE = Path("/var/tmp")  # noqa: S108 (new folders with names that nobody knows before)


def ended(work: Callable[[], None]) -> int:
    """Do the work; return the exit code, an error told as a person reads it."""

    def done() -> int:
        work()
        return 0

    return command_line.ended(done, "plain")


def require_room(folder: Path, gib: int) -> None:
    """Refuse to begin what takes an hour and would end with a full disk.

    Raises:
        HostError: there is less free.
    """
    free = shutil.disk_usage(folder).free / GIB
    if free < gib:
        raise HostError(f"{folder}: {free:.1f} GiB free, {gib} GiB needed",
                        hint="free some space, or name another folder with --folder")  # fmt: skip
