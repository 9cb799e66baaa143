"""What checks have found: each with its outcome, read from the report log of pytest.

A check is passed, failed, or deferred: put off because what it needs (an own kernel, a GPU) is
not there. A skip that does not say so is a failure.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from cube.runtime.redact import masked

Outcome = Literal["passed", "failed", "deferred"]
#: What a check was judged on, weakest first; `simulated` is a machine with stand-ins for what it
#: cannot have here, `image` is a mounted disk that does not run.
Evidence = Literal["simulated", "image", "container", "vm", "hardware"]
EVIDENCE: tuple[Evidence, ...] = get_args(Evidence)

#: What testinfra says of a command that failed. Source: testinfra, Host.check_output.
COMMAND_FAILED = re.compile(
    r"Unexpected exit code (?P<code>\d+) for CommandResult\(.*_stderr=b?['\"](?P<stderr>.*?)"
    r"(\\n)?['\"]\)"
)

#: How a skip begins that is meant. Any other skip is a failure.
DEFERRED = "deferred:"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check and what became of it.

    Args:
        id: file, test and parameters; the same on every machine.
        title: the check as a sentence.
        group: the folder it is in: ``layer1`` ... ``layer5``, ``hygiene``, ``clone``.
        outcome: passed, failed or deferred.
        evidence: what it was judged on.
        reason: the first line of the failure, or why it was deferred; empty for a pass.
        seconds: how long it took.
    """

    id: str
    title: str
    group: str
    outcome: Outcome
    evidence: Evidence
    reason: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """The checks of one run, or of several merged."""

    checks: tuple[Check, ...]

    def having(self, outcome: Outcome) -> tuple[Check, ...]:
        """Return the checks with an outcome."""
        return tuple(check for check in self.checks if check.outcome == outcome)

    @property
    def summary(self) -> str:
        """A line like "97 passed, 6 deferred"."""
        counts = {outcome: len(self.having(outcome)) for outcome in get_args(Outcome)}
        words = [f"{count} {outcome}" for outcome, count in counts.items() if count]
        return ", ".join(words) or "no checks"


def read_entries(lines: Iterable[str]) -> tuple[Check, ...]:
    """Return the checks of a report log's lines."""
    return read_checks(json.loads(line) for line in lines if line.strip())


def read_checks(entries: Iterable[dict[str, Any]]) -> tuple[Check, ...]:
    """Return the checks of a report log, in the order in which they ran."""
    phases: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        if entry.get("$report_type") == "TestReport":
            phases.setdefault(entry["nodeid"], []).append(entry)
    return tuple(read_check(one) for one in phases.values())


def read_check(phases: Sequence[dict[str, Any]]) -> Check:
    """Return one check from the reports of its set-up, call and teardown."""
    known = {key: value for phase in phases for key, value in phase["user_properties"]}
    outcome, reason = judge(phases)
    node = phases[0]["nodeid"]
    return Check(
        id=known.get("id", node),
        title=masked(known.get("title", node)),
        group=known.get("group", ""),
        outcome=outcome,
        evidence=known.get("evidence", "image"),
        reason=masked(reason),
        seconds=round(sum(phase["duration"] for phase in phases), 3),
    )


def judge(phases: Sequence[dict[str, Any]]) -> tuple[Outcome, str]:
    """Return the outcome of a check and its reason."""
    for phase in phases:
        if phase["outcome"] == "failed":
            return "failed", crash_line(phase)
        if phase["outcome"] == "skipped":
            reason = skip_reason(phase)
            if reason.startswith(DEFERRED):
                return "deferred", reason.removeprefix(DEFERRED).strip()
            return "failed", f"skipped, and a skip proves nothing: {reason}"
    if not any(phase["when"] == "call" for phase in phases):
        return "failed", "it began and never ended"
    return "passed", ""


def skip_reason(entry: dict[str, Any]) -> str:
    """Return what a skipped check says."""
    longrepr = entry["longrepr"]
    text = longrepr[2] if isinstance(longrepr, list) else str(entry.get("wasxfail", longrepr))
    return str(text).removeprefix("Skipped: ")


def crash_line(entry: dict[str, Any]) -> str:
    """Return the first line of what went wrong."""
    longrepr = entry["longrepr"]
    if isinstance(longrepr, dict) and longrepr.get("reprcrash"):
        first = str(longrepr["reprcrash"]["message"]).split("\n")[0]
        command = COMMAND_FAILED.search(first)
        if command:
            return f"exit code {command['code']}: {command['stderr']}"
        return first.removeprefix("AssertionError: ").removeprefix("assert ")
    lines = str(longrepr).strip().splitlines() or ["no reason given"]
    errors = [line.removeprefix("E").strip() for line in lines if line.startswith("E ")]
    return (errors or lines)[-1]


def is_broken_collection(entry: dict[str, Any]) -> bool:
    """Tell whether a report log's entry is a file of checks that cannot be loaded."""
    return entry.get("$report_type") == "CollectReport" and entry["outcome"] == "failed"


def merge(reports: Iterable[CheckReport]) -> CheckReport:
    """Join runs on several machines: the most telling outcome of each check counts.

    A failure anywhere stays; a pass settles what another machine had to defer; of two passes
    the one on the stronger evidence counts.
    """
    best: dict[str, Check] = {}
    for check in (check for report in reports for check in report.checks):
        known = best.get(check.id)
        if known is None or weight(check) > weight(known):
            best[check.id] = check
    return CheckReport(checks=tuple(best.values()))


def weight(check: Check) -> tuple[int, int]:
    """Order outcomes by how much they settle."""
    return (
        ("deferred", "passed", "failed").index(check.outcome),
        EVIDENCE.index(check.evidence),
    )
