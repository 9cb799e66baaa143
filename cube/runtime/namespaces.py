"""Namespaces that live and die as one: processes, mounts, loop devices and a network.

A cell is a process that is the first of its own PID namespace and holds a mount and a network
namespace. When it ends, the kernel ends every process in it, and with the last of them go its
mounts, their loop devices (marked to clear themselves) and its network. It reads a pipe that
we hold: when we die, even by SIGKILL, it reads the end and follows.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from cube.runtime import run
from cube.runtime.errors import CommandError, CubeError, HostError, MachineError

#: Seconds for the kernel to make or clear namespaces; it takes milliseconds.
SETTLE_S = 20.0


def hold_args(*, tethered: bool) -> list[str]:
    """Build the command that holds a cell's namespaces.

    Args:
        tethered: it ends when its standard input does.
    """
    holder = ["cat"] if tethered else ["sleep", "infinity"]
    return [
        "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc",
        "--", *holder,
    ]  # fmt: skip


def enter_args(pid: int, argv: run.Argv, *, life_only: bool = False) -> list[str]:
    """Build the command that runs a program in a cell.

    Args:
        pid: the cell's first process, as this machine counts.
        argv: program and arguments; every path absolute.
        life_only: it ends with the cell, but sees our files and our network.
    """
    namespaces = ["--pid", *([] if life_only else ["--mount", "--net"])]
    return ["nsenter", f"--target={pid}", *namespaces, "--", *[str(part) for part in argv]]


class Cell:
    """Namespaces that are open. Make one with `open_cell`."""

    def __init__(self, pid: int, holder: run.Process | None = None) -> None:
        """Take up a cell by its first process, as this machine counts; `holder` if it is ours."""
        self._holder = holder
        self._members: list[run.Process] = []
        self.pid = pid

    def path(self, inside: Path) -> Path:
        """Return where this process sees a path of the cell.

        It goes through a link of the kernel's: never call `resolve` on it.
        """
        return Path(f"/proc/{self.pid}/root") / inside.absolute().relative_to("/")

    def execute(
        self, argv: run.Argv, *, accept: Collection[int] = (0,), timeout_s: float = 60
    ) -> run.Completed:
        """Run a program in the cell to its end.

        Raises:
            CommandError: as `cube.runtime.run.run`.
        """
        command = enter_args(self.pid, argv)
        return run.run(command, accept=accept, timeout_s=timeout_s)

    def launch(self, argv: run.Argv, *, output: Path, life_only: bool = False) -> run.Process:
        """Start a program in the cell; it ends with the cell at the latest."""
        command = enter_args(self.pid, argv, life_only=life_only)
        member = run.launch(command, output=output)
        self._members.append(member)
        return member

    def close(self) -> None:
        """End every process of the cell, and with them all that it holds."""
        if self._holder is None:
            os.kill(self.pid, signal.SIGKILL)
        else:
            self._holder.stop(grace_s=0)
        for member in self._members:
            member.wait(SETTLE_S)


def open_cell(log_file: Path, *, outlive: bool = False, prefix: Sequence[str] = ()) -> Cell:
    """Open a cell; the caller closes it.

    Args:
        log_file: what the holder says when namespaces cannot be made.
        outlive: it stays when this process ends without closing it.
        prefix: words before the command that holds it.

    Raises:
        HostError: namespaces cannot be made here.
    """
    argv = [*prefix, *hold_args(tethered=not outlive)]
    holder = run.launch(argv, output=log_file, tethered=not outlive)
    try:
        return Cell(_first_process(holder, log_file), holder)
    except BaseException:
        holder.stop(grace_s=0)
        raise


def _first_process(holder: run.Process, log_file: Path) -> int:
    """Wait until the holder's child runs its program, all namespaces and /proc in place."""
    children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children")
    deadline = time.monotonic() + SETTLE_S
    while holder.returncode is None and time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for pid in children.read_text().split():
                if Path(f"/proc/{pid}/comm").read_text().strip() in {"cat", "sleep"}:
                    return int(pid)
        time.sleep(0.01)
    raise HostError(
        "a namespace for processes, mounts and the network could not be made",
        hint="run as root (sudo); inside a container it needs --privileged",
        details=run.tail(log_file.read_text(errors="replace")),
    )


@contextlib.contextmanager
def releasing(action: Callable[[], None]) -> Iterator[None]:
    """Release something when the block is left; the block's own error outranks the release's."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(CubeError):
            action()
        raise
    action()


def wait_until(ready: Callable[[], bool], process: run.Process, timeout_s: float) -> bool:
    """Wait for what a process does first; False when it ended or took too long."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        if process.returncode is not None or time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def wait_for_end(process: run.Process, timeout_s: float, what: str) -> None:
    """Wait until a member of a cell has ended.

    Raises:
        MachineError: it still runs after `timeout_s` seconds.
    """
    try:
        process.wait(timeout_s)
    except CommandError as error:
        raise MachineError(f"{what} did not stop within {timeout_s:.0f} s") from error
