"""Files that say what a box is."""

import contextlib
import os
from pathlib import Path

#: Each entry below a root names what stands in for something else on this box.
STAND_INS = "usr/share/cube/stand-ins"
#: Another root for state files, /proc and /sys, in tests; "" on a real box.
SIMULATED_ROOT = os.environ.get("CUBE_ROOT", "")
ROOT = Path(SIMULATED_ROOT or "/")


def is_simulated(root: Path = ROOT) -> bool:
    """Tell whether something below a root stands in for the real thing."""
    return bool(SIMULATED_ROOT) or any((root / STAND_INS).glob("*"))


def read_text(path: Path) -> str:
    """Return a file's text without white space around it; "" when it cannot be read."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return path.read_text().strip()
    return ""
