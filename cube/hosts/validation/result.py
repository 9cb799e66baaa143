"""What a suite found: the object that its program prints, read with suspicion."""

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from cube.runtime import documents

Outcome = Literal["pass", "fail", "not_run", "error"]
Status = Literal["OK", "FAIL", "SKIP"]
#: What the work ran on; `none` when nothing ran.
Evidence = Literal["hardware", "cpu", "simulated", "none"]

#: Exit codes of a program and what they say. Source: docs/reference.md
CODES: dict[int, Outcome] = {0: "pass", 1: "fail", 77: "not_run"}
#: How a skip begins that hardware must settle.
DEFERRED = "deferred:"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One check of a suite; `value` and `limit` are in `unit`, None where there is no number."""

    name: str
    status: Status
    detail: str
    value: float | None = None
    limit: float | None = None
    unit: str = ""

    @property
    def deferred(self) -> bool:
        """Whether hardware has yet to settle it."""
        return self.status == "SKIP" and self.detail.startswith(DEFERRED)


@dataclass(frozen=True, kw_only=True)
class SuiteResult:
    """A suite and what became of it.

    Args:
        suite: its name.
        outcome: `error` when it could not be run or did not end by itself.
        evidence: what it ran on.
        reason: why it did not run or did not end; empty otherwise.
        findings: its checks, in order.
        figures: numbers and series, units in their names.
        versions: of what it used.
        seconds: from start to end, as seen from here.
        output: the last lines that it printed for people.
    """

    suite: str
    outcome: Outcome
    evidence: Evidence = "none"
    reason: str = ""
    findings: tuple[Finding, ...] = ()
    figures: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    output: str = ""

    def having(self, status: Status) -> tuple[Finding, ...]:
        """Return the checks with a status."""
        return tuple(one for one in self.findings if one.status == status)

    @property
    def summary(self) -> str:
        """A line like "passed on hardware: 31 OK, 2 SKIP"."""
        word = {"pass": "passed", "fail": "failed", "not_run": "not run", "error": "error"}
        counts = {status: len(self.having(status)) for status in get_args(Status)}
        told = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        on = f" on {self.evidence}" if self.evidence != "none" else ""
        why = self.reason or told or "it says nothing"
        return f"{word[self.outcome]}{on}: {why}"


def broken(suite: str, reason: str, *, seconds: float, output: str) -> SuiteResult:
    """Return the result of a suite that did not come to one."""
    return SuiteResult(suite=suite, outcome="error", reason=reason, seconds=seconds, output=output)


def parse(suite: str, text: str, code: int, *, seconds: float, output: str) -> SuiteResult:
    """Read what a program printed; what does not fit its exit code is an error, never a pass.

    Args:
        suite: its name.
        text: its standard output.
        code: its exit code.
        seconds: how long it ran.
        output: what it printed for people.
    """
    if code not in CODES:
        last = (output.strip().splitlines() or ["it printed nothing"])[-1]
        return broken(suite, f"exit code {code}: {last}", seconds=seconds, output=output)
    try:
        result = build(suite, documents.parse(text), seconds=seconds, output=output)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"exit code {code}, and its result cannot be read: {error!r}"
        return broken(suite, why, seconds=seconds, output=output)
    contradiction = contradict(suite, result, code)
    return broken(suite, contradiction, seconds=seconds, output=output) if contradiction else result


def build(suite: str, data: dict[str, Any], *, seconds: float, output: str) -> SuiteResult:
    """Return the result in a program's object.

    Raises:
        ValueError, KeyError, TypeError: it is not of the form that docs/reference.md gives.
    """
    if data["check"] != suite:
        raise ValueError(f"it is of {data['check']}")
    return SuiteResult(
        suite=suite,
        outcome=one_of(data["outcome"], get_args(Outcome)),
        evidence=one_of(data["evidence"], get_args(Evidence)),
        reason=str(data.get("reason", "")),
        findings=tuple(read_finding(row) for row in data["checks"]),
        figures=dict(data.get("figures", {})),
        versions={str(name): str(word) for name, word in data.get("versions", {}).items()},
        seconds=seconds,
        output=output,
    )


def read_finding(row: dict[str, Any]) -> Finding:
    """Return one check."""
    return Finding(
        name=str(row["name"]),
        status=one_of(row["status"], get_args(Status)),
        detail=str(row["detail"]),
        value=number(row.get("value")),
        limit=number(row.get("limit")),
        unit=str(row.get("unit", "")),
    )


def number(value: object) -> float | None:
    """Return a number, or None where there is none."""
    return float(value) if isinstance(value, int | float) else None


def one_of(word: Any, known: tuple[Any, ...]) -> Any:  # noqa: ANN401 (a Literal's members)
    """Return a word that is known.

    Raises:
        ValueError: it is not.
    """
    if word not in known:
        raise ValueError(f"{word!r} is none of {', '.join(known)}")
    return word


def contradict(suite: str, result: SuiteResult, code: int) -> str:
    """Say where a result contradicts itself; empty when it does not."""
    if result.outcome != CODES[code]:
        return f"it says {result.outcome}, and its exit code {code} says {CODES[code]}"
    if result.outcome == "pass" and (result.having("FAIL") or not result.having("OK")):
        return f"it says that it passed, with {result.summary}"
    if result.outcome == "fail" and not result.having("FAIL"):
        return "it says that it failed, and names no check"
    names = [one.name for one in result.findings]
    twice = sorted({name for name in names if names.count(name) > 1})
    return f"{suite} names a check twice: {twice[0]}" if twice else ""
