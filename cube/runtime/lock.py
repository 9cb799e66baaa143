"""Locks on files: one build at a time, and links that stay while somebody reads them."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from cube.runtime.errors import DISK_FULL, BusyError


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock file `path`; the kernel lets go of it when we die, however we die.

    Raises:
        BusyError: another process holds it; its pid is named.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="ascii") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stream.seek(0)
            raise busy(path, stream.read().strip()) from error
        stream.truncate(0)
        tell_pid(stream.fileno())
        yield


def tell_pid(file: int) -> None:
    """Write who holds a lock; on a full disk it is held all the same, by an unknown."""
    try:
        os.write(file, f"{os.getpid()}\n".encode())
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise


def busy(path: Path, pid: str) -> BusyError:
    """Build the error that names who holds the lock."""
    return BusyError(
        f"{path.parent}: another build runs there (pid {pid or 'unknown'})",
        hint="wait for it, or stop it with Ctrl-C in its terminal (or: kill -INT PID)",
    )


@contextlib.contextmanager
def shared(path: Path) -> Iterator[None]:
    """Hold the lock file `path` together with others who share it.

    Where it cannot be written it is read; where it is missing there, nothing can be removed
    either. Source: flock(2): a shared or exclusive lock does not depend on the mode of open(2).

    Raises:
        BusyError: another process holds it for itself.
    """
    refusal = BusyError(f"{path.parent}: links are being removed", hint="try again")
    with contextlib.ExitStack() as stack:
        if stream := opened(path):
            lock(stack.enter_context(stream).fileno(), fcntl.LOCK_SH, refusal)
        yield


def opened(path: Path) -> BinaryIO | None:
    """Open a lock file, for reading where it cannot be written; None: there, it is missing."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a+b")
    except OSError as error:
        if error.errno not in {errno.EROFS, errno.EACCES, errno.EPERM}:
            raise
    return path.open("rb") if path.exists() else None


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file `path` against all who share it.

    Raises:
        BusyError: somebody holds it.
    """
    refusal = BusyError(
        f"{path.parent}: another command reads the links that are to be removed",
        hint="wait for it: cube chain export, verify, or cube bisect",
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as stream:
        lock(stream.fileno(), fcntl.LOCK_EX, refusal)
        yield


def lock(file: int, kind: int, refusal: BusyError) -> None:
    """Lock an open file as flock(2) does for `kind`, or raise `refusal` at once."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise refusal from error
