"""What a machine printed on its console."""

import re
from pathlib import Path

from cube import run

#: Terminal control sequences. Source: ECMA-48, CSI and OSC.
CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-_]")
#: Bytes at the end that are looked at.
TAIL_BYTES = 32_768


def tail(file: Path, lines: int = run.TAIL_LINES) -> str:
    """Return the console's last lines that are not empty, without terminal control sequences."""
    if not file.exists():
        return ""
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - TAIL_BYTES))
        text = stream.read().decode(errors="replace")
    plain = CONTROL.sub("", text).replace("\r", "\n")
    return run.tail("\n".join(line for line in plain.splitlines() if line.strip()), lines)
