"""Whether builds can be kept in a folder: it is tried, and nothing is left of the trial."""

import contextlib
import fcntl
import os
import tempfile
from pathlib import Path

#: The deepest path below a build folder, about as long as one of a clone of a boot test.
DEEP = Path("ubuntu-24.04/work/machines/cube-proof-1/" + "x" * 100)


def trouble(folder: Path) -> str:
    """Say why builds cannot be kept in a folder; empty when they can."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".cube-trial-") as trial:
            file = Path(trial) / DEEP
            file.parent.mkdir(parents=True)
            file.write_bytes(b"x")
            try_out(file)
    except OSError as error:
        return error.strerror or str(error)
    finally:
        for path in missing:
            with contextlib.suppress(OSError):
                path.rmdir()
    return ""


def try_out(file: Path) -> None:
    """Use a file as builds do: locked, synced, read-only, sparse, renamed.

    Raises:
        OSError: the file system cannot do it.
    """
    with file.open("r+b") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        stream.truncate(1 << 20)
        os.fsync(stream.fileno())
    file.chmod(0o400)
    file.rename(file.with_name("y"))
