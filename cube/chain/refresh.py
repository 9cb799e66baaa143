"""How old the supply of packages may be, and which supply a build belongs to.

The mirror's packages are an ingredient of every link, but one that cannot be hashed. A stamp
stands for them: the moment when a chain was begun, kept as long as `build.refresh` allows.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

FORMAT = "%Y-%m-%dT%H:%M:%SZ"
HOURS = {"hour": 1, "day": 24, "week": 24 * 7}
#: A thousand years: what is older than that cannot be told from it.
LONGEST_H = 1000 * 365 * 24


def max_age(refresh: str) -> timedelta | None:
    """Return how old a supply may be; None for a pinned one, which has no age.

    Args:
        refresh: "1 day", "6 hours", "2 weeks"; anything else is a pin.
    """
    match = re.fullmatch(r"(\d+) (hour|day|week)s?", refresh)
    if not match:
        return None
    hours = int(match[1]) * HOURS[match[2]]
    return timedelta(hours=min(hours, LONGEST_H))


def stamps(refresh: str, known: Iterable[str], *, now: datetime | None = None) -> list[str]:
    """Return the stamps that a build may carry, best first.

    Args:
        refresh: `build.refresh`.
        known: stamps of the bases that are in the store.
        now: the present moment.

    Returns:
        A pin alone; else the known ones that are young enough, newest first, then a new one.
    """
    age = max_age(refresh)
    if age is None:
        return [refresh]
    at = now or datetime.now(UTC)
    young = [stamp for stamp in set(known) if (made := parse(stamp)) and at - age < made <= at]
    return [*sorted(young, reverse=True), at.strftime(FORMAT)]


def parse(stamp: str) -> datetime | None:
    """Return the moment that a stamp names; None for a pin."""
    try:
        return datetime.strptime(stamp, FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None
