"""What counts as changed, whatever somebody did to the clock in between."""

import subprocess
import time

import pytest

from deploy.facts import clock
from deploy.facts.clock import Moment, changed_since, is_older

#: Seconds of a day.
DAY = 86400.0


@pytest.mark.parametrize(
    ("clock_at_start", "clock_at_change", "clock_now"),
    [
        (0.0, 0.0, 0.0),
        (DAY, 0.0, 0.0),  # ahead at the boot, set back before the change
        (DAY, DAY, 0.0),  # set back after it
        (-DAY, -DAY, 0.0),  # behind at the boot, set right after the change
        (-DAY, 0.0, 0.0),
        (60.0, 0.0, 0.0),
    ],
)
@pytest.mark.parametrize("elapsed_s", [10.0, 7200.0])
def test_a_change_after_the_start_is_seen_however_the_clock_was_set(
    clock_at_start: float, clock_at_change: float, clock_now: float, elapsed_s: float
) -> None:
    """Events are an hour after the boot, `elapsed_s` later, and three hours after the boot."""
    began, changed, now = 3600.0, 3600.0 + elapsed_s, 10800.0
    epoch = 1_795_000_000.0
    assert changed_since(
        epoch + clock_at_change + changed,
        Moment(wall_s=epoch + clock_at_start + began, boot_s=began),
        Moment(wall_s=epoch + clock_now + now, boot_s=now),
    )


@pytest.mark.parametrize(
    ("clock_before", "clock_now"),
    [(0.0, 0.0), (DAY, DAY), (-DAY, 0.0), (0.4, 0.0)],
)
@pytest.mark.parametrize("before_s", [0.01, 60.0, 30 * DAY])
def test_a_change_before_the_start_is_no_change(
    clock_before: float, clock_now: float, before_s: float
) -> None:
    began, now = 3600.0, 10800.0
    epoch = 1_795_000_000.0
    assert not changed_since(
        epoch + clock_before + began - before_s,
        Moment(wall_s=epoch + clock_before + began, boot_s=began),
        Moment(wall_s=epoch + clock_now + now, boot_s=now),
    )


def test_a_machine_that_slept_has_changed_nothing() -> None:
    """systemd's clock stands still while the machine sleeps, the wall clock does not."""
    epoch, slept = 1_795_000_000.0, 8 * 3600.0
    assert not changed_since(
        epoch + 3599.0,
        Moment(wall_s=epoch + 3600.0, boot_s=3600.0),
        Moment(wall_s=epoch + 7200.0 + slept, boot_s=7200.0),
    )


@pytest.mark.parametrize(
    ("made_s", "inputs_s", "older"),
    [
        (10.0, [5.0, 9.0], False),
        (10.0, [5.0, 11.0], True),
        (10.0, [30.0], True),  # written before the clock was set back
        (30.0, [5.0], True),  # made before that
        (10.0, [], False),
    ],
)
def test_a_file_is_older_than_what_it_is_made_from(
    made_s: float, inputs_s: list[float], older: bool
) -> None:
    assert is_older(made_s, inputs_s, Moment(wall_s=20.0, boot_s=1.0)) is older


def test_the_clocks_of_this_machine_are_read() -> None:
    done = subprocess.run(["sh", "-c", clock.NOW], capture_output=True, text=True, check=True)
    now = clock.parse_now(done.stdout)
    assert abs(now.wall_s - time.time()) < 60
    monotonic, asleep_too = (time.clock_gettime(one) for one in (time.CLOCK_MONOTONIC, 7))
    assert monotonic - 60 < now.boot_s < asleep_too + 1


def test_a_start_is_read_in_both_clocks() -> None:
    found = clock.parse_start("Thu 1970-01-01 00:01:40.250000 UTC", "7250000")
    assert found == Moment(wall_s=100.25, boot_s=7.25)
