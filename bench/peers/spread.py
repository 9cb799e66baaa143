"""Repeated times, told by their median and how far they spread."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Spread:
    """What repeated runs took, in seconds."""

    median: float
    least: float
    most: float
    count: int


def spread(seconds: Sequence[float]) -> Spread:
    """Describe times.

    Raises:
        ValueError: there is none.
    """
    if not seconds:
        raise ValueError("no time was measured")
    return Spread(
        median=statistics.median(seconds), least=min(seconds), most=max(seconds),
        count=len(seconds),
    )  # fmt: skip


def turns(names: Sequence[str], rounds: int) -> list[list[str]]:
    """Return the order of each round: all once, each round beginning with another one.

    A disturbance of some seconds then meets them all alike.
    """
    return [
        list(names[at:]) + list(names[:at]) for at in (turn % len(names) for turn in range(rounds))
    ]
