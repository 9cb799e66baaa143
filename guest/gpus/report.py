"""What validate-gpus.sh says: its checks by name, their verdicts, text or one JSON object.

The set of names for N GPUs is fixed (docs/validate.md), so that a missing one is noticed: a check
that could not be made is a SKIP that says why.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from guest.checking import report
from guest.checking.suite_report import SuiteReport
from guest.gpus.findings import Found, find

#: Checks of the machine: the idle form makes them all; "load" belongs to --load.
MACHINE = (
    "GPUs on the PCI bus", "driver answers", "GPUs that the driver sees", "GPU models are equal",
    "GPU model", "driver versions agree", "container runtime", "P2P between GPUs",
)  # fmt: skip
#: Checks of one GPU; the first is the GPU itself, "GPU 0".
IDLE = (
    "", "recovery", "infoROM", "processes", "driver", "memory", "temperature", "persistence",
    "link", "memory errors", "memory repairs", "ECC mode", "MIG", "throttling", "PCIe replays",
    "PCIe errors",
)  # fmt: skip
#: Checks of one GPU that --load adds.
LOADED = (
    "load", "link under load", "temperature under load", "throttling under load", "bandwidth",
)  # fmt: skip


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


@dataclass(kw_only=True)
class Report(SuiteReport):
    """The results so far."""

    check: str = "gpus"
    #: Address and model of each GPU by its index, for what is found of it.
    labels: dict[int, tuple[str, str]] = field(default_factory=dict)

    def settle(
        self,
        name: str,
        found: Found | None,
        *,
        detail: str = "",
        value: float | None = None,
        limit: float | None = None,
        unit: str = "",
    ) -> None:
        """Add a check that failed by what was found, or passed because nothing was."""
        if found is None:
            self.record(name, good=True, detail=detail, value=value, limit=limit, unit=unit)
            return
        self.record(name, good=False, detail=str(found), value=value, limit=limit, unit=unit)
        self.checks[name] |= {
            "finding": found.finding, "reason": found.reason, "remedy": found.remedy
        }  # fmt: skip

    def settle_gpu(
        self,
        index: int,
        what: str,
        finding: str | Found = "",
        *,
        detail: str = "",
        value: float | None = None,
        limit: float | None = None,
        unit: str = "",
        **seen: object,
    ) -> None:
        """Add a check of one GPU; what is found names its address and model.

        Args:
            index: of the GPU.
            what: "link".
            finding: of `guest.gpus.findings`, by its name or whole; "" where nothing was found.
            detail: what was seen where nothing was found.
            value: its number.
            limit: the number's limit.
            unit: of both.
            seen: what the finding's text needs.
        """
        name, (address, model) = named(index, what), self.labels.get(index, ("", ""))
        if not finding:
            self.settle(name, None, detail=detail, value=value, limit=limit, unit=unit)
            return
        found = find(finding, address=address, **seen) if isinstance(finding, str) else finding
        whole = replace(found, reason=f"{address} {model}: {found.reason}")
        self.settle(name, whole, value=value, limit=limit, unit=unit)
        self.checks[name] |= {"address": address, "model": model, "reason": found.reason}

    def skip_gpu(self, index: int, what: str, reason: str) -> None:
        """Add a check of one GPU that does not apply."""
        self.skip(named(index, what), reason)

    def complete(self, wanted: list[str], why: Callable[[str], str]) -> None:
        """Order the checks, and skip with a reason those that were not made."""
        for name in wanted:
            if name not in self.checks:
                self.skip(name, why(name))
        extra = [name for name in self.checks if name not in wanted]
        assert not extra, extra
        self.checks = {name: self.checks[name] for name in wanted}


def not_run(reason: str) -> Report:
    """Return the report of a suite that does not apply to this box."""
    found = Report()
    found.not_run(reason)
    return found


def render_text(found: Report) -> str:
    """Return a line a check, and the outcome."""
    lines = [report.render_check(check) for check in found.checks.values()]
    if found.reason:
        lines.append(report.render_not_run(found))
    return "\n".join([*lines, report.render_summary(found)])
