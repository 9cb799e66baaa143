"""The box as its health checks see it: state files, programs, hardware.

CUBE_ROOT names another root for state files, /proc and /sys in tests. What is seen there is
evidence "simulated", and so is a box on which packages stand in for others.
"""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from guest.checking.program import ask
from guest.checking.report import Report
from guest.checking.state import ROOT

LAYERS = ROOT / "var/lib/cube/layers.json"
EXPECTATIONS = ROOT / "etc/cube/expectations.json"


def read_json(path: Path, read: Callable[[Any], str]) -> str | None:
    """Return what `read` makes of a JSON file; None when it is missing, damaged or incomplete."""
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
        return read(json.loads(path.read_text(encoding="utf-8")))
    return None


def uptime_s() -> int:
    """Return the age of this system's first process; a container's /proc/uptime is its host's."""
    text = ask("ps", "-o", "etimes=", "-p", "1").text.strip()
    return int(text) if text.isdigit() else 0


def in_container() -> bool:
    """Tell whether this system runs in a container."""
    return ask("systemd-detect-virt", "--quiet", "--container").code == 0


def check_program(report: Report, name: str, *argv: str) -> None:
    """Check that a program ends well; report the first line of its output."""
    answer = ask(*argv)
    report.check_that(name, answer.code == 0, answer.first or "exit code 0", answer.explain())


def check_unit(report: Report, name: str, unit: str) -> None:
    """Check that a systemd unit is active."""
    state = ask("systemctl", "is-active", unit).first
    report.check_that(
        name, state == "active", f"{unit} is active", f"{unit} is {state or 'unknown'}"
    )
