"""A control group for the systemd inside a container.

A recent systemd wants cgroup v2 and a group of its own to manage. Where this machine still
mounts v1, the cell gets a v2 mount of its own; where systemd runs this machine, the cell is
started in a scope that is delegated to us, as systemd asks.
"""

import contextlib
import time
from pathlib import Path

from cube.runtime import log
from cube.runtime.namespaces import Cell

MOUNT = Path("/sys/fs/cgroup")
#: Seconds for killed processes to leave their group.
EMPTY_S = 5.0


def _systemd_runs() -> bool:
    """Whether systemd runs this machine. Source: sd_booted(3)."""
    return Path("/run/systemd/system").is_dir()


def delegated_args(name: str) -> list[str]:
    """Build what goes before a command so that systemd, where it is in charge, delegates a scope.

    Source: systemd.resource-control(5), Delegate=.
    """
    if not _systemd_runs():
        return []
    return [
        "systemd-run",
        "--scope",
        "--quiet",
        "--collect",
        f"--unit={name}",
        "--property=Delegate=yes",
        "--",
    ]


def parse_membership(text: str) -> str:
    """Return the v2 group in /proc/PID/cgroup, "/" without one. Source: cgroups(7)."""
    groups = [line.removeprefix("0::") for line in text.splitlines() if line.startswith("0::")]
    return groups[0] if groups else "/"


def parse_mount(text: str) -> Path | None:
    """Return where /proc/mounts says that cgroup v2 is mounted."""
    rows = [line.split() for line in text.splitlines()]
    return next((Path(row[1]) for row in rows if row[2] == "cgroup2"), None)


def prepare(cell: Cell, name: str) -> Path:
    """Make a group for the container, with every controller that v2 has here.

    Returns:
        The group's folder, as the cell sees it.
    """
    kind = cell.execute(["stat", "--file-system", "--format=%T", MOUNT]).stdout.strip()
    if kind != "cgroup2fs":
        cell.execute(["umount", "--recursive", "--lazy", MOUNT])
        cell.execute(["mount", "-t", "cgroup2", "cgroup2", MOUNT])
    own = parse_membership(Path(f"/proc/{cell.pid}/cgroup").read_text())
    parent = MOUNT / own.lstrip("/")
    if _systemd_runs():
        _make_room(cell, parent)
    group = parent / name
    cell.path(group).mkdir()
    return group


def _make_room(cell: Cell, scope: Path) -> None:
    """Move the scope's processes down and hand its controllers on.

    Source: cgroups(7), "no internal processes" rule.
    """
    below = cell.path(scope / "holder")
    below.mkdir()
    for pid in cell.path(scope / "cgroup.procs").read_text().split():
        (below / "cgroup.procs").write_text(pid)
    controllers = cell.path(scope / "cgroup.controllers").read_text().split()
    wanted = " ".join(f"+{name}" for name in controllers)
    cell.path(scope / "cgroup.subtree_control").write_text(wanted)


def remove(name: str) -> bool:
    """Remove a group that `prepare` made, once it is empty; systemd removes a scope itself.

    Returns:
        Whether there was one, and it is gone.
    """
    mount = parse_mount(Path("/proc/mounts").read_text())
    own = parse_membership(Path("/proc/self/cgroup").read_text())
    group = (mount or MOUNT) / own.lstrip("/") / name
    if not group.is_dir():
        return False
    deadline = time.monotonic() + EMPTY_S
    while group.is_dir() and time.monotonic() < deadline:
        below = sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True)
        for folder in [*below, group]:
            with contextlib.suppress(OSError):  # its last process is still going
                folder.rmdir()
        time.sleep(0.01)
    if group.is_dir():
        log.warning(f"{group} is left: processes are still in it after {EMPTY_S:.0f} s")
    return not group.is_dir()
