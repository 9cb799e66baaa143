"""Layer 5: the dashboard, the login line, and the timer of these checks."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from guest.checking.program import ask
from guest.checking.report import Report
from guest.checking.state import ROOT
from guest.health.box import (
    EXPECTATIONS,
    check_program,
    check_unit,
    read_json,
    uptime_s,
)

#: Seconds: two runs of a quarter of an hour were missed.
STALE_S = 2400
#: Seconds: the first run after a boot comes within ten minutes.
SETTLING_S = 600
RELEASE = ROOT / "etc/cube/release.json"
HEALTH = ROOT / "var/lib/cube/health.json"
MOTD = ROOT / "etc/update-motd.d/60-cube"


def check_monitoring(report: Report) -> None:
    """Check the dashboards, the watch over disks, the login line and the release."""
    check_program(report, "htop", "htop", "--version")
    check_program(report, "nvtop", "nvtop", "--version")
    check_disk_watch(report)
    dashboard = ask("cube-top", "--json")
    report.check_that("cube-top", dashboard.code == 0, "reads the machine", dashboard.explain())
    login = ask(str(MOTD))
    good = login.code == 0 and bool(login.text.strip())
    report.check_that("login line", good, login.first, login.explain())
    check_state(report, "release", RELEASE, lambda data: f"{data['name']} {data['version']}")


def check_disk_watch(report: Report) -> None:
    """Check that smartmontools watches the disks; those of a virtual machine have no SMART data."""
    if ask("systemd-detect-virt", "--quiet").code == 0:
        report.skip("disks watched", "a virtual machine's disks have no SMART data")
    else:
        check_unit(report, "disks watched", "smartmontools.service")


def check_state(report: Report, name: str, path: Path, read: Callable[[Any], str]) -> None:
    """Check that a state file holds what is read from it."""
    value = read_json(path, read)
    report.check_that(name, value is not None, value or "", f"{path} is missing or damaged")


def check_validation(report: Report) -> None:
    """Check the timer of these checks, what it expects, and its last result."""
    check_unit(report, "timer", "cube-health.timer")
    check_state(
        report,
        "expectations",
        EXPECTATIONS,
        lambda data: f"{data['gpu_count']} GPUs of {data['gpu_memory_mib']} MiB",
    )
    check_freshness(report)


def check_freshness(report: Report) -> None:
    """Check that the last result is recent; just after a boot the first one is still to come."""
    name = "last result fresh"
    if ask("systemctl", "is-active", "cube-health.service").first == "activating":
        report.skip(name, "the next one is being made right now")
        return
    try:
        age = int(time.time() - HEALTH.stat().st_mtime)
    except FileNotFoundError:
        age = None
    if age is not None and 0 <= age <= STALE_S:
        report.ok(name, f"{age} s old")
    elif uptime_s() < SETTLING_S:
        report.skip(name, "the first run after the boot is to come")
    elif age is None:
        report.fail(name, "there is none: journalctl -u cube-health")
    elif age < 0:
        report.fail(name, f"{-age} s in the future: the clock was set back since then")
    else:
        report.fail(name, f"{age} s old, limit {STALE_S} s")


ROLES = {"monitoring": check_monitoring, "validation": check_validation}
