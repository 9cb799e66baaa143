"""One validation at a time on a box: a lock there that falls with whoever holds it."""

import contextlib
from collections.abc import Iterator

from cube.hosts import remote
from cube.hosts.target import Box
from cube.hosts.validation import runner
from cube.runtime.errors import BusyError, MachineError
from cube.runtime.shell import Answer

#: The lock on the box. Source: flock(1)
LOCK = "/run/lock/cube-validation"
#: Exit code for a lock that another one has; no program that is involved uses it.
TAKEN = 75

# The shell holds the open file: it ends when our connection does, in whatever way, and the lock
# falls with it.
OPEN = f"exec 9>{LOCK}\n"
TAKE = f"flock --nonblock --conflict-exit-code {TAKEN} 9"
#: Seconds for that.
TAKE_S = 60.0


def guarded(script: str) -> str:
    """Return a script that runs only when no validation does, and keeps others off meanwhile.

    For whoever has no connection to hold the lock over. It ends with the code `TAKEN` when it
    did not run; a suite that goes on without its validation is ended first.
    """
    unit = f"{runner.UNIT}.service"
    return (
        f"exec 9>{LOCK}; flock --nonblock 9 || exit {TAKEN}\n"
        f"systemctl is-active --quiet {unit} && systemctl stop {unit}\n"
        f"{script}"
    )


@contextlib.contextmanager
def holding(box: Box) -> Iterator[None]:
    """Keep every other validation off a box while the block runs.

    Raises:
        BusyError: another one runs there.
        MachineError: the box does not let us in any more.
    """
    shell = remote.open_shell(box, setup=OPEN)
    try:
        answer = shell.run(TAKE, timeout_s=TAKE_S)
        if answer.returncode or answer.lost:
            raise refused(box, answer)
        yield
    finally:
        shell.close()


def refused(box: Box, answer: Answer) -> BusyError | MachineError:
    """Build the error for a lock that was not got."""
    if answer.lost:
        return remote.refusal(box, answer, TAKE)
    if answer.returncode == TAKEN:
        return BusyError(
            f"{box.name}: another validation is running there",
            hint=f"wait for it, or see who: fuser --verbose {LOCK}",
        )
    return MachineError(f"{box.name}: {LOCK} cannot be taken: {remote.last_line(answer)}")
