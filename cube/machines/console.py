"""What a machine printed on its console."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from cube.machines import MachineRequest
from cube.runtime import run
from cube.runtime.errors import CommandError, MachineError

#: Terminal control sequences. Source: ECMA-48, CSI and OSC.
CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-_]")
#: Bytes at the end that are looked at.
TAIL_BYTES = 32_768
#: What a guest prints last when it will never come up. Source: the messages of SeaBIOS, of EDK II
#: and its shell, shim, GRUB, initramfs-tools, Linux and systemd.
HOPELESS = (
    "No bootable device.",
    "No bootable option or device was found.",
    "Shell>",
    "bad shim signature",
    "grub rescue>",
    "(initramfs)",
    "Kernel panic - not syncing",
    "You are in emergency mode.",
)


def hopeless(file: Path) -> str:
    """Return the sign that a guest will never come up; empty while there is hope."""
    last = tail(file)
    return next((sign for sign in HOPELESS if sign in last), "")


def tail(file: Path, lines: int = run.TAIL_LINES) -> str:
    """Return the console's last lines that are not empty, without terminal control sequences."""
    if not file.exists():
        return ""
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - TAIL_BYTES))
        text = stream.read().decode(errors="replace")
    plain = CONTROL.sub("", text).replace("\r", "\n")
    return run.tail("\n".join(line for line in plain.splitlines() if line.strip()), lines)


def file_of(run_dir: Path) -> Path:
    """Return the file with all that a machine's console said."""
    return run_dir / "console.log"


@contextlib.contextmanager
def explained(request: MachineRequest) -> Iterator[None]:
    """Name the machine in a failure, and show its console's last lines."""
    try:
        yield
    except (MachineError, CommandError) as error:
        file = file_of(request.run_dir)
        said = tail(file)
        raise MachineError(
            f"machine {request.name}: {error.message}",
            hint=f"the full console log is in {file}" if said else error.hint,
            details=said or error.details,
        ) from error
