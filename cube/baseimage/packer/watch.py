"""QEMU under Packer: still there, and what its guest says on the console."""

import re
import time
from pathlib import Path

import psutil

from cube.runtime import log
from cube.runtime.errors import PackerError

#: Packer notices that its VM has gone within seconds, when it does at all.
GONE_S = 20.0
#: How often the process table and the console are looked at.
EVERY_S = 1.0
#: Lines of a console that go into an error.
CONSOLE_LINES = 15
#: What a kernel says when it gives up. Source: Linux, kernel/panic.c.
PANIC = "Kernel panic - not syncing"
#: Colours and cursor movements. Source: ECMA-48, 5.4 "Control sequences".
CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[=>c]|[\x00-\x08\x0b-\x1f\x7f]")


def console_tail(console: Path, lines: int = CONSOLE_LINES) -> str:
    """Return a console's last lines as plain text; empty when it has said nothing."""
    try:
        text = console.read_bytes()[-64 * 1024 :].decode(errors="replace")
    except FileNotFoundError:
        return ""
    plain = (CONTROL.sub("", line).rstrip() for line in text.splitlines())
    return "\n".join([line for line in plain if line][-lines:])


def qemu_pid(console: Path) -> int | None:
    """Return the QEMU that writes to a console's file; None when there is none.

    Its command line names the file, in whatever PID namespace it runs.
    """
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or [""]
        if "qemu-system" in words[0] and f"file:{console}" in words:
            return int(process.pid)
    return None


class Watch:
    """Tells what the guest does, and gives up when there is nothing left to wait for."""

    def __init__(self, console: Path, what: str) -> None:
        self.console = console
        self.what = what
        self._seen = False
        self._looked = 0.0
        self._gone_since: float | None = None
        self._told = ""

    def tick(self) -> None:
        """Look again, once in a while.

        Raises:
            PackerError: the guest's kernel panicked, or QEMU has been gone for `GONE_S` seconds.
        """
        now = time.monotonic()
        if now - self._looked < EVERY_S:
            return
        self._looked = now
        if qemu_pid(self.console) is not None:
            self._seen = True
            self._gone_since = None
            self._tell()
        elif self._seen:
            self._gone_since = self._gone_since or now
            if now - self._gone_since > GONE_S:
                raise PackerError("QEMU ended before the guest was done")

    def _tell(self) -> None:
        lines = console_tail(self.console)
        if PANIC in lines:
            raise PackerError("the guest's kernel panicked")
        last = lines.rpartition("\n")[2][:100]
        if last != self._told:
            log.status(f"{self.what}: {last}")
            self._told = last
