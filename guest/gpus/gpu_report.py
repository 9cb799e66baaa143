"""What validate-gpus.sh says: its checks by name, their verdicts, text or one JSON object.

The set of names for N GPUs is fixed (docs/suites.md), so that a missing one is noticed: a check
that could not be made is a SKIP that says why.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

#: Outcome -> exit code; 77 is automake's code for a skipped test, and never a pass.
EXIT_CODES = {"pass": 0, "fail": 1, "not_run": 77}
EXIT_CANNOT_RUN = 2

DETAIL_LENGTH = 200

#: Checks of the machine: the idle form makes them all; "load" belongs to --load.
MACHINE = (
    "GPUs on the PCI bus", "driver answers", "GPUs that the driver sees", "GPU models are equal",
    "GPU model", "driver versions agree", "container runtime", "P2P between GPUs",
)  # fmt: skip
#: Checks of one GPU; the first is the GPU itself, "GPU 0".
IDLE = (
    "", "driver", "memory", "temperature", "persistence", "link", "memory errors", "throttling",
    "PCIe replays", "PCIe errors",
)  # fmt: skip
#: Checks of one GPU that --load adds.
LOADED = (
    "load", "link under load", "temperature under load", "throttling under load", "bandwidth",
)  # fmt: skip

Check = dict[str, object]


def named(index: int, what: str) -> str:
    """Return the name of a check of one GPU."""
    return f"GPU {index} {what}".rstrip()


def names(gpus: int, *, load: bool) -> list[str]:
    """Return the names of all checks, in the order in which they are printed.

    Args:
        gpus: how many GPUs are expected or seen, whichever is more.
        load: whether the form with load was asked for.
    """
    each = [named(index, what) for index in range(gpus) for what in IDLE]
    loaded = ["load", *(named(index, what) for index in range(gpus) for what in LOADED)]
    return [*MACHINE, *each, *(loaded if load else []), "kernel log"]


def one_line(text: str) -> str:
    """Return printable text on one line, at most 200 characters."""
    shown = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(shown.split())[:DETAIL_LENGTH]


@dataclass(kw_only=True)
class Report:
    """The verdicts so far; `evidence` is what the checks were made on."""

    evidence: str
    reason: str = ""
    checks: dict[str, Check] = field(default_factory=dict)
    figures: dict[str, object] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def judge(
        self, name: str, *, good: bool, detail: str, value: float | None = None,
        limit: float | None = None, unit: str = "",
    ) -> None:  # fmt: skip
        """Say whether a check passed, with its number where it has one."""
        self._add(name, "OK" if good else "FAIL", detail, value=value, limit=limit, unit=unit)

    def skip(self, name: str, reason: str) -> None:
        """Say why a check was not made."""
        self._add(name, "SKIP", reason)

    def _add(self, name: str, status: str, detail: str, **number: float | str | None) -> None:
        assert name not in self.checks, name
        told = {key: value for key, value in number.items() if value not in {None, ""}}
        check = {"name": name, "status": status, "detail": one_line(detail)}
        self.checks[name] = {**check, **told}

    def complete(self, wanted: list[str], why: Callable[[str], str]) -> None:
        """Order the checks, and skip with a reason those that were not made."""
        for name in wanted:
            if name not in self.checks:
                self.skip(name, why(name))
        extra = [name for name in self.checks if name not in wanted]
        assert not extra, extra
        self.checks = {name: self.checks[name] for name in wanted}

    @property
    def counts(self) -> dict[str, int]:
        """Count the verdicts."""
        statuses = [check["status"] for check in self.checks.values()]
        return {word.lower(): statuses.count(word) for word in ("OK", "FAIL", "SKIP")}

    @property
    def outcome(self) -> str:
        """Return "pass", "fail" or "not_run"; nothing that ran is no pass."""
        counts = self.counts
        return "fail" if counts["fail"] else "pass" if counts["ok"] else "not_run"


def not_run(reason: str) -> Report:
    """Return the report of a suite that does not apply to this box."""
    return Report(evidence="none", reason=one_line(reason))


def render_json(report: Report) -> str:
    """Return the object that the orchestrator and cube-health read."""
    told: Mapping[str, object] = {
        "check": "gpus",
        "outcome": report.outcome,
        "reason": report.reason,
        "evidence": report.evidence,
        "counts": report.counts,
        "checks": list(report.checks.values()),
        "figures": report.figures,
        "versions": report.versions,
        "seconds": round(report.seconds, 1),
    }
    return json.dumps(told)


def render_text(report: Report) -> str:
    """Return a line a check, and the outcome."""
    lines = [f"{c['status']:<5} {c['name']}: {c['detail']}" for c in report.checks.values()]
    if report.reason:
        lines.append(f"SKIP  gpus: NOT RUN: {report.reason}")
    counts = report.counts
    told = f"{counts['ok']} passed, {counts['fail']} failed, {counts['skip']} skipped"
    simulated = " (simulated)" if report.evidence == "simulated" else ""
    word = report.outcome.upper().replace("_", " ")
    return "\n".join([*lines, f"{word} gpus: {told}{simulated}"])
