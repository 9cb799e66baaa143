"""Results of a program that checks the box: one line a check, or one JSON object."""

import json
import sys
from dataclasses import dataclass, field

#: Exit code by outcome; 77 is automake's code for a skipped test, and never a pass.
EXIT_CODES = {"pass": 0, "fail": 1, "not_run": 77}
EXIT_CANNOT_RUN = 2

DETAIL_LENGTH = 300

Check = dict[str, object]


def one_line(text: str) -> str:
    """Return printable text on one line, at most 300 characters."""
    shown = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(shown.split())[:DETAIL_LENGTH]


@dataclass(kw_only=True)
class Report:
    """The results so far.

    Args:
        check: what is checked, "layer1".
        evidence: "hardware", "cpu", "simulated", or "none" when nothing was checked.
        reason: why nothing was checked.
        live: print each result as soon as it is known.
    """

    check: str
    evidence: str = "cpu"
    reason: str = ""
    live: bool = False
    checks: dict[str, Check] = field(default_factory=dict)

    def ok(self, name: str, detail: str) -> None:
        """Add a check that passed."""
        self.add(name, "OK", detail)

    def fail(self, name: str, detail: str) -> None:
        """Add a check that failed."""
        self.add(name, "FAIL", detail)

    def skip(self, name: str, detail: str) -> None:
        """Add a check that does not apply."""
        self.add(name, "SKIP", detail)

    def check_that(self, name: str, good: bool, detail: str, otherwise: str) -> None:
        """Add a check that passed (`detail`) or failed (`otherwise`)."""
        self.add(name, "OK" if good else "FAIL", detail if good else otherwise)

    def add(self, name: str, status: str, detail: str, **number: float | str | None) -> None:
        """Add a result; `number` may hold its value, its limit and their unit."""
        assert name not in self.checks, name
        told = {key: value for key, value in number.items() if value not in {None, ""}}
        self.checks[name] = {"name": name, "status": status, "detail": one_line(detail), **told}
        if self.live:
            sys.stdout.write(render_check(self.checks[name]) + "\n")
            sys.stdout.flush()

    def not_run(self, reason: str) -> None:
        """Report that the program does not apply to this box."""
        self.reason, self.evidence = one_line(reason), "none"
        if self.live:
            sys.stdout.write(render_not_run(self) + "\n")

    @property
    def counts(self) -> dict[str, int]:
        """How many checks have each status."""
        statuses = [check["status"] for check in self.checks.values()]
        return {word.lower(): statuses.count(word) for word in ("OK", "FAIL", "SKIP")}

    @property
    def outcome(self) -> str:
        """The outcome: "pass", "fail" or "not_run"; without a check that passed it is no pass."""
        if self.reason:
            return "not_run"
        counts = self.counts
        return "fail" if counts["fail"] else "pass" if counts["ok"] else "not_run"

    def as_data(self) -> dict[str, object]:
        """Return the object that the build and cube-health read."""
        return {
            "check": self.check,
            "outcome": self.outcome,
            "reason": self.reason,
            "evidence": self.evidence if self.outcome != "not_run" else "none",
            "counts": self.counts,
            "checks": list(self.checks.values()),
        }


def render_json(report: Report) -> str:
    """Return the report as one line of JSON."""
    return json.dumps(report.as_data(), allow_nan=False)


def render_check(check: Check) -> str:
    """Return the line of a check."""
    return f"{check['status']:<5} {check['name']}: {check['detail']}"


def render_not_run(report: Report) -> str:
    """Return the line that says why nothing was checked."""
    return f"SKIP  {report.check}: NOT RUN: {report.reason}"


def render_summary(report: Report) -> str:
    """Return the last line: the outcome and the counts."""
    word, counts = report.outcome.upper().replace("_", " "), report.counts
    simulated = " (simulated)" if report.evidence == "simulated" else ""
    return (
        f"{word} {report.check}: {counts['ok']} passed, {counts['fail']} failed,"
        f" {counts['skip']} skipped{simulated}"
    )
