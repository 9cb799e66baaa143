"""The sha256 of large files, with progress."""

import hashlib
import time
from pathlib import Path

from cube.runtime import log

BLOCK = 4 * 1024**2


def sha256(path: Path) -> str:
    """Return a file's checksum, in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    total, done, told = path.stat().st_size or 1, 0, time.monotonic()
    value = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            value.update(block)
            done += len(block)
            if time.monotonic() - told > 1:
                told = time.monotonic()
                log.status(f"computing the checksum of {path.name} {100 * done // total} %")
    return value.hexdigest()


def line(digest: str, name: str) -> str:
    """Return the line that sha256sum(1) writes and checks."""
    return f"{digest}  {name}\n"
