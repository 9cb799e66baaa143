"""One validation at a time on a box: a lock there that falls with whoever holds it."""

import contextlib
import subprocess
from collections.abc import Iterator

from cube.hosts import remote
from cube.hosts.target import Box
from cube.hosts.validation import runner
from cube.runtime import run
from cube.runtime.errors import BusyError, MachineError

#: The lock on the box. Source: flock(1)
LOCK = "/run/lock/cube-validation"
#: Said once it is ours.
HELD = b"held\n"
#: Exit code for a lock that another one has; no program that is involved uses it.
TAKEN = 75

# cat ends when our connection does, in whatever way, and the lock falls with it.
SCRIPT = f"exec flock --nonblock --conflict-exit-code {TAKEN} {LOCK} sh -c 'echo held; exec cat'"


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
    process = run.converse(remote.login_args(box, SCRIPT))
    try:
        assert process.stdout is not None
        if process.stdout.readline() != HELD:
            raise refused(box, process)
        yield
    finally:
        release(process)


def refused(box: Box, process: "subprocess.Popen[bytes]") -> BusyError | MachineError:
    """Build the error for a lock that was not got."""
    assert process.stderr is not None
    said = process.stderr.read().decode(errors="replace").strip()
    if process.wait() == TAKEN:
        return BusyError(
            f"{box.name}: another validation runs there",
            hint=f"wait for it, or see who: fuser --verbose {LOCK}",
        )
    return MachineError(f"{box.name}: {LOCK} cannot be taken: {said or process.returncode}")


def release(process: "subprocess.Popen[bytes]") -> None:
    """Let the lock go."""
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()
    try:
        process.wait(run.GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
