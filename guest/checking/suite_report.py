"""Results of a suite: beside its checks, figures for plots and the versions of what it used."""

import time
from dataclasses import dataclass, field
from typing import Any

from guest.checking.report import Report


@dataclass(kw_only=True)
class SuiteReport(Report):
    """The results so far."""

    figures: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    def record(
        self,
        name: str,
        *,
        good: bool,
        detail: str,
        value: float | None = None,
        limit: float | None = None,
        unit: str = "",
    ) -> None:
        """Add a check that passed or failed, with its number where it has one."""
        shown = None if value is None else round(value, 3)
        self.add(name, "OK" if good else "FAIL", detail, value=shown, limit=limit, unit=unit)

    def as_data(self) -> dict[str, object]:
        """Return the object that the build and cube-health read."""
        return {
            **super().as_data(),
            "figures": self.figures,
            "versions": self.versions,
            "seconds": round(time.monotonic() - self.started, 1),
        }
