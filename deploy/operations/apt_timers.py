"""apt's own timers, kept away from the lock while a host is set up for the first time."""

from collections.abc import Generator
from pathlib import PurePath

from pyinfra import host
from pyinfra.api import operation

from deploy.facts.apt import FileExists
from deploy.facts.files import Existing

TIMERS = "apt-daily.timer apt-daily-upgrade.timer"
SERVICES = "apt-daily.service apt-daily-upgrade.service"
#: For a run of theirs that has begun to end: upgrades of many packages, on a slow line. In seconds.
TIMERS_END_S = 900


@operation()
def hold_timers(until: str) -> Generator[str, None, None]:
    """Keep apt's timers from taking the lock while a host is set up for the first time.

    The mask lives in /run, so that no reboot can leave a host without updates.

    Args:
        until: a file that exists once the timers may run again; then nothing is done.
    """
    if host.get_fact(FileExists, path=until):
        host.noop("apt's timers are set up")
        return
    # A run of theirs that has begun is waited for: to kill dpkg leaves packages half installed.
    yield f"systemctl mask --runtime --now {TIMERS} && {wait_for_services()}"


def wait_for_services(deadline_s: int = TIMERS_END_S) -> str:
    """Build the command that waits until the timers' services do not run.

    While they run they are "activating", never "active": `systemctl is-active` denies it.
    Source: systemd.service(5), Type=oneshot.

    Args:
        deadline_s: seconds until it gives up and says what they do.
    """
    runs = f"systemctl show --property=ActiveState {SERVICES} | grep -q activating"
    return (
        f"{{ timeout {deadline_s} sh -c 'while {runs}; do sleep 1; done' ||"
        f' {{ echo "apt\'s timers: what they started has not ended in {deadline_s} s" >&2;'
        f" systemctl --no-pager --lines=5 status {SERVICES} >&2; exit 1; }}; }}"
    )


@operation()
def release_timers() -> Generator[str, None, None]:
    """Let apt's timers run again."""
    masks = [f"/run/systemd/system/{name}" for name in TIMERS.split()]
    if there := host.get_fact(Existing, paths=tuple(masks)):
        names = " ".join(PurePath(mask).name for mask in masks if mask in there)
        yield f"systemctl unmask --runtime {names} && systemctl start {names}"
