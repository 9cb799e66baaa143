"""What the programs of a simulated box have in common: its state, and their calls.

Every value is invented; the forms of answers and the exit codes are those of the real programs.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1]
#: Written by the load with its process id, while it is busy.
BUSY = FOLDER / "run/busy"


def state() -> dict[str, Any]:
    """Return the whole state of the box."""
    told: dict[str, Any] = json.loads((FOLDER / "box.json").read_text())
    return told


def busy() -> bool:
    """Tell whether a load is running; one that was killed is not."""
    try:
        os.kill(int(BUSY.read_text()), 0)
    except (OSError, ValueError):
        return False
    return True


def answer(program: str) -> None:
    """End here with what the box has planted for this program, if it has."""
    planted = state()["programs"].get(program)
    if planted is None:
        return
    if planted.get("only_busy") and not busy():
        return
    if planted.get("hangs"):
        time.sleep(3600)
    sys.stdout.write(planted.get("text", ""))
    sys.exit(planted.get("code", 0))
