"""One build at a time in a build folder."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from cube.errors import BusyError


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
        stream.write(f"{os.getpid()}\n")
        stream.flush()
        yield


def busy(path: Path, pid: str) -> BusyError:
    """Build the error that names who holds the lock."""
    return BusyError(
        f"{path.parent}: another build runs there (pid {pid or 'unknown'})",
        hint="wait for it, or stop it with Ctrl-C in its terminal (or: kill -INT PID)",
    )


@contextlib.contextmanager
def shared(path: Path) -> Iterator[None]:
    """Hold the lock file `path` together with others who share it.

    Raises:
        BusyError: another process holds it for itself.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="ascii") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(f"{path.parent}: links are being removed", hint="try again") from error
        yield


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file `path` against all who share it.

    Raises:
        BusyError: somebody holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="ascii") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(
                f"{path.parent}: another command reads the links that are to be removed",
                hint="wait for it: cube chain export, verify, or cube bisect",
            ) from error
        yield
