"""What runs on this machine, as the tests see it."""

import contextlib
from collections.abc import Iterator

import psutil


def running() -> Iterator[tuple[int, list[str]]]:
    """Yield the id and the command of each process; those that end meanwhile are passed over."""
    for process in psutil.process_iter(["cmdline"]):
        if words := process.info["cmdline"]:
            yield process.pid, words


def environment_of(pid: int) -> str:
    """Return a process's variables, a line each; nothing when it has ended."""
    with contextlib.suppress(psutil.Error):
        return "\n".join(f"{name}={text}" for name, text in psutil.Process(pid).environ().items())
    return ""


def alive(pid: int) -> bool:
    """Tell whether a process runs; one that waits to be reaped does not."""
    with contextlib.suppress(psutil.Error):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False
