"""Loop devices over a part of a file, which clear themselves when this process ends."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from cube.runtime import run


def attach_args(file: Path, *, offset: int, size: int, writable: bool) -> list[str]:
    """Build the command that makes a loop device and prints its name; both numbers are bytes.

    By offset, because a kernel with ``loop.max_part=0`` knows no partitions of loop devices.
    """
    access = [] if writable else ["--read-only"]
    span = ["--offset", str(offset), "--sizelimit", str(size)]
    return ["losetup", "--find", "--show", *span, *access, str(file)]


@contextlib.contextmanager
def attached(file: Path, *, offset: int, size: int) -> Iterator[Path]:
    """Show a part of a file as a block device while the block runs.

    Source: losetup(8), --detach: since Linux 3.7 it is lazy: the kernel clears a device when it
    is closed for the last time. It is held open here, so it goes with this process, too.

    Args:
        file: a raw image.
        offset: where the part begins, in bytes.
        size: its length in bytes.

    Raises:
        CommandError: no loop device can be had.
    """
    argv = attach_args(file, offset=offset, size=size, writable=True)
    device = Path(run.run(argv).stdout.strip())
    with device.open("rb"):
        run.run(["losetup", "--detach", device])
        yield device
