"""How much space links take, in bytes and in words."""

import contextlib
import errno
from collections.abc import Iterable, Iterator
from pathlib import Path

from cube.chain.store.link import Link
from cube.runtime.errors import HostError

KIB = 1024
UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")
#: From here on a fraction is not worth telling.
WHOLE = 10
#: Source: stat(2), st_blocks is in units of 512 bytes.
BLOCK = 512


def used_bytes(link: Link) -> int:
    """Return what a link takes on this disk, holes not counted; 0 when it has just gone."""
    total = 0
    with contextlib.suppress(FileNotFoundError):
        for file in link.folder.iterdir():
            total += file.stat().st_blocks * BLOCK
    return total


def total_bytes(links: Iterable[Link]) -> int:
    """Return what links take together."""
    return sum(used_bytes(link) for link in links)


def words(size_bytes: float) -> str:
    """Return "601 MiB", "1.6 GiB" or "12 KiB"."""
    number, unit = float(size_bytes), 0
    while number >= KIB and unit < len(UNITS) - 1:
        number, unit = number / KIB, unit + 1
    return f"{number:.{0 if unit == 0 or number >= WHOLE else 1}f} {UNITS[unit]}"


@contextlib.contextmanager
def enough(folder: Path, needed_bytes: int) -> Iterator[None]:
    """Say how much space a block needs in a folder, should the disk turn out to be full.

    Raises:
        HostError: it is.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise HostError(
            f"the disk that holds {folder.absolute()} is full",
            hint=f"{words(needed_bytes)} are needed there: free them, or take another place",
        ) from error
