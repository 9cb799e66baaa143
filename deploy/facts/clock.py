"""Whether something was made or started after a file changed: no setting of the clock hides it.

The time of a file is one of the wall clock, which may be set back or forward between two events.
systemd also notes a start by a clock that nobody sets, so a file counts as changed since then when
either clock says so. A time in the future was written before the clock was set back: it tells
nothing, and what has it counts as changed. Where both clocks are in doubt the answer is "changed",
and whoever acts on it sees to it that it is done once.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

#: Print seconds since the epoch, and since the boot by systemd's clock (CLOCK_MONOTONIC), which
#: stands still while the machine sleeps. Where that is hidden, as in containers, /proc/uptime does:
#: after a sleep it says "changed" too often. Source: Linux, kernel/time/timer_list.c, "now at".
NOW = (
    r"boot=$(sed -n '/^now at/{s/[^0-9]//g;s/.\{9\}$/.&/p;q}' /proc/timer_list 2>/dev/null);"
    " echo now $(date +%s.%N) ${boot:-$(cut -d ' ' -f 1 /proc/uptime)}"
)
#: Seconds by which the clocks may differ although none was set: a time server's small steps, and
#: the rounding of /proc/uptime.
TOLERANCE_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A moment by the wall clock (seconds since the epoch) and by the other (since the boot)."""

    wall_s: float
    boot_s: float


def parse_now(line: str) -> Moment:
    """Read what `NOW` prints: "now 1795465793.5 3600.25"."""
    _, wall, boot = line.split()
    return Moment(wall_s=float(wall), boot_s=float(boot))


def parse_start(wall: str, monotonic_us: str) -> Moment:
    """Read two properties of systemd.

    Args:
        wall: "Mon 2026-11-23 20:29:53.123456 UTC", of --timestamp=us+utc.
        monotonic_us: microseconds since the boot.
    """
    stamp = datetime.strptime(wall, "%a %Y-%m-%d %H:%M:%S.%f UTC").replace(tzinfo=UTC)
    return Moment(wall_s=stamp.timestamp(), boot_s=int(monotonic_us) / 1e6)


def changed_since(changed_s: float, start: Moment, now: Moment) -> bool:
    """Tell whether a file changed after a start of this boot, or may have.

    Args:
        changed_s: when it changed (ctime, which nobody can set), by the wall clock.
        start: of what has read it.
        now: read together with the others.
    """
    if changed_s > min(start.wall_s, now.wall_s):
        return True
    age_s = now.wall_s - changed_s
    return now.boot_s - age_s > start.boot_s + TOLERANCE_S


def is_older(made_s: float, inputs_s: Iterable[float], now: Moment) -> bool:
    """Tell whether a file that is made from others is older than one of them, or may be.

    Args:
        made_s: when its content was written (mtime), by the wall clock.
        inputs_s: the same of the others.
        now: read together with these.
    """
    return made_s > now.wall_s or any(input_s > made_s for input_s in inputs_s)
