"""Opens a connection to libvirt, or says why not: ``python -m cube.machines.qemu.trial URI``.

A process of its own: a connection may hang, and the embedded driver binds the process that opens
it to one state folder for good.
"""

import sys

from cube.machines.qemu import hypervisor
from cube.runtime import run
from cube.runtime.errors import CommandError, CubeError

#: Seconds for a daemon to answer.
ANSWER_S = 30.0


def trouble(uri: str) -> str:
    """Say why machines cannot be started by a URI; empty when they can."""
    argv = [sys.executable, "-m", "cube.machines.qemu.trial", uri]
    try:
        run.run(argv, timeout_s=ANSWER_S)
    except CommandError as error:
        if error.returncode is None:
            return f"no answer within {ANSWER_S:.0f} s"
        return run.tail(error.output, 1) or error.message
    return ""


def main(uri: str) -> int:
    """Try a URI; return the exit code."""
    try:
        driver = hypervisor.connect(hypervisor.resolve(uri)[0]).getType()
    except CubeError as error:
        print(error.message.partition(": ")[2] or error.message, file=sys.stderr)  # noqa: T201
        return 1
    if driver != "QEMU":
        print(f"it is {driver}'s driver, not QEMU's", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
