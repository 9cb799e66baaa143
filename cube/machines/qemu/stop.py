"""Stops the virtual machine of a record: ``python -m cube.machines.qemu.stop RECORD``.

A process of its own for a machine whose state folder is another than the caller's.
"""

import sys
from pathlib import Path

from cube.machines import record
from cube.machines.qemu import vm
from cube.runtime.errors import CubeError


def main(file: Path) -> int:
    """Stop a machine; return the exit code."""
    try:
        vm.stop_recorded(record.read(file))
    except CubeError as error:
        print(error.message, file=sys.stderr)  # noqa: T201 (what the caller tells)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
