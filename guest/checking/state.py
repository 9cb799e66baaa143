"""Files that say what a box is."""

import contextlib
from pathlib import Path

#: Each entry below a root names what stands in for something else on this box.
STAND_INS = "usr/share/cube/stand-ins"


def read_text(path: Path) -> str:
    """Return a file's text without white space around it; "" when it cannot be read."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return path.read_text().strip()
    return ""
