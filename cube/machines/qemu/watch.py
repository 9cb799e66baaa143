"""A small process that ends a QEMU when its owner is gone.

The embedded driver of libvirt starts QEMU as a daemon, which would outlive a killed build.
"""

import contextlib
from pathlib import Path

from cube.machines.record import ProcessId
from cube.runtime import run

#: Ends a QEMU when our end of its input closes, however that comes about; then removes the
#: driver's state. The start time proves that the number still means that process.
SCRIPT = (
    'cat > /dev/null; [ "$(ps -o lstart= -p "$1")" = "$2" ] && kill -9 "$1"; '
    '[ -z "$3" ] || rm -rf -- "$3"'
)


def watch(process: ProcessId, state: Path, log_file: Path, stack: contextlib.ExitStack) -> None:
    """Have a process end when this one does, in whatever way.

    Args:
        process: the QEMU.
        state: the driver's state folder, removed with it.
        log_file: what the watcher says.
        stack: gets the watcher's own end.
    """
    began = run.run(["ps", "-o", "lstart=", "-p", str(process.pid)]).stdout.rstrip("\n")
    argv = ["sh", "-c", SCRIPT, "sh", str(process.pid), began, str(state)]
    watcher = run.launch(argv, output=log_file, tethered=True)
    stack.callback(watcher.stop, grace_s=0)
