"""What a run measured, by case, variant and round trip."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from bench.peers.spread import Spread, spread

#: Names of the cases.
FIRST, NOOP, REBUILD, FULL = "first", "noop", "rebuild", "full"
Place = tuple[str, str, int]


@dataclass
class Results:
    """Seconds of every measured run; why something was not measured; how busy the machine was."""

    seconds: dict[Place, list[float]] = field(default_factory=lambda: defaultdict(list))
    missing: dict[str, str] = field(default_factory=dict)
    load: list[float] = field(default_factory=list)
    host: dict[str, Any] = field(default_factory=dict)

    def add(self, case: str, variant: str, delay_ms: int, seconds: float) -> None:
        """Note a run."""
        self.seconds[case, variant, delay_ms].append(seconds)

    def keep(self, earlier: "Results", *, but: Collection[str]) -> None:
        """Take over what an earlier run measured, in place of what this one did, but some cases."""
        for place in list(self.seconds):
            if place[0] not in but:
                del self.seconds[place]
        old = {place: runs for place, runs in earlier.seconds.items() if place[0] not in but}
        self.seconds.update(old)
        self.load = [*earlier.load, *self.load]
        known = {what: why for what, why in earlier.missing.items() if what not in but}
        self.missing = known | self.missing

    def of(self, case: str, variant: str, delay_ms: int = 0) -> Spread | None:
        """Return what runs took; None when there was none."""
        found = self.seconds.get((case, variant, delay_ms))
        return spread(found) if found else None

    def ratio(self, case: str, slow: str, fast: str, delay_ms: int = 0) -> float | None:
        """Return how many times longer one takes than another, by medians."""
        one, other = self.of(case, slow, delay_ms), self.of(case, fast, delay_ms)
        return one.median / other.median if one and other else None

    def delays(self, case: str) -> list[int]:
        """Return the round trips at which a case was measured, in milliseconds."""
        return sorted({place[2] for place in self.seconds if place[0] == case})

    def data(self) -> dict[str, Any]:
        """Return all of it as JSON-like data."""
        runs = [
            {"case": case, "variant": variant, "round_trip_ms": delay, "seconds": seconds}
            for (case, variant, delay), seconds in self.seconds.items()
        ]
        return {"host": self.host, "load": self.load, "runs": runs, "missing": self.missing}


def from_data(data: dict[str, Any]) -> Results:
    """Return results from what `Results.data` made."""
    results = Results(missing=data["missing"], load=data["load"], host=data["host"])
    for run in data["runs"]:
        place = run["case"], run["variant"], run["round_trip_ms"]
        results.seconds[place] = list(run["seconds"])
    return results
